"""Tests of the check `claims`."""

from typing import Any

import pytest

from appointments import claims
from appointments.models import Appointment, Claim
from healthcare.mongodb import raw
from operations.consistency import claims as claims_check
from patients.models import Patient
from tests.consistency.commands import assert_clean, check
from tests.people import People
from tests.records import make_appointment

pytestmark = pytest.mark.django_db


def held() -> list[dict[str, Any]]:
    return raw.collection(Claim).find({}, sort=[("_id", 1)])


@pytest.fixture
def visit(people: People) -> Appointment:
    found = make_appointment(people, appointment_id="A1", duration_minutes=30)
    assert len(held()) == 12
    assert_clean(check())
    return found


@pytest.mark.parametrize("lost", [1, 12])
def test_missing_claims_are_restored(visit: Appointment, lost: int):
    before = held()
    raw.collection(Claim).delete_many({"_id": {"$in": claims.ids_of(visit)[:lost]}})
    result = check()
    assert (result.code, result.figures["claims"]) == (1, (12 - lost + 1, 1, 0, 1))
    assert f"claims: Appointment A1 is scheduled and holds {12 - lost} of its 12 claims.\n" in result.text
    assert len(held()) == 12 - lost
    revision = Patient.objects.get(pk="P1").revision
    assert check("--repair").code == 0
    assert held() == before
    assert Patient.objects.get(pk="P1").revision == revision + 1
    assert_clean(check())


@pytest.mark.parametrize(
    ("appointment_id", "why"),
    [
        ("A9", "there is no such appointment"),
        ("A2", "it is cancelled"),
        ("A1", "it is at another time, or of another doctor or patient"),
    ],
)
def test_stray_claims_are_deleted(people: People, visit: Appointment, appointment_id: str, why: str):
    make_appointment(people, appointment_id="A2", time="12:00")
    people.client("admin").patch("/api/appointments/A2", {"status": "cancelled"}, format="json")
    before = held()
    for minute in ("00", "05"):
        raw.collection(Claim).insert_one(
            {"_id": f"doctor D1 2035-01-01T10:{minute}Z", "appointment_id": appointment_id}
        )
    result = check()
    assert result.code == 1
    assert result.differences == {"claims": 1}
    sentence = f"claims: 2 claims of appointment {appointment_id} from 'doctor D1 2035-01-01T10:00Z' on: {why}.\n"
    assert sentence in result.text
    assert check("--repair").code == 0
    assert held() == before
    assert_clean(check())


def test_claim_of_another_visit_is_one_stray_and_one_missing(visit: Appointment):
    before = held()
    raw.collection(Claim).update_one({"_id": before[0]["_id"]}, {"$set": {"appointment_id": "A9"}})
    assert check().figures["claims"] == (13, 2, 0, 2)
    assert check("--repair").code == 0
    assert held() == before


def test_two_visits_at_one_time_need_a_decision(people: People, visit: Appointment):
    document = raw.collection(Appointment).find_one({"_id": "A1"})
    assert document is not None
    raw.collection(Appointment).insert_one({**document, "_id": "A2", "patient_id": "P2"})
    before = held()
    result = check("--repair", "--only", "claims")
    assert (result.code, result.figures["claims"]) == (1, (14, 1, 0, 1))
    assert "Appointment A2 is scheduled and holds 0 of its 12 claims. Not repaired: it overlaps A1:" in result.text
    assert held() == before


def test_visit_without_its_instant_needs_a_decision(visit: Appointment):
    raw.collection(Appointment).update_one({"_id": "A1"}, {"$set": {"starts_at": None}})
    result = check("--repair")
    assert result.code == 1
    assert "Appointment A1 is scheduled at a time of day and has no start instant" in result.text
    assert "Not repaired: a person must decide." in result.text


def test_time_that_is_taken_between_read_and_write(people: People, visit: Appointment, monkeypatch):
    """The database refuses a second claim on the time, also to a repair."""
    raw.collection(Claim).delete_many({})
    other = {"_id": claims.ids_of(visit)[0], "appointment_id": "A9"}
    query = claims.holders
    queries = []

    def query_too_early(wanted):
        found = query(wanted)
        queries.append(wanted)
        if len(queries) == 3:
            raw.collection(Claim).insert_one(other)
        return found

    monkeypatch.setattr(claims, "holders", query_too_early)
    result = check("--repair", "--only", "claims")
    assert result.code == 1
    assert "Not repaired" in result.text
    # The writes of the failed repair are undone.
    assert held() in ([], [other])


def test_visit_that_changes_between_two_reads_is_no_difference(people: People, visit: Appointment, monkeypatch):
    """The check reads the claims before and the visit after a change of the visit, or the other way round."""
    make_appointment(people, appointment_id="A2", time="12:00")
    admin = people.client("admin")
    changes = iter([("A1", {"time": "14:00"}), ("A2", {"status": "cancelled"}), ("A1", {"status": "cancelled"})])
    made = []

    def change_before(read):
        def changed(*arguments):
            change = next(changes, None)
            if change:
                made.append(change)
                answer = admin.patch(f"/api/appointments/{change[0]}", change[1], format="json")
                assert answer.status_code == 200
            return read(*arguments)

        return changed

    for name in ("_strays", "_unheld"):
        with monkeypatch.context() as patched:
            patched.setattr(claims_check, name, change_before(getattr(claims_check, name)))
            assert_clean(check())
    assert len(made) >= 2
    assert_clean(check())


def test_claim_without_an_appointment_is_deleted(visit: Appointment):
    raw.collection(Claim).insert_one({"_id": "doctor D1 2035-01-01T10:00Z"})
    assert check().differences == {"claims": 1}
    assert check("--repair").code == 0
    assert_clean(check())

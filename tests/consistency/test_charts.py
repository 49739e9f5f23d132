"""Tests of the check `charts`: a raw write makes each difference, which is then found and repaired."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest

from healthcare.mongodb import raw
from operations.consistency import charts
from patients import chart
from patients.models import CHART_LENGTH, Patient
from tests.consistency.commands import assert_clean, check
from tests.people import People
from tests.records import make_appointment, make_prescription

pytestmark = pytest.mark.django_db

DAY = date(2030, 1, 7)


def patient() -> dict[str, Any]:
    found = raw.collection(Patient).find_one({"_id": "P1"})
    assert found is not None
    return found


@pytest.fixture
def charted(people: People) -> dict[str, Any]:
    """P1 with three visits and three prescriptions, P2 with none."""
    for number in range(3):
        make_appointment(people, date=DAY + timedelta(days=number), time="10:00")
        make_prescription(people, start_date=DAY + timedelta(days=number))
    assert_clean(check())
    return patient()


@pytest.mark.parametrize("kind", ["appointments", "prescriptions"])
@pytest.mark.parametrize(
    ("update", "difference"),
    [
        ({"$pop": {"KIND": -1}}, "1 entry missing"),
        ({"$set": {"KIND": []}}, "3 entries missing"),
        ({"$unset": {"KIND": ""}}, "there is no list"),
        ({"$set": {"KIND.1.disease": "Gout"}}, "1 entry with other values"),
        ({"$set": {"KIND.0.drawn": 1, "KIND.1.doctor_id": "D2"}}, "2 entries with other values"),
        ({"$unset": {"KIND.0.disease": ""}}, "1 entry with other values"),
        ({"$push": {"KIND": {"disease": "Gout"}}}, "1 entry too many"),
        ({"$push": {"KIND": {"$each": [], "$sort": {"doctor_id": 1, "date": 1, "start_date": 1}}}}, "in another order"),
    ],
)
def test_wrong_chart_is_found_and_rewritten(charted: dict[str, Any], kind: str, update: Any, difference: str):
    update = {
        operator: {path.replace("KIND", kind): value for path, value in changes.items()}
        for operator, changes in update.items()
    }
    assert raw.collection(Patient).update_one({"_id": "P1"}, update).modified_count == 1
    wrong = patient()
    result = check()
    assert result.code == 1
    assert result.figures["charts"] == (2, 1, 0, 1)
    assert result.differences == {"charts": 1}
    assert f"charts: Patient P1: the chart's {kind} are not those of the collection: {difference}.\n" in result.text
    assert patient() == wrong

    repaired = check("--repair")
    assert (repaired.code, repaired.figures["charts"]) == (0, (2, 1, 1, 0))
    assert f"{difference}. Repaired." in repaired.text
    after = patient()
    assert after.pop("revision") == wrong["revision"] + 1
    assert after == {name: value for name, value in charted.items() if name != "revision"}
    assert_clean(check())


def test_chart_of_a_patient_without_records_is_empty(people: People):
    raw.collection(Patient).update_one({"_id": "P2"}, {"$set": {"appointments": [{"appointment_id": "A1"}]}})
    assert "Patient P2" in check().text
    assert check("--repair").code == 0
    found = raw.collection(Patient).find_one({"_id": "P2"})
    assert found is not None
    assert found["appointments"] == []


def test_chart_has_at_most_chart_length_entries(people: People):
    for number in range(CHART_LENGTH + 2):
        make_appointment(people, date=DAY + timedelta(days=number))
    assert_clean(check())
    assert len(patient()["appointments"]) == CHART_LENGTH
    raw.collection(Patient).update_one({"_id": "P1"}, {"$pop": {"appointments": 1}})
    assert "1 entry missing" in check().text
    assert check("--repair").code == 0
    assert len(patient()["appointments"]) == CHART_LENGTH


def test_document_without_optional_fields_breaks_nothing(charted: dict[str, Any]):
    """An absent field reads as null."""
    raw.collection("prescriptions").insert_one({"patient_id": "P1", "start_date": DAY, "doctor_id": "D1"})
    raw.collection("appointments").insert_one({"_id": "A9", "patient_id": "P1", "date": DAY, "doctor_id": "D1"})
    result = check("--repair")
    assert (result.code, result.figures["charts"]) == (0, (2, 2, 2, 0))
    assert [entry["appointment_id"] for entry in patient()["appointments"]].count("A9") == 1
    assert_clean(check())


def test_visit_that_is_booked_between_two_reads_is_no_difference(people: People, charted: dict[str, Any], monkeypatch):
    read = charts._Kind.entries_of
    days = iter(range(10, 20))
    suspected = []
    confirm = charts._confirm

    def book_and_read(kind, patient_ids):
        make_appointment(people, date=DAY + timedelta(days=next(days)))
        make_prescription(people)
        return read(kind, patient_ids)

    def watched(suspects):
        suspected.extend(suspects)
        return confirm(suspects)

    monkeypatch.setattr(charts._Kind, "entries_of", book_and_read)
    monkeypatch.setattr(charts, "_confirm", watched)
    assert_clean(check())
    assert [patient_id for patient_id, _ in suspected] == ["P1", "P1"]


@pytest.mark.django_db(transaction=True, databases=["default", "clinical"])  # threads have their own connections
def test_repair_starts_again_after_a_concurrent_write(people: People, charted: dict[str, Any], monkeypatch):
    """A visit is booked after the repair has read the collection and before the repair writes the chart."""
    raw.collection(Patient).update_one({"_id": "P1"}, {"$set": {"appointments": []}})
    replace = chart.replace
    booked: list[Any] = []

    def book_and_replace(kind, patient_id, entries):
        if not booked:
            booked.append(1)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(make_appointment, people, date=DAY + timedelta(days=30)).result()
        return replace(kind, patient_id, entries)

    monkeypatch.setattr(chart, "replace", book_and_replace)
    assert check("--repair").code == 0
    assert len(patient()["appointments"]) == 4
    assert_clean(check())

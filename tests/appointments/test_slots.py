"""Tests of GET /doctors/{id}/slots, and of bookings against the working hours."""

from datetime import date
from typing import Any

import pytest

from appointments.models import Claim
from tests.databases import clinical_database
from tests.people import People, make_doctor

pytestmark = pytest.mark.django_db
# A Monday without a change of the clocks nearby.
MONDAY = "2027-03-01"


@pytest.fixture
def clinic(people: People) -> People:
    make_doctor(
        people.admin,
        "D9",
        time_zone="America/New_York",
        availability=[{"weekday": 0, "start": "09:00", "end": "11:00", "slot_minutes": 30}],
        exceptions=[{"date": date(2027, 3, 8), "start": None, "end": None, "closed": True}],
    )
    return people


def slots(people: People, who: str = "patient", query: str = f"from={MONDAY}&to={MONDAY}") -> list[dict[str, Any]]:
    answer = people.client(who).get(f"/api/doctors/D9/slots?{query}")
    assert answer.status_code == 200, answer.json()
    return answer.json()["results"]


def book(people: People, who: str = "patient", **fields: Any) -> Any:
    visit = {"patient_id": "P1", "doctor_id": "D9", "date": MONDAY, "time": "09:30", **fields}
    return people.client(who).post("/api/appointments", visit, format="json")


def test_slots_are_the_hours_without_booked_times(clinic: People) -> None:
    assert slots(clinic)[0] == {
        "starts_at": "2027-03-01T14:00:00Z",
        "ends_at": "2027-03-01T14:30:00Z",
        "date": MONDAY,
        "time": "09:00",
    }
    assert book(clinic).status_code == 201
    assert [slot["time"] for slot in slots(clinic)] == ["09:00", "10:00", "10:30"]
    # A visit takes every slot that it overlaps.
    assert book(clinic, "admin", patient_id="P2", time="10:15", duration_minutes=20).status_code == 201
    assert [slot["time"] for slot in slots(clinic)] == ["09:00"]


def test_both_days_are_included_and_exceptions_count(clinic: People) -> None:
    found = slots(clinic, query="from=2027-03-01&to=2027-03-15")
    assert [(slot["date"], slot["time"]) for slot in found if slot["time"] == "09:00"] == [
        ("2027-03-01", "09:00"),
        ("2027-03-15", "09:00"),
    ]


def test_another_doctors_visits_do_not_matter(clinic: People) -> None:
    assert book(clinic, "admin", doctor_id="D1", time="14:00").status_code == 201
    assert len(slots(clinic)) == 4


@pytest.mark.parametrize(
    "query",
    [
        "from=2027-03-02&to=2027-03-01",
        "from=2027-03-01&to=2027-04-01", "from=tomorrow", "to=2027-02-30", "page_size=5",
        "from=2027-03-01&from=2027-03-02", "day=2027-03-01",
    ],
)  # fmt: skip
def test_bad_periods_are_refused(clinic: People, query: str) -> None:
    assert clinic.client("patient").get(f"/api/doctors/D9/slots?{query}").status_code == 400


def test_31_days_are_accepted(clinic: People) -> None:
    assert {slot["date"] for slot in slots(clinic, query="from=2027-03-01&to=2027-03-31")} == {
        "2027-03-01", "2027-03-15", "2027-03-22", "2027-03-29",
    }  # fmt: skip


def test_unknown_doctor_has_no_slots(people: People) -> None:
    assert people.client("patient").get("/api/doctors/nobody/slots").status_code == 404


def test_a_week_from_today_without_days(clinic: People) -> None:
    assert clinic.client("doctor").get("/api/doctors/D9/slots").status_code == 200


@pytest.mark.parametrize("time", ["08:30", "10:45", "11:00", "23:00"])
def test_timed_visits_outside_the_hours_are_refused(clinic: People, time: str) -> None:
    answer = book(clinic, "admin", time=time, duration_minutes=30)
    assert answer.status_code == 400
    assert answer.json()["errors"][0] == {
        "pointer": "/time",
        "code": "outside_hours",
        "detail": "The doctor does not work then; ask for the free slots.",
    }
    assert clinical_database().appointments.count_documents({}) == 0
    assert Claim.objects.count() == 0


def test_closed_day_is_refused_and_an_untimed_visit_taken(clinic: People) -> None:
    assert book(clinic, date="2027-03-08").status_code == 400
    assert book(clinic, date="2027-03-08", time=None).status_code == 201
    assert Claim.objects.count() == 0

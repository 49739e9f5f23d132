"""Claims exist exactly as long as a visit with a time is scheduled."""

from datetime import UTC, datetime
from typing import Any

import pytest

from appointments import claims
from appointments.models import Appointment
from tests.databases import clinical_database
from tests.people import People
from tests.records import days_from_now, make_appointment

pytestmark = pytest.mark.django_db


def held() -> dict[str, str]:
    return {c["_id"]: c["appointment_id"] for c in clinical_database().claims.find()}


def visit(starts_at: datetime, minutes: int, **fields: Any) -> Appointment:
    return Appointment(
        patient_id="P1", doctor_id="D1", starts_at=starts_at, duration_minutes=minutes, status="scheduled", **fields
    )


def test_ids_consist_of_holder_and_time() -> None:
    assert claims.ids_of(visit(datetime(2025, 9, 12, 10, 5, tzinfo=UTC), 10)) == [
        "doctor D1 2025-09-12T10:05Z",
        "doctor D1 2025-09-12T10:10Z",
        "patient P1 2025-09-12T10:05Z",
        "patient P1 2025-09-12T10:10Z",
    ]


def test_a_visit_claims_every_interval_that_it_overlaps() -> None:
    ids = claims.ids_of(visit(datetime(1885, 1, 1, 10, 3, 28, tzinfo=UTC), 5))
    assert [one.rsplit(" ", 1)[1] for one in ids[:2]] == ["1885-01-01T10:00Z", "1885-01-01T10:05Z"]


def test_a_patient_and_a_doctor_of_one_name_do_not_clash() -> None:
    one = Appointment(
        patient_id="X",
        doctor_id="X",
        starts_at=datetime(2027, 1, 1, tzinfo=UTC),
        duration_minutes=5,
        status="scheduled",
    )
    assert len(set(claims.ids_of(one))) == 2


def test_booking_creates_claims_and_a_final_status_deletes_them(people: People) -> None:
    made = make_appointment(people, duration_minutes=15)
    assert len(held()) == 6
    assert set(held().values()) == {made.appointment_id}
    patch(people, made, {"status": "cancelled"}, 200)
    assert held() == {}
    again = make_appointment(people, duration_minutes=15)
    patch(people, again, {"status": "completed"}, 200)
    assert held() == {}
    last = make_appointment(people, duration_minutes=15)
    assert people.client("admin").delete(f"/api/appointments/{last.appointment_id}").status_code == 204
    assert held() == {}


def patch(people: People, made: Appointment, changes: dict[str, Any], status: int) -> Any:
    answer = people.client("admin").patch(f"/api/appointments/{made.appointment_id}", changes, format="json")
    assert answer.status_code == status, answer.json()
    return answer.json()


@pytest.mark.parametrize(
    ("time", "minutes", "taken"),
    [
        ("10:00", 30, True), ("09:45", 30, True), ("10:25", 5, True), ("10:10", 5, True), ("09:00", 120, True),
        ("09:30", 30, False), ("10:30", 30, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("patient", "doctor", "whose"), [("P2", "D1", "doctor"), ("P1", "D2", "patient")])
def test_overlaps_of_different_lengths(
    people: People, time: str, minutes: int, taken: bool, patient: str, doctor: str, whose: str
) -> None:
    first = make_appointment(people, time="10:00", duration_minutes=30)
    before = held()
    answer = people.client("admin").post(
        "/api/appointments",
        {
            "patient_id": patient,
            "doctor_id": doctor,
            "date": str(first.date),
            "time": time,
            "duration_minutes": minutes,
        },
        format="json",
    )
    if not taken:
        assert answer.status_code == 201
        return
    assert answer.status_code == 409
    assert answer.json()["errors"] == [
        {"pointer": "/time", "code": "slot_taken", "detail": f"The {whose} has another visit at that time."}
    ]
    assert held() == before
    assert clinical_database().appointments.count_documents({}) == 1


def test_moving_keeps_the_old_time_until_the_new_one_is_held(people: People) -> None:
    make_appointment(people, appointment_id="A1", patient_id="P2", time="11:00")
    made = make_appointment(people, appointment_id="A2", time="10:00")
    before = held()
    patch(people, made, {"time": "11:15"}, 409)
    assert held() == before
    assert Appointment.objects.get(pk="A2").time == "10:00"
    # The new time overlaps the old one: claims of both are kept.
    patch(people, made, {"time": "10:15"}, 200)
    patch(people, made, {"duration_minutes": 10}, 200)
    patch(people, made, {"date": str(days_from_now(8)), "time": "11:00"}, 200)
    assert sorted(key for key, owner in held().items() if owner == "A2") == sorted(
        claims.ids_of(Appointment.objects.get(pk="A2"))
    )


def test_untimed_visits_have_no_claims_and_may_become_timed(people: People) -> None:
    made = make_appointment(people, time=None)
    assert held() == {}
    patch(people, made, {"time": "10:00"}, 200)
    assert len(held()) == 12
    patch(people, made, {"time": None}, 200)
    assert held() == {}

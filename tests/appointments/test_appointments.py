"""Tests of /appointments: booking, times, moves, final statuses, filters, and prevented deletions."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from appointments.models import Appointment
from doctors import hours
from doctors.models import Doctor
from patients.models import Patient
from tests.people import People, client_of, make_account
from tests.records import complete, days_from_now, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

FULL = {
    "appointment_id": "A9", "patient_id": "P1", "doctor_id": "D1", "date": "2025-09-12", "time": "09:30",
    "duration_minutes": 45, "disease": "Asthma", "status": "scheduled",
}  # fmt: skip


@pytest.fixture
def admin(people: People) -> APIClient:
    return people.client("admin")


def book(client: APIClient, **fields: Any) -> Any:
    body = {"patient_id": "P1", "doctor_id": "D1", "date": str(days_from_now(3)), **fields}
    return client.post("/api/appointments", {k: v for k, v in body.items() if v != "absent"}, format="json")


def pointers(response: Any) -> list[str]:
    return [error["pointer"] for error in response.json()["errors"]]


# --- Booking ---------------------------------------------------------------------------------------------------------


def test_booked_visit_is_answered_and_stored(admin: APIClient):
    response = admin.post("/api/appointments", FULL, format="json")
    assert response.status_code == 201
    answer = response.json()
    assert answer.items() >= {**FULL, "starts_at": "2025-09-12T09:30:00Z"}.items()
    assert set(answer) == {*FULL, "starts_at", "created_at"}
    assert admin.get("/api/appointments/A9").json() == answer
    stored = Appointment.objects.get(pk="A9")
    assert (stored.date, stored.time, stored.duration_minutes) == (date(2025, 9, 12), "09:30", 45)
    assert stored.starts_at == datetime(2025, 9, 12, 9, 30, tzinfo=UTC)


def test_defaults(admin: APIClient):
    answer = book(admin).json()
    assert re.fullmatch(r"A[0-9A-Z]{10}", answer["appointment_id"])
    assert (answer["time"], answer["starts_at"], answer["disease"]) == (None, None, None)
    assert (answer["duration_minutes"], answer["status"]) == (30, "scheduled")
    assert admin.get(f"/api/appointments/{answer['appointment_id']}").json() == answer


@pytest.mark.parametrize("name", ["patient_id", "doctor_id", "date"])
def test_required_fields(admin: APIClient, name: str):
    for value in ("absent", "", None):
        response = book(admin, **{name: value})
        assert (response.status_code, pointers(response)) == (400, [f"/{name}"])
    assert not Appointment.objects.exists()


@pytest.mark.parametrize("name", ["patient_id", "doctor_id"])
def test_unknown_ids_are_a_bad_request(admin: APIClient, name: str):
    before = everything()
    response = book(admin, **{name: "X0"})
    assert (response.status_code, pointers(response)) == (400, [f"/{name}"])
    assert changed(before, everything()) == set()


def test_duplicate_id_is_a_conflict(admin: APIClient):
    assert book(admin, appointment_id="A1").status_code == 201
    before = everything()
    response = book(admin, appointment_id="A1", date=str(days_from_now(20)))
    assert (response.status_code, pointers(response)) == (409, ["/appointment_id"])
    assert changed(before, everything()) == set()


@pytest.mark.parametrize("status", ["completed", "cancelled", "booked", "", None])
def test_new_visit_is_scheduled(admin: APIClient, status: Any):
    response = book(admin, status=status)
    assert (response.status_code, pointers(response)) == (400, ["/status"])
    assert not Appointment.objects.exists()


@pytest.mark.parametrize("minutes", [0, -5, 4, 7, 725, 5.5, "30", True])
def test_invalid_durations(admin: APIClient, minutes: Any):
    response = book(admin, duration_minutes=minutes)
    assert (response.status_code, pointers(response)) == (400, ["/duration_minutes"])


def test_duration_defaults_to_the_doctors_slot_length(admin: APIClient):
    rows = [
        {"weekday": 0, "start": "09:00", "end": "12:00", "slot_minutes": 20},
        {"weekday": 0, "start": "13:00", "end": "17:00", "slot_minutes": 45},
    ]
    admin.patch("/api/doctors/D1", {"availability": rows}, format="json")
    monday = "2025-09-15"
    assert book(admin, date=monday, time="09:00").json()["duration_minutes"] == 20
    assert book(admin, date=monday, time="13:00").json()["duration_minutes"] == 45
    assert book(admin, date=monday, time="14:00", duration_minutes=15).json()["duration_minutes"] == 15
    assert book(admin, date="2025-09-16").json()["duration_minutes"] == 20


# --- Who books -------------------------------------------------------------------------------------------------------


def test_patient_books_for_themself_from_today_on(people: People):
    patient = people.client("patient")
    today = hours.today_of(people.doctor_record)
    assert book(patient, date=str(today)).status_code == 201
    response = book(patient, date=str(today - timedelta(days=1)))
    assert (response.status_code, pointers(response)) == (400, ["/date"])
    assert Appointment.objects.count() == 1


@pytest.mark.parametrize("patient_id", ["P2", "P0", "p1"])
def test_patient_who_names_another_gets_403_whether_there_is_one_or_not(people: People, patient_id: str):
    patient = people.client("patient")
    before = everything()
    responses = [book(patient, patient_id=patient_id), book(patient, patient_id="P2", doctor_id="D0")]
    assert {response.status_code for response in responses} == {403}
    assert len({response.content for response in responses}) == 1
    assert changed(before, everything()) == set()


def test_doctor_books_any_patient_with_themself_also_in_the_past(people: People):
    doctor = people.client("doctor")
    assert book(doctor, patient_id="P2", date="2020-01-01").status_code == 201
    before = everything()
    assert book(doctor, doctor_id="D2").status_code == 403
    assert book(doctor, doctor_id="D0").status_code == 403
    assert changed(before, everything()) == set()


def test_accounts_without_a_record_book_nothing(people: People):
    for role in ("doctor", "patient"):
        client = client_of(make_account(role, f"new.{role}@example.org"))
        for body in ({}, {"patient_id": "P0"}, {"doctor_id": "D0"}):
            assert book(client, **body).status_code == 403
    assert not Appointment.objects.exists()


def test_admin_records_past_visits(admin: APIClient):
    assert book(admin, date="1999-12-31", time="23:55").status_code == 201


# --- Time zones ------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_zurich(people: People) -> People:
    Doctor.objects.filter(pk="D1").update(time_zone="Europe/Zurich")
    return people


@pytest.mark.parametrize(
    ("day", "time", "starts_at"),
    [
        ("2026-01-15", "09:30", "2026-01-15T08:30:00Z"),
        ("2026-07-15", "09:30", "2026-07-15T07:30:00Z"),
        ("2026-01-15", "00:00", "2026-01-14T23:00:00Z"),
        # The clocks go forward at 02:00 on 29 March 2026 and back at 03:00 on 25 October.
        ("2026-03-29", "01:55", "2026-03-29T00:55:00Z"),
        ("2026-03-29", "03:00", "2026-03-29T01:00:00Z"),
        ("2026-10-25", "02:30", "2026-10-25T00:30:00Z"),
        ("2026-10-25", "03:00", "2026-10-25T02:00:00Z"),
    ],
)
def test_wall_time_is_the_doctor_s(in_zurich: People, day: str, time: str, starts_at: str):
    answer = book(in_zurich.client("admin"), date=day, time=time).json()
    assert (answer["date"], answer["time"], answer["starts_at"]) == (day, time, starts_at)


@pytest.mark.parametrize("time", ["02:00", "02:30", "02:55"])
def test_time_that_the_clocks_skip_is_refused(in_zurich: People, time: str):
    admin = in_zurich.client("admin")
    response = book(admin, date="2026-03-29", time=time)
    assert (response.status_code, pointers(response)) == (400, ["/time"])
    assert not Appointment.objects.exists()
    visit = book(admin, date="2026-03-28", time=time).json()
    moved = admin.patch(f"/api/appointments/{visit['appointment_id']}", {"date": "2026-03-29"}, format="json")
    assert (moved.status_code, pointers(moved)) == (400, ["/time"])
    assert str(Appointment.objects.get().date) == "2026-03-28"


def test_today_is_the_doctor_s(people: People):
    """The date differs between time zones in the far east and the far west."""
    patient = people.client("patient")
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        Doctor.objects.filter(pk="D1").update(time_zone=zone)
        today = hours.today_of(Doctor.objects.get(pk="D1"))
        assert book(patient, date=str(today)).status_code == 201
        assert book(patient, date=str(today - timedelta(days=1))).status_code == 400


# --- Moving and ending -----------------------------------------------------------------------------------------------


def change(client: APIClient, **fields: Any) -> Any:
    return client.patch("/api/appointments/A1", fields, format="json")


@pytest.fixture
def visit(people: People) -> Appointment:
    return make_appointment(people, appointment_id="A1")


@pytest.mark.parametrize("who", ["patient", "doctor", "admin"])
def test_scheduled_visit_is_moved(people: People, visit: Appointment, who: str):
    client, day = people.client(who), str(days_from_now(9))
    response = change(client, date=day, time="11:15", duration_minutes=20)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["date"], answer["time"], answer["duration_minutes"]) == (day, "11:15", 20)
    assert answer["starts_at"] == f"{day}T11:15:00Z"
    assert client.get("/api/appointments/A1").json() == answer


def test_visit_becomes_untimed_and_timed_again(people: People, visit: Appointment, admin: APIClient):
    answer = change(admin, time=None).json()
    assert (answer["time"], answer["starts_at"]) == (None, None)
    assert Appointment.objects.get().starts_at is None
    answer = change(admin, time="08:05").json()
    assert answer["starts_at"].endswith("T08:05:00Z")
    assert admin.get("/api/appointments/A1").json() == answer


def test_patient_does_not_move_a_visit_into_the_past(people: People, visit: Appointment):
    before = everything()
    patient = people.client("patient")
    response = change(patient, date="2020-01-01")
    assert (response.status_code, pointers(response)) == (400, ["/date"])
    assert change(people.client("doctor"), date="2020-01-01").status_code == 200
    assert changed(before, everything()) == {
        "mongodb appointments",
        "mongodb claims",
        "mongodb events",
        "mongodb patients",
        "mongodb report_counters",
        "postgresql accounts_tokenfamily",
    }


@pytest.mark.parametrize(
    "fields",
    [{"patient_id": "P2"}, {"doctor_id": "D2"}, {"appointment_id": "A2"}, {"starts_at": "2026-01-01T00:00:00Z"}, {}],
)
def test_patient_and_doctor_of_a_visit_do_not_change(
    people: People, visit: Appointment, admin: APIClient, fields: dict[str, Any]
):
    before = everything()
    assert change(admin, **fields).status_code == 400
    assert changed(before, everything()) == set()


def test_disease_is_corrected_and_cleared(visit: Appointment, admin: APIClient):
    assert change(admin, disease="COPD").json()["disease"] == "COPD"
    assert change(admin, disease=None).json()["disease"] is None
    assert admin.get("/api/appointments/A1").json()["disease"] is None


@pytest.mark.parametrize(
    ("who", "status", "expected"),
    [
        ("patient", "cancelled", 200), ("doctor", "cancelled", 200), ("admin", "cancelled", 200),
        ("patient", "completed", 403), ("doctor", "completed", 200), ("admin", "completed", 200),
    ],
)  # fmt: skip
def test_who_ends_a_visit(people: People, visit: Appointment, who: str, status: str, expected: int):
    response = change(people.client(who), status=status)
    assert response.status_code == expected
    assert Appointment.objects.get().status == (status if expected == 200 else "scheduled")


@pytest.mark.parametrize("end", ["completed", "cancelled"])
@pytest.mark.parametrize(
    "fields",
    [{"status": "scheduled"}, {"status": "completed"}, {"status": "cancelled"}, {"time": "12:00"}, {"disease": "x"}],
)
def test_completed_and_cancelled_are_final(visit: Appointment, admin: APIClient, end: str, fields: dict[str, Any]):
    assert change(admin, status=end).status_code == 200
    before = everything()
    response = change(admin, **fields)
    assert response.status_code == 409
    assert end in response.json()["detail"]
    assert changed(before, everything()) == set()


def test_final_status_is_reported_before_missing_rights(people: People, visit: Appointment):
    change(people.client("doctor"), status="completed")
    assert change(people.client("patient"), status="cancelled").status_code == 409


def test_move_and_final_status_exclude_each_other(visit: Appointment, admin: APIClient):
    before = everything()
    response = change(admin, status="cancelled", time="12:00")
    assert (response.status_code, pointers(response)) == (400, ["/status"])
    assert changed(before, everything()) == set()


# --- Finding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "A4 A3 A2 A1"), ("patient_id=P1", "A4 A2 A1"), ("doctor_id=D2", "A4"), ("status=cancelled", "A2"),
        ("status=scheduled", "A4 A3 A1"), ("from=2025-09-12", "A4 A3 A2"), ("to=2025-09-12", "A3 A2 A1"),
        ("from=2025-09-12&to=2025-09-12", "A3 A2"), ("from=2025-09-13&to=2025-09-12", ""),
        ("patient_id=P1&doctor_id=D1&status=scheduled", "A1"), ("patient_id=P2&doctor_id=D2", ""),
    ],
)  # fmt: skip
def test_filters_and_order(people: People, query: str, expected: str):
    """The order is the latest first, by date and time, with the untimed visits of a day after its timed ones."""
    for appointment_id, patient_id, doctor_id, day, time in [
        ("A1", "P1", "D1", "2025-09-11", "09:00"), ("A2", "P1", "D1", "2025-09-12", None),
        ("A3", "P2", "D1", "2025-09-12", "09:00"), ("A4", "P1", "D2", "2025-09-13", None),
    ]:  # fmt: skip
        make_appointment(
            people, appointment_id=appointment_id, patient_id=patient_id, doctor_id=doctor_id, time=time,
            date=date.fromisoformat(day),
        )  # fmt: skip
    Appointment.objects.filter(pk="A2").update(status="cancelled")
    response = people.client("admin").get(f"/api/appointments?{query}")
    assert [row["appointment_id"] for row in response.json()["results"]] == expected.split()


# --- Deleting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["patient", "admin"])
@pytest.mark.parametrize("status", ["scheduled", "cancelled"])
def test_deleted_visit_is_gone(people: People, visit: Appointment, who: str, status: str):
    Appointment.objects.filter(pk="A1").update(status=status)
    client = people.client(who)
    assert client.delete("/api/appointments/A1").status_code == 204
    assert not Appointment.objects.exists()
    assert client.get("/api/appointments/A1").status_code == 404
    assert Patient.objects.filter(pk="P1").exists()


def test_completed_visit_is_not_deleted(people: People, visit: Appointment, admin: APIClient):
    complete(people, visit)
    before = everything()
    response = admin.delete("/api/appointments/A1")
    assert response.status_code == 409
    assert "completed" in response.json()["detail"]
    assert changed(before, everything()) == set()


@pytest.mark.parametrize(("make", "words"), [(make_prescription, "1 prescription"), (make_bill, "1 bill")])
def test_visit_that_a_record_names_is_not_deleted(
    people: People, visit: Appointment, admin: APIClient, make: Any, words: str
):
    make(people, appointment_id="A1")
    before = everything()
    response = admin.delete("/api/appointments/A1")
    assert response.status_code == 409
    assert response.json()["detail"] == f"This appointment cannot be deleted: it is named by {words}."
    assert changed(before, everything()) == set()

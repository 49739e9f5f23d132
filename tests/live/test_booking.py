"""Concurrent bookings by many clients through several processes: of overlapping visits exactly one is stored."""

from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest

from appointments.models import Appointment, Claim
from healthcare.mongodb import raw
from tests.live.agreement import assert_databases_agree
from tests.live.client import Answer, Client, at_once, statuses
from tests.live.server import LiveServer
from tests.people import People, make_doctor, make_patient
from tests.records import days_from_now

pytestmark = pytest.mark.django_db(transaction=True)
DAY = days_from_now(30)


def book_at_once(admin: Client, bookings: list[dict[str, Any]]) -> list[Answer]:
    clients = [Client(admin.port, admin.token) for _ in bookings]
    bodies = [{"date": str(DAY), **booking} for booking in bookings]
    return at_once([partial(client.post, "/appointments", body) for client, body in zip(clients, bodies, strict=True)])


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def test_many_clients_reach_several_processes(server: LiveServer, admin: Client) -> None:
    """All tests of this file need several processes. One may accept all connections, so several rounds are allowed."""
    for _ in range(5):
        clients = [Client(admin.port, admin.token) for _ in range(50)]
        at_once([partial(client.get, "/patients/P1") for client in clients])
        ports = {client.local_port for client in clients}
        reached = sum(bool(ports & found) for found in server.connections().values())
        if reached >= 2:
            break
    assert reached >= 2


def test_fifty_requests_for_one_slot_of_a_doctor(admin: Client, people: People) -> None:
    patients = [f"SLOT-{number}" for number in range(50)]
    for patient in patients:
        make_patient(people.admin, patient)
    answers = book_at_once(admin, [{"patient_id": patient, "doctor_id": "D1", "time": "10:00"} for patient in patients])
    assert statuses(answers) == {201: 1, 409: 49}
    for patient, answer in zip(patients, answers, strict=True):
        if answer.status == 409:
            assert answer.code == "slot_taken"
            assert answer.body["detail"] == "The doctor has another visit at that time."
            assert not any(other in str(answer.body) for other in patients if other != patient)
    assert Appointment.objects.count() == 1
    assert raw.collection(Claim).count({}) == 12
    assert_databases_agree()


def test_fifty_doctors_for_one_time_of_a_patient(admin: Client, people: People) -> None:
    doctors = [f"SLOT-{number}" for number in range(50)]
    for doctor in doctors:
        make_doctor(people.admin, doctor)
    answers = book_at_once(admin, [{"patient_id": "P1", "doctor_id": doctor, "time": "10:00"} for doctor in doctors])
    assert statuses(answers) == {201: 1, 409: 49}
    refused = {answer.body["detail"] for answer in answers if answer.status == 409}
    assert refused == {"The patient has another visit at that time."}
    assert Appointment.objects.count() == 1
    assert_databases_agree()


def test_fifty_different_slots_of_one_doctor_and_fifty_patients(admin: Client, people: People) -> None:
    for number in range(50):
        make_patient(people.admin, f"MANY-{number}")
    answers = book_at_once(
        admin,
        [
            {"patient_id": f"MANY-{n}", "doctor_id": "D1", "time": clock(8 * 60 + 15 * n), "duration_minutes": 15}
            for n in range(50)
        ],
    )
    assert statuses(answers) == {201: 50}
    assert Appointment.objects.filter(doctor_id="D1").count() == 50
    assert_databases_agree()


def test_fifty_different_slots_of_one_patient(admin: Client) -> None:
    """Every two of the bookings conflict, because they write to the same chart."""
    answers = book_at_once(
        admin,
        [
            {"patient_id": "P1", "doctor_id": "D1", "time": clock(8 * 60 + 15 * n), "duration_minutes": 15}
            for n in range(50)
        ],
    )
    assert statuses(answers) == {201: 50}
    assert Appointment.objects.filter(patient_id="P1").count() == 50
    assert_databases_agree()


def test_fifty_untimed_visits_clash_with_nothing(admin: Client) -> None:
    answers = book_at_once(admin, [{"patient_id": "P1", "doctor_id": "D1"}] * 50)
    assert statuses(answers) == {201: 50}
    assert raw.collection(Claim).count({}) == 0
    assert_databases_agree()


def test_overlaps_of_different_lengths(admin: Client, people: People) -> None:
    """No two stored visits overlap, and each refused one overlaps a stored one."""
    wishes = [(start, length) for start in range(9 * 60, 11 * 60, 25) for length in (5, 20, 45, 90, 120)]
    for number in range(len(wishes)):
        make_patient(people.admin, f"LONG-{number}")
    answers = book_at_once(
        admin,
        [
            {"patient_id": f"LONG-{n}", "doctor_id": "D1", "time": clock(start), "duration_minutes": length}
            for n, (start, length) in enumerate(wishes)
        ],
    )
    assert set(statuses(answers)) == {201, 409}
    held = [wish for wish, answer in zip(wishes, answers, strict=True) if answer.status == 201]
    for wish, answer in zip(wishes, answers, strict=True):
        overlapping = [other for other in held if other[0] < wish[0] + wish[1] and wish[0] < other[0] + other[1]]
        assert (overlapping == [wish]) if answer.status == 201 else overlapping
    assert Appointment.objects.count() == len(held)
    assert_databases_agree()


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_released_slot_is_free_at_once(end: str, admin: Client, people: People) -> None:
    """The slot is booked on another connection than the one that released it, usually in another process."""
    other = Client(admin.port, admin.token)
    for number in range(15):
        visit = {"patient_id": "P1", "doctor_id": "D1", "date": str(DAY), "time": "10:00"}
        booked = admin.post("/appointments", {**visit, "appointment_id": f"FREE-{number}"})
        assert booked.status == 201, booked.body
        taken = other.post("/appointments", {**visit, "patient_id": "P2"})
        assert (taken.status, taken.code) == (409, "slot_taken")
        if end == "cancel":
            assert admin.patch(f"/appointments/FREE-{number}", {"status": "cancelled"}).status == 200
        else:
            assert admin.delete(f"/appointments/FREE-{number}").status == 204
        admin, other = other, admin
    assert raw.collection(Claim).count({}) == 0
    assert_databases_agree()


def test_one_appointment_id_twenty_times_at_once(admin: Client, people: People) -> None:
    """With different patients and times only the id conflicts, and refused requests store nothing."""
    for number in range(20):
        make_patient(people.admin, f"SAME-{number}")
    answers = book_at_once(
        admin,
        [
            {
                "patient_id": f"SAME-{n}",
                "doctor_id": "D1",
                "time": clock(8 * 60 + 30 * n),
                "appointment_id": "ONCE",
            }
            for n in range(20)
        ],
    )
    assert statuses(answers) == {201: 1, 409: 19}
    assert {answer.code for answer in answers if answer.status == 409} == {"duplicate"}
    winner = next(answer.body for answer in answers if answer.status == 201)
    assert Appointment.objects.get().patient_id == winner["patient_id"]
    assert raw.collection(Claim).count({}) == 12
    assert_databases_agree()


def test_one_request_sent_twenty_times_at_once(admin: Client) -> None:
    """An app repeats the same request."""
    body = {"patient_id": "P1", "doctor_id": "D1", "time": "10:00", "appointment_id": "ONCE"}
    answers = book_at_once(admin, [body] * 20)
    assert statuses(answers) == {201: 1, 409: 19}
    assert Appointment.objects.count() == 1
    assert_databases_agree()


def test_fifty_patients_of_two_doctors_cross_over(admin: Client, people: People) -> None:
    """Each pair of bookings shares a time and a doctor or patient: no deadlock, and at most one of a pair is stored."""
    days: list[date] = [DAY + timedelta(days=n) for n in range(12)]
    answers = book_at_once(
        admin,
        [
            {"patient_id": patient, "doctor_id": doctor, "date": str(day), "time": "10:00"}
            for day in days
            for patient in ("P1", "P2")
            for doctor in ("D1", "D2")
        ],
    )
    assert set(statuses(answers)) <= {201, 409}
    assert 12 <= statuses(answers)[201] <= 24
    assert Appointment.objects.count() == statuses(answers)[201]
    assert_databases_agree()

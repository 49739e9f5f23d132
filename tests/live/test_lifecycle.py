"""Concurrent changes of visits through several processes: moves, completions, cancellations and deletions."""

import threading
from functools import partial
from itertools import cycle, islice

import pytest

from appointments.models import Appointment, Claim, Status
from billing.models import Bill
from healthcare.mongodb import raw
from healthcare.outbox.models import Event
from tests.live.agreement import assert_databases_agree
from tests.live.client import Answer, Client, at_once, statuses
from tests.live.conftest import token_of
from tests.live.server import LiveServer
from tests.people import People, make_patient
from tests.records import days_from_now, make_appointment

pytestmark = pytest.mark.django_db(transaction=True)


def patch_at_once(admin: Client, visit_id: str, bodies: list[dict[str, str]]) -> list[Answer]:
    clients = [Client(admin.port, admin.token) for _ in bodies]
    return at_once(
        [partial(client.patch, f"/appointments/{visit_id}", body) for client, body in zip(clients, bodies, strict=True)]
    )


def test_twenty_complete_and_cancel_one_visit(admin: Client, people: People) -> None:
    """One request wins, and the visit and its bill agree with it. Repeated five times, because either may win."""
    for number in range(5):
        visit_id = make_appointment(people, appointment_id=f"END-{number}", time=f"1{number}:00").appointment_id
        ends = list(islice(cycle([{"status": "completed"}, {"status": "cancelled"}]), 20))
        answers = patch_at_once(admin, visit_id, ends)
        assert statuses(answers) == {200: 1, 409: 19}
        assert {answer.code for answer in answers if answer.status == 409} == {"final"}
        won = next(answer.body["status"] for answer in answers if answer.status == 200)
        assert Appointment.objects.get(pk=visit_id).status == won
        assert Bill.objects.filter(appointment_id=visit_id).count() == (won == Status.COMPLETED)
        assert raw.collection(Event).count({"subject_id": visit_id, "kind": f"appointment.{won}"}) == 1
    assert raw.collection(Claim).count({}) == 0
    assert_databases_agree()


def test_completing_and_deleting_at_once(server: LiveServer, people: People) -> None:
    """A visit is either deleted without a bill, or completed and billed."""
    token = token_of(people.admin)
    for number in range(5):
        visit_id = make_appointment(people, appointment_id=f"END-{number}").appointment_id
        path = f"/appointments/{visit_id}"
        clients = [server.client(token) for _ in range(10)]
        answers = at_once(
            [lambda c=client, p=path: c.patch(p, {"status": "completed"}) for client in clients[:5]]
            + [lambda c=client, p=path: c.delete(p) for client in clients[5:]]
        )
        assert set(statuses(answers)) <= {200, 204, 404, 409}
        won = [answer.status for answer in answers if answer.status in (200, 204)]
        assert len(won) == 1
        assert Appointment.objects.filter(pk=visit_id).exists() == (won == [200])
        assert Bill.objects.filter(appointment_id=visit_id).count() == (won == [200])
    assert_databases_agree()


def test_move_claims_the_new_time_before_it_releases_the_old_one(admin: Client, people: People) -> None:
    """While a visit moves between two times, other clients request both; none of them gets a claimed time."""
    visit_id = make_appointment(people, time="10:00").appointment_id
    for number in range(8):
        make_patient(people.admin, f"MOVE-{number}")
    day = str(days_from_now(7))
    is_over = threading.Event()

    def move_to_and_fro() -> list[Answer]:
        mover = Client(admin.port, admin.token)
        answers = [mover.patch(f"/appointments/{visit_id}", {"time": time}) for time in ["10:15", "10:00"] * 15]
        is_over.set()
        return answers

    def ask(number: int, time: str) -> list[Answer]:
        client, answers = Client(admin.port, admin.token), []
        wish = {"patient_id": f"MOVE-{number}", "doctor_id": "D1", "date": day, "time": time, "duration_minutes": 30}
        while not is_over.is_set():
            answers.append(client.post("/appointments", wish))
            if answers[-1].status == 201:
                # 10:10 to 10:40 overlaps the visit at 10:00 and at 10:15, so it is never free.
                break
        return answers

    moves, *asked = at_once(
        [
            move_to_and_fro,
            *(lambda n=n: ask(n, "10:10") for n in range(4)),
            *(lambda n=n: ask(n, "09:50") for n in (4,)),
        ]
    )
    overlapping = [answer for answers in asked[:4] for answer in answers]
    assert statuses(overlapping).keys() == {409}
    assert set(statuses(moves)) <= {200, 409}
    assert all(answer.code == "slot_taken" for answer in moves if answer.status == 409)
    assert Appointment.objects.count() in (1, 2)
    assert_databases_agree()


def test_refused_move_keeps_the_old_time(admin: Client, people: People) -> None:
    kept = make_appointment(people, time="10:00", appointment_id="KEPT")
    make_appointment(people, patient_id="P2", time="11:00", appointment_id="THERE")
    answers = patch_at_once(admin, "KEPT", [{"time": "11:00"}, {"time": "10:45"}, {"time": "11:15"}] * 4)
    assert statuses(answers) == {409: 12}
    assert {answer.code for answer in answers} == {"slot_taken"}
    assert Appointment.objects.get(pk="KEPT").starts_at == kept.starts_at
    assert raw.collection(Claim).count({"appointment_id": "KEPT"}) == 12
    assert_databases_agree()


def test_twenty_move_one_visit_to_twenty_times(admin: Client, people: People) -> None:
    visit_id = make_appointment(people, time="08:00").appointment_id
    wishes = [{"time": f"{9 + n // 2:02}:{n % 2 * 30:02}"} for n in range(20)]
    answers = patch_at_once(admin, visit_id, wishes)
    assert statuses(answers) == {200: 20}
    assert Appointment.objects.get(pk=visit_id).time in {wish["time"] for wish in wishes}
    assert raw.collection(Claim).count({}) == 12
    assert_databases_agree()


def test_two_visits_cannot_swap_into_one_another(server: LiveServer, people: People) -> None:
    """Both visits move to the same free time; one of the moves succeeds."""
    for number in range(5):
        day = days_from_now(10 + number)
        one = make_appointment(people, date=day, time="10:00").appointment_id
        two = make_appointment(people, date=day, patient_id="P2", time="11:00").appointment_id
        clients = [server.client(token_of(people.admin)) for _ in range(2)]
        answers = at_once(
            [
                partial(client.patch, f"/appointments/{visit}", {"time": "12:00"})
                for client, visit in zip(clients, (one, two), strict=True)
            ]
        )
        assert statuses(answers) == {200: 1, 409: 1}
    assert_databases_agree()

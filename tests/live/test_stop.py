"""Stopping under load: accepted requests are answered, later ones refused, and no event is lost."""

import http.client
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import orjson
import pytest

from appointments.models import Appointment
from billing.models import Bill, Fee
from healthcare import clock
from healthcare.mongodb import raw
from healthcare.outbox.models import Event
from tests.fees import restore_fees
from tests.live.agreement import assert_databases_agree
from tests.live.client import HOST, Answer, Client, NoAnswer, at_once
from tests.live.conftest import environment_of_this_run, token_of
from tests.live.server import ROOT, LiveServer
from tests.people import People, make_patient
from tests.records import complete, days_from_now, make_appointment

pytestmark = pytest.mark.django_db(transaction=True)

METRICS = "a token for the tests, long enough for its setting"
MARK = "Marked"


class Caller:
    """Books and completes visits of one patient until the server accepts no more requests."""

    def __init__(self, client: Client, number: int, *, keeps_connection: bool) -> None:
        self.client = client
        self.number = number
        self.keeps_connection = keeps_connection
        self.answers: list[Answer] = []
        self.cut: list[str] = []

    def run(self) -> None:
        for visit in itertools.count():
            key = f"S{self.number}-{visit}"
            body = {"patient_id": f"S{self.number}", "doctor_id": "D1", "appointment_id": key,
                    "date": str(days_from_now(1))}  # fmt: skip
            for call in (
                lambda body=body: self.client.post("/appointments", body),
                lambda key=key: self.client.patch(f"/appointments/{key}", {"status": "completed"}),
            ):
                if not self.keeps_connection:
                    self.client.close()
                try:
                    self.answers.append(call())
                except NoAnswer as error:
                    if not isinstance(error.__cause__, ConnectionRefusedError):
                        self.cut.append(repr(error.__cause__))
                    return


def test_stopped_server_answers_accepted_requests(people: People, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    environment = {**environment_of_this_run(), "METRICS_TOKEN": METRICS}
    with LiveServer(environment, log, workers=2) as server:
        token = token_of(people.admin)
        before = server.client(token).get(f"/patients?search={MARK}")
        server.client(token).get(f"/{MARK}")
        assert before.status == 200
        callers = []
        for number in range(8):
            make_patient(people.admin, f"S{number}")
            callers.append(Caller(server.client(token), number, keeps_connection=number % 2 == 0))
        stopping = threading.Timer(1.0, server.terminate)
        stopping.start()
        at_once([caller.run for caller in callers])
        assert server.wait() == 0
    answers = [answer for caller in callers for answer in caller.answers]
    assert [cut for caller in callers for cut in caller.cut] == []
    assert len(answers) > 16
    assert {answer.status for answer in answers} == {200, 201}
    assert Appointment.objects.count() == sum(answer.status == 201 for answer in answers)
    assert Bill.objects.count() == sum(answer.status == 200 for answer in answers)
    assert_databases_agree()
    lines = [orjson.loads(line) for line in log.read_text().splitlines()]
    assert any(line["message"].startswith("Shutting down") for line in lines)
    assert MARK not in log.read_text()


def test_metrics_of_all_processes_are_added_up(people: People, tmp_path: Path) -> None:
    environment = {**environment_of_this_run(), "METRICS_TOKEN": METRICS}
    with LiveServer(environment, tmp_path / "server.log", workers=2) as server:
        token = token_of(people.admin)
        reached: set[int] = set()
        requests = 0
        while len(reached) < 2:
            clients = [server.client(token) for _ in range(8)]
            at_once([partial(client.get, "/doctors/D1") for client in clients])
            requests += len(clients)
            ports = {client.local_port for client in clients}
            reached |= {pid for pid, found in server.connections().items() if ports & found}
            for client in clients:
                client.close()
        expected = f'http_requests_total{{method="GET",route="/api/doctors/{{doctor_id}}",status="200"}} {requests}.0'
        assert expected in scrape(server)


def scrape(server: LiveServer) -> list[str]:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {METRICS}"})
    response = connection.getresponse()
    assert response.status == 200
    return response.read().decode().splitlines()


def test_stopped_relay_finishes_the_current_event(people: People) -> None:
    Fee.objects.all().delete()
    for number in range(40):
        complete(
            people, make_appointment(people, date=days_from_now(1 + number // 10), time=f"{8 + number % 10:02}:00")
        )
    restore_fees()
    raw.collection(Event).update_many({"pending": "billing"}, {"$set": {"due_at": clock.now()}})
    relay = subprocess.Popen(
        [sys.executable, "manage.py", "relay_events", "--watch"],
        cwd=ROOT, env={**os.environ, **environment_of_this_run()}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while Bill.objects.count() < 5:
        assert time.monotonic() < deadline
    relay.send_signal(signal.SIGTERM)
    assert relay.wait(30) == 0
    waiting = raw.collection(Event).count({"pending": "billing"})
    assert waiting > 0, "stopped too late: every event was delivered"
    assert Bill.objects.count() == 40 - waiting

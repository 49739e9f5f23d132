"""Worker processes killed with SIGKILL while they write: no partial write, and no acknowledged write is lost.

    CRASHES=200 python -m pytest tests/live/test_crash.py

kills two hundred processes instead of twenty and takes about four minutes. SEED=… repeats the choices of a run, but not
its timing.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import call_command

from appointments.models import Appointment
from prescriptions.models import Prescription
from tests.live.agreement import assert_databases_agree
from tests.live.client import Answer, Client, NoAnswer
from tests.live.conftest import environment_of_this_run, token_of
from tests.live.server import LiveServer
from tests.people import People, make_doctor, make_patient
from tests.records import days_from_now

pytestmark = pytest.mark.django_db(transaction=True)

CRASHES = int(os.environ.get("CRASHES", "20"))
SEED = int(os.environ.get("SEED", str(random.randrange(10**6))))
WRITERS = 10
PATIENTS = [f"CRASH-P{number}" for number in range(5)]
DOCTORS = [f"CRASH-D{number}" for number in range(4)]
MAX_WAIT_SECONDS = 1.3

#: A possible state of an object: the written fields, or None if the object does not exist.
State = dict[str, Any] | None


@dataclass
class Writer:
    """A client with its own objects, so that the responses determine the objects' expected states.

    `visits` and `prescriptions` contain the possible states of each object: one after a response, two after a request
    without a response or with status 5xx. Patients, doctors and hours are shared with the other writers.
    """

    number: int
    client: Client
    doctor: Client
    choice: random.Random
    visits: dict[str, list[State]] = field(default_factory=dict)
    prescriptions: dict[str, list[State]] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    unanswered: int = 0
    made: int = 0

    def run(self, is_over: threading.Event) -> None:
        actions = [self.book, self.book, self.move, self.complete, self.cancel, self.remove]
        actions += [self.prescribe, self.amend, self.withdraw]
        while not is_over.is_set():
            self.choice.choice(actions)()

    # --- Visits

    def book(self) -> None:
        self.made += 1
        visit_id = f"W{self.number}-{self.made}"
        when = self._some_time()
        body = {"patient_id": self._patient(), "doctor_id": self._doctor(), "appointment_id": visit_id, **when}
        self._write(self.visits, visit_id, {**when, "status": "scheduled"}, 201, "POST", "/appointments", body)

    def move(self) -> None:
        for visit_id, now in self._some(self.visits, status="scheduled"):
            when = self._some_time()
            self._write(self.visits, visit_id, {**now, **when}, 200, "PATCH", f"/appointments/{visit_id}", when)

    def complete(self) -> None:
        self._end("completed")

    def cancel(self) -> None:
        self._end("cancelled")

    def _end(self, status: str) -> None:
        for visit_id, now in self._some(self.visits, status="scheduled"):
            after = {**now, "status": status}
            self._write(self.visits, visit_id, after, 200, "PATCH", f"/appointments/{visit_id}", {"status": status})

    def remove(self) -> None:
        for visit_id, _ in self._some(self.visits, status=self.choice.choice(["scheduled", "cancelled"])):
            self._write(self.visits, visit_id, None, 204, "DELETE", f"/appointments/{visit_id}")

    # --- Prescriptions. The system generates their ids; the instructions identify them before the id is known.

    def prescribe(self) -> None:
        self.made += 1
        mark = f"W{self.number}-{self.made}"
        words = {"drug": "Salbutamol", "dosage": "2 puff", "frequency": "As needed", "instructions": mark}
        body = {"patient_id": self._patient(), **words}
        answer = self._write(
            self.prescriptions, mark, {"dosage": "2 puff"}, 201, "POST", "/prescriptions", body, client=self.doctor
        )
        if answer is not None and answer.status == 201:
            self.prescriptions[mark] = [{"dosage": "2 puff", "id": answer.body["id"]}]

    def amend(self) -> None:
        for mark, now in self._some(self.prescriptions):
            dosage = f"{self.choice.randint(1, 9)} puff"
            after = {**now, "dosage": dosage}
            self._write(
                self.prescriptions, mark, after, 200, "PATCH", f"/prescriptions/{now['id']}", {"dosage": dosage}
            )

    def withdraw(self) -> None:
        for mark, now in self._some(self.prescriptions):
            if self.choice.random() < 0.3:
                self._write(self.prescriptions, mark, None, 204, "DELETE", f"/prescriptions/{now['id']}")

    # ---

    def _write(
        self,
        objects: dict[str, list[State]],
        key: str,
        after: State,
        success: int,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        client: Client | None = None,
    ) -> Answer | None:
        before = objects.get(key, [None])
        # Both states are possible unless a response arrives.
        objects[key] = [*before, after]
        try:
            answer = (client or self.client).call(method, path, body)
        except NoAnswer:
            self.unanswered += 1
            return None
        self.answers.append(answer.status)
        if answer.status == success:
            objects[key] = [after]
        elif answer.status < 500:
            assert (answer.status, answer.code) == (409, "slot_taken"), answer
            objects[key] = before
        return answer

    def _some(self, objects: dict[str, list[State]], **like: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield an object whose state is known, if there is one."""
        known = [
            (key, states[0])
            for key, states in objects.items()
            if len(states) == 1 and states[0] and like.items() <= states[0].items()
        ]
        if known:
            yield self.choice.choice(known)

    def _patient(self) -> str:
        return self.choice.choice(PATIENTS)

    def _doctor(self) -> str:
        return self.choice.choice(DOCTORS)

    def _some_time(self) -> dict[str, Any]:
        return {
            "date": str(days_from_now(self.choice.randint(1, 20))),
            "time": f"{self.choice.randint(7, 20):02}:{self.choice.randrange(0, 60, 5):02}",
            "duration_minutes": self.choice.choice([10, 20, 45]),
        }


def kill_workers(server: LiveServer, choice: random.Random, threads: list[threading.Thread]) -> int:
    """Kill processes with clients at random times while all threads write; return the number of kills."""
    killed = 0
    while killed < CRASHES and all(thread.is_alive() for thread in threads):
        time.sleep(choice.uniform(0.05, MAX_WAIT_SECONDS))
        busy = sorted(pid for pid, ports in server.connections().items() if ports)
        if busy:
            psutil.Process(choice.choice(busy)).kill()
            killed += 1
    return killed


def test_workers_are_killed_while_they_write(people: People, tmp_path: Path) -> None:
    for patient in PATIENTS:
        make_patient(people.admin, patient)
    for doctor in DOCTORS:
        make_doctor(people.admin, doctor)
    choice = random.Random(SEED)
    is_over = threading.Event()
    with LiveServer(environment_of_this_run(), tmp_path / "server.log", workers=3) as server:
        writers = [
            Writer(
                number,
                server.client(token_of(people.admin)),
                server.client(token_of(people.doctor)),
                random.Random(SEED + number),
            )
            for number in range(WRITERS)
        ]
        failures: list[BaseException] = []

        def run(writer: Writer) -> None:
            try:
                writer.run(is_over)
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        threads = [threading.Thread(target=run, args=[writer]) for writer in writers]
        for thread in threads:
            thread.start()
        try:
            killed = kill_workers(server, choice, threads)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]
        assert killed == CRASHES
        server.manage("relay_events", timeout=300)

    answers = [status for writer in writers for status in writer.answers]
    counts = {status: answers.count(status) for status in sorted(set(answers))}
    unanswered = sum(writer.unanswered for writer in writers)
    print(f"seed {SEED}: {CRASHES} kills, answers {counts}, {unanswered} requests without one")  # noqa: T201
    assert unanswered, "no killed process had a request, so that nothing was tested"
    assert set(counts) <= {200, 201, 204, 409, 503}
    for writer in writers:
        assert_expected_state(writer)
    assert_databases_agree()
    call_command("relay_events", verbosity=0)


def assert_expected_state(writer: Writer) -> None:
    for visit_id, states in writer.visits.items():
        visit = Appointment.objects.filter(pk=visit_id).first()
        found: State = visit and {
            "date": str(visit.date),
            "time": visit.time,
            "duration_minutes": visit.duration_minutes,
            "status": visit.status,
        }
        assert found in states, (visit_id, found, states)
    for mark, states in writer.prescriptions.items():
        stored = list(Prescription.objects.filter(instructions=mark))
        assert len(stored) <= 1
        dosage = stored[0].dosage if stored else None
        assert dosage in [state and state["dosage"] for state in states], (mark, dosage, states)

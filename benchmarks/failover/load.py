"""The load: a process that books, changes and prescribes through the services, on the demonstration's databases.

    python -m benchmarks.failover.load

The process reads commands as lines from its standard input (see `main`) and writes JSON lines. It ends when its input
is closed, so that it never outlives the process that started it.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcare.settings")
django.setup()

from django.core.management import call_command  # noqa: E402 - needs the app registry of django.setup()
from django.db import connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts.models import Role, User  # noqa: E402
from appointments import services as appointment_services  # noqa: E402
from benchmarks.failover.ledger import BOOKED, CANCELLED, COMPLETED, PRESCRIBED, Ledger, differing_charts  # noqa: E402
from doctors import services as doctor_services  # noqa: E402
from healthcare import audit_context  # noqa: E402
from healthcare.errors import is_outage  # noqa: E402
from healthcare.mongodb.base import DatabaseWrapper  # noqa: E402
from healthcare.outbox import events  # noqa: E402
from healthcare.routers import CLINICAL  # noqa: E402
from patients import services as patient_services  # noqa: E402
from prescriptions import services as prescription_services  # noqa: E402

WRITERS = 4
PATIENTS_PER_WRITER = 10
#: The pause between two writes of a writer. Without it the load, and not the set, limits the rate on two cores.
PAUSE_SECONDS = 0.01
PAUSE_AFTER_ERROR_SECONDS = 0.2
#: How long a client of the isolated primary waits for a majority that does not acknowledge.
ISOLATED_TIMEOUT_MS = 2000
MAIN, ISOLATED_ONE, ISOLATED_MAJORITY = "main", "w=1", "w=majority"

_print_lock = threading.Lock()


def print_message(**message: Any) -> None:
    """Write a message to the process that started this one."""
    with _print_lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


class UnsafeConnection(DatabaseWrapper):
    """A connection with write concern w=1, which the application's own connection class refuses."""

    def get_connection_params(self) -> dict[str, Any]:
        return super(DatabaseWrapper, self).get_connection_params()


class Client:
    """Writers with their own patients and doctors, whose results are recorded in one ledger.

    `connection` makes the clinical connection of a writer's thread; None selects the application's connection.
    """

    def __init__(self, name: str, actor: User, *, writers: int) -> None:
        self.name, self.actor = name, actor
        self.ledger = Ledger()
        self.stopped = threading.Event()
        prefix = "".join(letter for letter in name if letter.isalnum()).upper()
        self.patients = [[f"{prefix}-P{w}-{n}" for n in range(PATIENTS_PER_WRITER)] for w in range(writers)]
        self.doctors = [f"{prefix}-D{w}" for w in range(writers)]
        for number, patient_ids in enumerate(self.patients):
            doctor_services.create_doctor(
                actor=actor, doctor_id=self.doctors[number], name="Amara Okafor", specialty="Cardiology"
            )
            for patient_id in patient_ids:
                patient_services.create_patient(actor=actor, patient_id=patient_id, name="Ali Raza", age=47)
        self.threads: list[threading.Thread] = []

    def start(self, *, books_only: bool = False, connection: Callable[[], DatabaseWrapper] | None = None) -> None:
        self.threads = [
            threading.Thread(target=self._run, args=[number, books_only, connection], daemon=True)
            for number in range(len(self.patients))
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    @property
    def all_patients(self) -> list[str]:
        return [patient_id for patient_ids in self.patients for patient_id in patient_ids]

    def _run(self, number: int, books_only: bool, connection: Callable[[], DatabaseWrapper] | None) -> None:
        if connection is not None:
            connections[CLINICAL] = connection()  # `connections` is local to this thread
        choice, count = random.Random(number), 0  # noqa: S311
        while not self.stopped.is_set():
            count += 1
            patient_id = self.patients[number][count % PATIENTS_PER_WRITER]
            # Every other visit has a time. The visits of a patient are on different days.
            day = timezone.localdate() + timedelta(days=1 + count // PATIENTS_PER_WRITER)
            clock = f"{8 + count % PATIENTS_PER_WRITER}:00".zfill(5) if count % 2 else ""
            visit_id = self._book(number, (patient_id, day, clock))
            if visit_id is None or books_only:
                continue
            operation = choice.choice([CANCELLED, COMPLETED, PRESCRIBED, None])
            if operation == PRESCRIBED:
                self._prescribe(number, patient_id, visit_id)
            elif operation is not None:
                self._finish(operation, (patient_id, day, clock), visit_id)
        connections.close_all()

    def _book(self, number: int, key: tuple[str, Any, str]) -> str | None:
        patient_id, day, clock = key
        visit = self._write(
            BOOKED,
            key,
            lambda: appointment_services.book_appointment(
                actor=self.actor, patient_id=patient_id, doctor_id=self.doctors[number], date=day, time=clock or None,
                duration_minutes=15, disease="Asthma",
            ),
        )  # fmt: skip
        return visit and visit.appointment_id

    def _finish(self, status: str, key: tuple[str, Any, str], visit_id: str) -> None:
        self._write(
            status,
            key,
            lambda: appointment_services.change_appointment(actor=self.actor, appointment_id=visit_id, status=status),
        )

    def _prescribe(self, number: int, patient_id: str, visit_id: str) -> None:
        self._write(
            PRESCRIBED,
            visit_id,
            lambda: prescription_services.issue_prescription(
                actor=self.actor, patient_id=patient_id, doctor_id=self.doctors[number], drug="Salbutamol",
                dosage="2 puff", frequency="As needed", disease="Asthma", instructions=visit_id,
            ),
        )  # fmt: skip

    def _write(self, operation: str, key: object, service: Callable[[], Any]) -> Any:
        began = time.monotonic()
        error: str | None = None
        result, is_expected = None, True
        try:
            result = service()
        except Exception as raised:  # noqa: BLE001 - counted and reported
            error, is_expected = _class_names(raised), is_outage(raised)
        at = time.monotonic()
        self.ledger.record(operation, key, acknowledged=error is None)
        print_message(
            kind="write",
            client=self.name,
            operation=operation,
            at=at,
            took=at - began,
            error=error,
            expected=is_expected,
        )
        self.stopped.wait(PAUSE_SECONDS if error is None else PAUSE_AFTER_ERROR_SECONDS)
        return result


def _class_names(error: BaseException) -> str:
    """Return the class names of the error and its first cause, without the texts, which quote documents."""
    causes = [type(error).__name__]
    while error.__cause__ is not None:
        error = error.__cause__
        causes.append(type(error).__name__)
    return causes[0] if len(causes) == 1 else f"{causes[0]} ({causes[-1]})"


def connection_to(socket: str, *, is_unsafe: bool) -> Callable[[], DatabaseWrapper]:
    """Return a factory of connections to one member, for a client that reaches no other member."""
    usual = connections[CLINICAL].settings_dict
    options = {**usual["OPTIONS"], "wTimeoutMS": ISOLATED_TIMEOUT_MS}
    if is_unsafe:
        options |= {"w": 1, "readConcernLevel": "local"}
    settings = {**usual, "HOST": f"mongodb://{quote(socket, safe='')}/?directConnection=true", "OPTIONS": options}
    connection_class = UnsafeConnection if is_unsafe else DatabaseWrapper
    alias = f"isolated_{'one' if is_unsafe else 'majority'}"
    return lambda: connection_class(settings, alias=alias)


def main() -> None:
    for database in ("default", CLINICAL):
        call_command("migrate", database=database, verbosity=0, interactive=False)
    actor = User.objects.create_user("load@example.org", role=Role.ADMIN, name="Load")
    clients = {MAIN: Client(MAIN, actor, writers=WRITERS)}
    clients |= {name: Client(name, actor, writers=2) for name in (ISOLATED_ONE, ISOLATED_MAJORITY)}
    print_message(kind="ready", writers=WRITERS)
    for line in sys.stdin:
        match line.split():
            case ["start"]:
                clients[MAIN].start()
            # Start the clients that reach only the isolated member, at its own socket.
            case ["start-isolated", socket]:
                clients[ISOLATED_ONE].start(books_only=True, connection=connection_to(socket, is_unsafe=True))
                clients[ISOLATED_MAJORITY].start(books_only=True, connection=connection_to(socket, is_unsafe=False))
            # The member is reachable again: stop its clients.
            case ["stop-isolated"]:
                for name in (ISOLATED_ONE, ISOLATED_MAJORITY):
                    clients[name].stopped.set()
            case ["stop"]:
                for client in clients.values():
                    client.stop()
                print_message(kind="stopped")
            case ["compare"]:
                compare(clients)


def compare(clients: dict[str, Client]) -> None:
    """Deliver the waiting events, then report the stored writes."""
    for _event in events.relay():
        pass
    print_message(
        kind="compared",
        rows={
            name: {operation: row.as_json() for operation, row in client.ledger.compare(client.all_patients).items()}
            for name, client in clients.items()
        },
        charts=sum(len(client.all_patients) for client in clients.values()),
        differing_charts=sum(differing_charts(client.all_patients) for client in clients.values()),
    )


if __name__ == "__main__":
    with audit_context.audit_context(channel="command", request_id=f"failover_demo-{Path(sys.argv[0]).stem}"):
        main()
    # Exit without joining threads that still wait for a stopped server.
    os._exit(0)

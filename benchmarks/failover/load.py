"""The load: a process that does a hospital's work through the services, on the databases of the demonstration.

    python -m benchmarks.failover.load

Told by lines on its standard input (see `main`), it answers by JSON lines. It ends with its input, so that it does not
outlive who started it.
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

from django.core.management import call_command  # noqa: E402 - after the applications are there
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
PATIENTS_A_WRITER = 10
#: Between two writes of one writer: without, the load and not the set decides what is measured on two cores.
PAUSE_SECONDS = 0.01
PAUSE_AFTER_ERROR_SECONDS = 0.2
#: How long a client beside the cut-off primary waits for a majority that does not come.
BESIDE_TIMEOUT_MS = 2000
MAIN, BESIDE_ONE, BESIDE_MAJORITY = "main", "w=1", "w=majority"

_print_lock = threading.Lock()


def tell(**what: Any) -> None:
    with _print_lock:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


class Careless(DatabaseWrapper):
    """A connection that the system refuses to make: it takes a write for done when one member has it."""

    def get_connection_params(self) -> dict[str, Any]:
        return super(DatabaseWrapper, self).get_connection_params()


class Client:
    """Some writers with patients and doctors of their own, whose answers go into one ledger.

    `connection` makes the clinical connection of a writer's thread; None is the application's own.
    """

    def __init__(self, name: str, actor: User, *, writers: int) -> None:
        self.name, self.actor = name, actor
        self.ledger = Ledger()
        self.is_over = threading.Event()
        mark = "".join(letter for letter in name if letter.isalnum()).upper()
        self.patients = [[f"{mark}-P{w}-{n}" for n in range(PATIENTS_A_WRITER)] for w in range(writers)]
        self.doctors = [f"{mark}-D{w}" for w in range(writers)]
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
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    @property
    def everybody(self) -> list[str]:
        return [patient_id for patient_ids in self.patients for patient_id in patient_ids]

    def _run(self, number: int, books_only: bool, connection: Callable[[], DatabaseWrapper] | None) -> None:
        if connection is not None:
            connections[CLINICAL] = connection()  # of this thread alone
        choice, made = random.Random(number), 0  # noqa: S311
        while not self.is_over.is_set():
            made += 1
            patient_id = self.patients[number][made % PATIENTS_A_WRITER]
            # Every other visit is timed. A patient's visits are days apart.
            day = timezone.localdate() + timedelta(days=1 + made // PATIENTS_A_WRITER)
            clock = f"{8 + made % PATIENTS_A_WRITER}:00".zfill(5) if made % 2 else ""
            visit_id = self._book(number, (patient_id, day, clock))
            if visit_id is None or books_only:
                continue
            deed = choice.choice([CANCELLED, COMPLETED, PRESCRIBED, None])
            if deed == PRESCRIBED:
                self._prescribe(number, patient_id, visit_id)
            elif deed is not None:
                self._end(deed, (patient_id, day, clock), visit_id)
        connections.close_all()

    def _book(self, number: int, key: tuple[str, Any, str]) -> str | None:
        patient_id, day, clock = key
        visit = self._do(
            BOOKED,
            key,
            lambda: appointment_services.book_appointment(
                actor=self.actor, patient_id=patient_id, doctor_id=self.doctors[number], date=day, time=clock or None,
                duration_minutes=15, disease="Asthma",
            ),
        )  # fmt: skip
        return visit and visit.appointment_id

    def _end(self, status: str, key: tuple[str, Any, str], visit_id: str) -> None:
        self._do(
            status,
            key,
            lambda: appointment_services.change_appointment(actor=self.actor, appointment_id=visit_id, status=status),
        )

    def _prescribe(self, number: int, patient_id: str, visit_id: str) -> None:
        self._do(
            PRESCRIBED,
            visit_id,
            lambda: prescription_services.issue_prescription(
                actor=self.actor, patient_id=patient_id, doctor_id=self.doctors[number], drug="Salbutamol",
                dosage="2 puff", frequency="As needed", disease="Asthma", instructions=visit_id,
            ),
        )  # fmt: skip

    def _do(self, deed: str, key: Any, service: Callable[[], Any]) -> Any:
        began = time.monotonic()
        error: str | None = None
        result, is_expected = None, True
        try:
            result = service()
        except Exception as problem:  # noqa: BLE001 - counted, and shown
            error, is_expected = _named(problem), is_outage(problem)
        at = time.monotonic()
        self.ledger.note(deed, key, acknowledged=error is None)
        tell(say="write", client=self.name, deed=deed, at=at, took=at - began, error=error, expected=is_expected)
        self.is_over.wait(PAUSE_SECONDS if error is None else PAUSE_AFTER_ERROR_SECONDS)
        return result


def _named(error: BaseException) -> str:
    """The error and what it comes from, by their kinds: texts quote documents."""
    causes = [type(error).__name__]
    while error.__cause__ is not None:
        error = error.__cause__
        causes.append(type(error).__name__)
    return causes[0] if len(causes) == 1 else f"{causes[0]} ({causes[-1]})"


def beside(socket: str, *, is_careless: bool) -> Callable[[], DatabaseWrapper]:
    """The connection of a client that sits beside one member and reaches no other."""
    usual = connections[CLINICAL].settings_dict
    options = {**usual["OPTIONS"], "wTimeoutMS": BESIDE_TIMEOUT_MS}
    if is_careless:
        options |= {"w": 1, "readConcernLevel": "local"}
    settings = {**usual, "HOST": f"mongodb://{quote(socket, safe='')}/?directConnection=true", "OPTIONS": options}
    kind = Careless if is_careless else DatabaseWrapper
    alias = f"beside_{'one' if is_careless else 'majority'}"
    return lambda: kind(settings, alias=alias)


def main() -> None:
    for database in ("default", CLINICAL):
        call_command("migrate", database=database, verbosity=0, interactive=False)
    actor = User.objects.create_user("load@example.org", role=Role.ADMIN, name="Load")
    clients = {MAIN: Client(MAIN, actor, writers=WRITERS)}
    clients |= {name: Client(name, actor, writers=2) for name in (BESIDE_ONE, BESIDE_MAJORITY)}
    tell(say="ready", writers=WRITERS)
    for line in sys.stdin:
        match line.split():
            case ["go"]:
                clients[MAIN].start()
            # A client beside this member, at its own socket.
            case ["beside", socket]:
                clients[BESIDE_ONE].start(books_only=True, connection=beside(socket, is_careless=True))
                clients[BESIDE_MAJORITY].start(books_only=True, connection=beside(socket, is_careless=False))
            # The cables are whole again: who sat alone has seen it, and stops.
            case ["together"]:
                for name in (BESIDE_ONE, BESIDE_MAJORITY):
                    clients[name].is_over.set()
            case ["stop"]:
                for client in clients.values():
                    client.stop()
                tell(say="stopped")
            case ["compare"]:
                compare(clients)


def compare(clients: dict[str, Client]) -> None:
    """Deliver what waits, then tell what is there."""
    for _event in events.relay():
        pass
    tell(
        say="compared",
        rows={
            name: {deed: row.as_json() for deed, row in client.ledger.compare(client.everybody).items()}
            for name, client in clients.items()
        },
        charts=sum(len(client.everybody) for client in clients.values()),
        differing_charts=sum(differing_charts(client.everybody) for client in clients.values()),
    )


if __name__ == "__main__":
    with audit_context.audit_context(channel="command", request_id=f"failover_demo-{Path(sys.argv[0]).stem}"):
        main()
    # Threads that still wait for a server that is gone are not waited for.
    os._exit(0)

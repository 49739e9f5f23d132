"""Several server processes on a replica set of three, which loses its primary while clients book.

    BOOKING_SECONDS=60 python -m pytest tests/live/test_failover.py

books for a minute; the default is 20 s.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import pytest
from django.db import connections
from django.utils import timezone
from pymongo import monitoring
from pytest_django import DjangoDbBlocker

from benchmarks.concerns import measuring, output
from devstack.fault_injection import NODES, FaultInjectionStack
from healthcare.mongodb import raw, transactions
from healthcare.mongodb.base import DatabaseWrapper
from tests.databases import opened_connections
from tests.live.client import Answer, Client, NoAnswer, at_once
from tests.live.conftest import LOGS
from tests.live.server import LiveServer
from tests.live.test_unavailable_databases import MAX_RESPONSE_SECONDS, assert_unavailable
from tests.people import PASSWORD

BOOKING_SECONDS = float(os.environ.get("BOOKING_SECONDS", "20"))
STEP_DOWN_SECONDS = 6.0
CLIENTS = 4
EMAIL = "admin@example.org"
DATABASE = "failover"
#: The longest acceptable time without an acknowledged booking while other tests run (`failover_demo`: 5 s).
MAX_GAP_SECONDS = 12.0

#: Patient, day and time of a visit. Each client requests each visit once. No index prevents a visit without a time from
#: being stored twice.
Visit = tuple[str, str, str]


@dataclass
class Hospital:
    """The servers of these tests, and the production server that uses them."""

    stack: FaultInjectionStack
    server: LiveServer
    token: str

    def visits(self) -> Counter[Visit]:
        """Read the stored visits with read concern majority, through the members' own sockets."""
        with pymongo.MongoClient[dict[str, Any]](
            self.stack.addresses["MONGODB_URI"], readConcernLevel="majority"
        ) as client:
            found = client[DATABASE]["appointments"].find()
            return Counter((each["patient_id"], str(each["date"].date()), each["time"]) for each in found)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Hospital]:
    stack = FaultInjectionStack(durable=False)
    try:
        stack.up()
        log = tmp_path_factory.mktemp("failover") / "server.log"
        pytestconfig.stash[LOGS].append(log)
        environment = {**stack.addresses, "DEVSTACK_DIR": str(stack.directory), "MONGODB_DB": DATABASE}
        server = LiveServer(environment, log)
        at_once(
            [
                lambda: server.manage("migrate", "--verbosity", "0"),
                lambda: server.manage("migrate", "--database", "clinical", "--verbosity", "0"),
            ]
        )
        server.environment |= {"DJANGO_SUPERUSER_EMAIL": EMAIL, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        server.manage("createsuperuser", "--noinput")
        with server:
            logged_in = server.client().post("/auth/login", {"email": EMAIL, "password": PASSWORD})
            made = Hospital(stack, server, logged_in.body["access_token"])
            admin = server.client(made.token)
            for number in range(CLIENTS):
                patient = {"patient_id": f"P{number}", "name": "Ali Raza", "age": 47}
                doctor = {"doctor_id": f"D{number}", "name": "Amara Okafor", "specialty": "Cardiology"}
                assert admin.post("/patients", patient).status == 201
                assert admin.post("/doctors", doctor).status == 201
            yield made
    finally:
        stack.reset()


@dataclass
class Booking:
    """Clients that book continuously, and the responses that they get."""

    hospital: Hospital
    first_day: int
    answers: list[tuple[float, Visit, Answer]] = field(default_factory=list)
    unanswered: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        stopped = threading.Event()
        threads = [threading.Thread(target=self._book, args=[number, stopped]) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
                thread.join()

    def acknowledged(self) -> list[Visit]:
        return [visit for _, visit, answer in self.answers if answer.status == 201]

    def longest_gap(self) -> float:
        """Return the longest time without an acknowledged booking of any client."""
        times = sorted(at for at, _, answer in self.answers if answer.status == 201)
        return max(second - first for first, second in pairwise(times))

    def _book(self, number: int, stopped: threading.Event) -> None:
        client: Client = self.hospital.server.client(self.hospital.token)
        count = 0
        while not stopped.is_set():
            count += 1
            day = str(timezone.localdate() + timedelta(days=self.first_day + count))
            clock = "10:00" if count % 2 else ""
            body = {"patient_id": f"P{number}", "doctor_id": f"D{number}", "date": day, "time": clock or None}
            try:
                answer = client.post("/appointments", body)
            except NoAnswer:
                self.unanswered += 1
                continue
            self.answers.append((time.monotonic(), (f"P{number}", day, clock), answer))


def other_primary(stack: FaultInjectionStack, than: int) -> int:
    """Wait for another primary and return it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for node in set(range(NODES)) - {than}:
            with stack.client(node) as client:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return node
        time.sleep(0.05)
    raise AssertionError("no primary was elected")


@pytest.mark.parametrize(("fault", "seconds"), [("kill", BOOKING_SECONDS), ("step-down", STEP_DOWN_SECONDS)])
def test_bookings_continue_after_the_primary_is_lost(hospital: Hospital, fault: str, seconds: float) -> None:
    stack, pids = hospital.stack, hospital.server.worker_pids()
    old = stack.primary()
    booking = Booking(hospital, first_day=0 if fault == "kill" else 5000)
    began = time.monotonic()
    with booking.running():
        time.sleep(seconds * 0.25)
        before = len(booking.acknowledged())
        stack.kill(old) if fault == "kill" else stack.step_down(old)
        fault_at = time.monotonic()
        new = other_primary(stack, old)
        elected_at = time.monotonic()
        time.sleep(max(0.0, began + seconds * 0.6 - time.monotonic()))
        after = len([at for at, _, answer in booking.answers if at > elected_at and answer.status == 201])
        if fault == "kill":
            stack.restart(old)
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    statuses = Counter(answer.status for _, _, answer in booking.answers)
    longest = max(answer.seconds for _, _, answer in booking.answers)
    print(  # noqa: T201
        f"{fault}: answers {dict(statuses)}, node {new} elected after {elected_at - fault_at:.1f} s, "
        f"{booking.longest_gap():.1f} s without a booking, the longest answer {longest:.1f} s"
    )
    assert before
    assert after, "no booking succeeded before the lost member was back"
    # No client got status 500, and no connection was closed without a response.
    assert set(statuses) <= {201, 503}
    for _, _, answer in booking.answers:
        if answer.status == 503:
            assert_unavailable(answer)
    assert not booking.unanswered
    assert longest < MAX_RESPONSE_SECONDS
    assert booking.longest_gap() < MAX_GAP_SECONDS
    assert hospital.server.worker_pids() == pids
    # Every acknowledged visit is stored, and none is stored twice.
    stored = hospital.visits()
    assert [visit for visit in booking.acknowledged() if visit not in stored] == []
    assert [visit for visit, copies in stored.items() if copies > 1] == []


def test_charts_claims_bills_and_events_agree_afterwards(hospital: Hospital) -> None:
    assert hospital.visits()
    hospital.server.manage("relay_events")
    hospital.server.manage("check_consistency")


def test_write_waits_for_a_recovering_member(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> None:
    """The driver reports that a recovering member supports no sessions, which without a retry is answered with 500."""
    secondary = (hospital.stack.primary() + 1) % NODES
    socket = quote(str(hospital.stack.layout.mongodb_socket(secondary)), safe="")
    usual = connections["clinical"].settings_dict
    recovering = DatabaseWrapper(
        {**usual, "HOST": f"mongodb://{socket}/?directConnection=true", "NAME": DATABASE}, alias="recovering"
    )
    monkeypatch.setattr(DatabaseWrapper, "_keys_checked", {DATABASE})
    monkeypatch.setattr(transactions, "MAX_SECONDS", 0.3)
    monkeypatch.setattr(opened_connections(), "clinical", recovering)

    @transactions.clinical_transaction
    def write() -> None:
        raw.collection("tallies").insert_one({})

    with django_db_blocker.unblock(), hospital.stack.client(secondary) as client:
        client.admin.command("replSetMaintenance", True)
        try:
            with pytest.raises(transactions.ClinicalWriteFailed) as caught:
                write()
        finally:
            client.admin.command("replSetMaintenance", False)
            recovering.close_pool()
    assert "ConfigurationError" in str(caught.value)
    assert not caught.value.is_outcome_unknown
    assert caught.value.attempts > 1


class Concerns(monitoring.CommandListener):
    """Records the concerns that the driver sends with inserts and reads."""

    def __init__(self) -> None:
        self.sent: dict[str, set[tuple[str, ...]]] = {"insert": set(), "find": set()}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "insert":
            concern = event.command["writeConcern"]
            self.sent["insert"].add((str(concern["w"]), str(concern.get("j"))))
        elif event.command_name == "find":
            self.sent["find"].add((event.command["readConcern"]["level"],))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


def test_each_write_concern_is_measured_with_each_read_concern(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    monkeypatch.setattr(measuring, "WARM_UP_SECONDS", 0.05)
    concerns = Concerns()
    with hospital.stack.clients(event_listeners=[concerns]) as client:
        results = measuring.measure(client, seconds=0.2, report_progress=lambda _: None)
        assert measuring.DATABASE not in client.list_database_names()
    assert concerns.sent == {
        "insert": {("1", "None"), ("majority", "False"), ("majority", "True")},
        "find": {("local",), ("majority",), ("linearizable",)},
    }
    out = StringIO()
    output.print_results(results, out)
    output.write_json(results, "6.0.5", tmp_path / "figures.json")
    output.draw_chart(results, tmp_path / "chart.png")
    figures = json.loads((tmp_path / "figures.json").read_text())
    pairs = [(each["write"], each["read"]) for each in figures["results"]]
    assert pairs == [(write.name, read.name) for write in measuring.WRITES for read in measuring.READS]
    for each in figures["results"]:
        assert each["operations"] > 0
        assert 0 < each["write_p50_ms"] <= each["write_p95_ms"]
        assert 0 < each["read_p50_ms"] <= each["read_p95_ms"]
        # A majority read need not find a document that only the primary has.
        assert each["own_writes_unseen"] == 0 or (each["write"], each["read"]) == ("w=1", "majority")
        assert f"{each['write_p50_ms']:,.2f}" in out.getvalue()
    for sentence in (*figures["can_be_lost"].values(), *figures["may_be_shown"].values()):
        assert sentence.split()[-1] in out.getvalue()
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")

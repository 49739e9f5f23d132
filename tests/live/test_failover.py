"""A replica set of three behind several server processes, that loses its primary while clients book.

    BOOKING_SECONDS=60 python -m pytest tests/live/test_failover.py

books for longer than the suite's twenty seconds.
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
from tests.live.client import Answer, Client, NoAnswer, at_once
from tests.live.conftest import LOGS
from tests.live.server import LiveServer
from tests.live.test_outages import LONGEST_ANSWER_SECONDS, assert_unavailable
from tests.people import PASSWORD

BOOKING_SECONDS = float(os.environ.get("BOOKING_SECONDS", "20"))
STEP_DOWN_SECONDS = 6.0
CLIENTS = 4
EMAIL = "admin@example.org"
DATABASE = "failover"
#: Without an acknowledged booking, on a machine that runs other tests. The demonstration's own bound is 5 s.
LONGEST_GAP_SECONDS = 12.0

#: Patient, day and time: each client asks for each once, and nothing but the code keeps an untimed visit from being
#: there twice.
Visit = tuple[str, str, str]


@dataclass
class Hospital:
    stack: FaultInjectionStack
    server: LiveServer
    token: str

    def visits(self) -> Counter[Visit]:
        """What is in the database, read from a majority; by the members' own sockets, whoever leads."""
        with pymongo.MongoClient(self.stack.addresses["MONGODB_URI"], readConcernLevel="majority") as client:
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
    """Clients that book without a pause, and what they were answered."""

    hospital: Hospital
    first_day: int
    answers: list[tuple[float, Visit, Answer]] = field(default_factory=list)
    unanswered: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        is_over = threading.Event()
        threads = [threading.Thread(target=self._book, args=[number, is_over]) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            for thread in threads:
                thread.join()

    def acknowledged(self) -> list[Visit]:
        return [visit for _, visit, answer in self.answers if answer.status == 201]

    def longest_gap(self) -> float:
        """The longest time in which no client was told that a visit is booked."""
        moments = sorted(at for at, _, answer in self.answers if answer.status == 201)
        return max(second - first for first, second in pairwise(moments))

    def _book(self, number: int, is_over: threading.Event) -> None:
        client: Client = self.hospital.server.client(self.hospital.token)
        made = 0
        while not is_over.is_set():
            made += 1
            day = str(timezone.localdate() + timedelta(days=self.first_day + made))
            clock = "10:00" if made % 2 else ""
            body = {"patient_id": f"P{number}", "doctor_id": f"D{number}", "date": day, "time": clock or None}
            try:
                answer = client.post("/appointments", body)
            except NoAnswer:
                self.unanswered += 1
                continue
            self.answers.append((time.monotonic(), (f"P{number}", day, clock), answer))


def other_primary(stack: FaultInjectionStack, than: int) -> int:
    """Whoever leads next."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for node in set(range(NODES)) - {than}:
            with stack.client(node) as client:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return node
        time.sleep(0.05)
    raise AssertionError("nobody was elected")


@pytest.mark.parametrize(("fault", "seconds"), [("kill", BOOKING_SECONDS), ("step-down", STEP_DOWN_SECONDS)])
def test_clients_go_on_booking_when_the_primary_is_lost(hospital: Hospital, fault: str, seconds: float) -> None:
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
    assert after, "nobody could book before the lost member was back"
    # No client was told 500, and none was cut off.
    assert set(statuses) <= {201, 503}
    for _, _, answer in booking.answers:
        if answer.status == 503:
            assert_unavailable(answer)
    assert not booking.unanswered
    assert longest < LONGEST_ANSWER_SECONDS
    assert booking.longest_gap() < LONGEST_GAP_SECONDS
    assert hospital.server.worker_pids() == pids
    # What was acknowledged is there, and nothing is there twice.
    there = hospital.visits()
    assert [visit for visit in booking.acknowledged() if visit not in there] == []
    assert [visit for visit, copies in there.items() if copies > 1] == []


def test_charts_claims_bills_and_events_agree_afterwards(hospital: Hospital) -> None:
    assert hospital.visits()
    hospital.server.manage("relay_events")
    hospital.server.manage("check_consistency")


def test_a_member_on_its_way_back_is_waited_for(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> None:
    """The driver says of it that it has no sessions, and so no transactions; the API would answer 500."""
    secondary = (hospital.stack.primary() + 1) % NODES
    socket = quote(str(hospital.stack.layout.mongodb_socket(secondary)), safe="")
    usual = connections["clinical"].settings_dict
    there = DatabaseWrapper(
        {**usual, "HOST": f"mongodb://{socket}/?directConnection=true", "NAME": DATABASE}, alias="on_its_way"
    )
    monkeypatch.setattr(DatabaseWrapper, "_keys_checked", {DATABASE})
    monkeypatch.setattr(transactions, "MAX_SECONDS", 0.3)
    monkeypatch.setattr(connections._connections, "clinical", there)

    @transactions.clinical_transaction
    def write() -> None:
        raw.collection("tallies").insert_one({})

    with django_db_blocker.unblock(), hospital.stack.client(secondary) as client:
        client.admin.command("replSetMaintenance", True)
        try:
            with pytest.raises(transactions.ClinicalWriteFailed) as refusal:
                write()
        finally:
            client.admin.command("replSetMaintenance", False)
            there.close_pool()
    assert "ConfigurationError" in str(refusal.value)
    assert not refusal.value.is_outcome_unknown
    assert refusal.value.attempts > 1


class Concerns(monitoring.CommandListener):
    """The concerns that the driver sends, of a visit's insertion and of the read behind it."""

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
    asked = Concerns()
    with hospital.stack.clients(event_listeners=[asked]) as client:
        results = measuring.measure(client, seconds=0.2, tell=lambda _: None)
        assert measuring.DATABASE not in client.list_database_names()
    assert asked.sent == {
        "insert": {("1", "None"), ("majority", "False"), ("majority", "True")},
        "find": {("local",), ("majority",), ("linearizable",)},
    }
    said = StringIO()
    output.show(results, said)
    output.write_json(results, "6.0.5", tmp_path / "figures.json")
    output.draw(results, tmp_path / "chart.png")
    figures = json.loads((tmp_path / "figures.json").read_text())
    pairs = [(each["write"], each["read"]) for each in figures["results"]]
    assert pairs == [(write.name, read.name) for write in measuring.WRITES for read in measuring.READS]
    for each in figures["results"]:
        assert each["operations"] > 0
        assert 0 < each["write_p50_ms"] <= each["write_p95_ms"]
        assert 0 < each["read_p50_ms"] <= each["read_p95_ms"]
        # A majority read finds what a majority has; what only the primary has, it need not.
        assert each["own_writes_unseen"] == 0 or (each["write"], each["read"]) == ("w=1", "majority")
        assert f"{each['write_p50_ms']:,.2f}" in said.getvalue()
    for sentence in (*figures["can_be_lost"].values(), *figures["may_be_shown"].values()):
        assert sentence.split()[-1] in said.getvalue()
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")

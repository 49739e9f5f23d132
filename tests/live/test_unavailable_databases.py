"""Outages of PostgreSQL or MongoDB under load, with real servers that are stopped, frozen and started.

    OUTAGE_SECONDS=60 python -m pytest tests/live/test_unavailable_databases.py

tests outages of a minute; the default is 6 s.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import psutil
import psycopg
import pymongo
import pytest
from django.utils import timezone

from devstack.ephemeral import EphemeralStack
from tests.databases import existing
from tests.live.client import Answer, Client, NoAnswer, at_once
from tests.live.conftest import LOGS
from tests.live.server import ROOT, LiveServer
from tests.people import PASSWORD

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "6"))
FROZEN_SECONDS = 3.0
WRITERS = 8
EMAIL = "admin@example.org"
DATABASE = "outages"
#: No request may take longer in any outage. The slowest request waits 5 s for a MongoDB primary, after 3 s in which the
#: driver detects the loss, and after other requests that wait as long. 10 to 11 s are usual.
MAX_RESPONSE_SECONDS = 17.0
#: The same for a clinical write while PostgreSQL is out; the first writes of each thread detect the outage.
MAX_WRITE_SECONDS = 10.0


@dataclass
class Hospital:
    """The servers of these tests, and the production server that uses them."""

    stack: EphemeralStack
    server: LiveServer
    token: str

    def client(self) -> Client:
        return self.server.client(self.token)

    def completed_and_billed(self) -> tuple[Counter[str], Counter[str]]:
        """Return the ids of the completed visits, and the ids that the bills name."""
        with pymongo.MongoClient[dict[str, Any]](self.stack.addresses["MONGODB_URI"]) as mongodb:
            visits = mongodb[DATABASE]["appointments"].find({"status": "completed"}, ["_id"])
            completed = Counter(visit["_id"] for visit in visits)
        with psycopg.connect(self.stack.addresses["DATABASE_URL"]) as sql:
            billed = Counter(row[0] for row in sql.execute("SELECT appointment_id FROM billing"))
        return completed, billed

    def audit_entries(self, request_ids: Collection[str]) -> Counter[str]:
        """Count the audit entries of each request."""
        with psycopg.connect(self.stack.addresses["DATABASE_URL"]) as sql:
            found = sql.execute(
                "SELECT request_id FROM audit_entries WHERE request_id = ANY (%s)", [sorted(request_ids)]
            )
            return Counter(row[0] for row in found)

    def recorded_views(self, patient_id: str) -> int:
        """Count the audit entries of successful reads of a patient."""
        with psycopg.connect(self.stack.addresses["DATABASE_URL"]) as sql:
            found = sql.execute(
                "SELECT count(*) FROM audit_entries WHERE action = 'patient.viewed' AND subject = %s "
                "AND outcome = 'success'",
                [patient_id],
            ).fetchone()
            return int(existing(found)[0])

    @contextmanager
    def without(self, **servers: bool) -> Iterator[None]:
        """Stop the named servers during the block, such as `without(postgresql=True)`."""
        self.stack.down(**{"mongodb": False, "postgresql": False, **servers})
        try:
            yield
        finally:
            self.stack.up()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Suspend every process of a server during the block: it accepts connections and never answers."""
        pid = next(server.pid for server in self.stack.status() if server.name == name)
        main = psutil.Process(pid)
        main.suspend()
        family = [main, *main.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.resume()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Hospital]:
    with EphemeralStack() as stack:
        log = tmp_path_factory.mktemp("outages") / "server.log"
        pytestconfig.stash[LOGS].append(log)
        environment = {**stack.addresses, "DEVSTACK_DIR": str(stack.directory), "MONGODB_DB": DATABASE}
        server = LiveServer(environment, log)
        server.manage("migrate", "--verbosity", "0")
        server.manage("migrate", "--database", "clinical", "--verbosity", "0")
        server.environment |= {"DJANGO_SUPERUSER_EMAIL": EMAIL, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        server.manage("createsuperuser", "--noinput")
        with server:
            token = log_in(server.client()).body["access_token"]
            hospital = Hospital(stack, server, token)
            admin = hospital.client()
            for number in range(WRITERS):
                assert (
                    admin.post("/patients", {"patient_id": f"P{number}", "name": "Ali Raza", "age": 47}).status == 201
                )
                doctor = {"doctor_id": f"D{number}", "name": "Amara Okafor", "specialty": "Cardiology"}
                assert admin.post("/doctors", doctor).status == 201
            yield hospital


def log_in(client: Client) -> Answer:
    answer = client.post("/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert answer.status == 200, answer.body
    return answer


@pytest.fixture
def account_is_cached(hospital: Hospital) -> None:
    """Make sure that every process has read the account."""
    known: set[int] = set()
    deadline = time.monotonic() + 30
    while len(known) < hospital.server.workers:
        assert time.monotonic() < deadline, known
        clients = [hospital.client() for _ in range(24)]
        at_once([partial(client.get, "/patients/P0") for client in clients])
        ports = {client.local_port for client in clients}
        known |= {pid for pid, reached in hospital.server.connections().items() if ports & reached}
        for client in clients:
            client.close()


@dataclass
class Load:
    """Clients that book, complete and cancel continuously, and the responses that they get."""

    hospital: Hospital
    first_day: int
    answers: list[tuple[float, Answer]] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        stopped = threading.Event()
        threads = [threading.Thread(target=self._write, args=[number, stopped]) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
                thread.join()

    def during(self, began: float, ended: float) -> list[Answer]:
        """Return the responses to requests that were sent and answered in that time."""
        return [answer for sent_at, answer in self.answers if began <= sent_at <= ended - answer.seconds]

    def _write(self, number: int, stopped: threading.Event) -> None:
        client, choice, count = self.hospital.client(), random.Random(number), 0
        while not stopped.is_set():
            count += 1
            visit = {"patient_id": f"P{number}", "doctor_id": f"D{number}", "disease": "Asthma"}
            day = timezone.localdate() + timedelta(days=self.first_day + count // 40)
            when = {"date": str(day), "time": f"{8 + count % 40 // 4:02}:{count % 4 * 15:02}", "duration_minutes": 15}
            booked = self._send(lambda: client.post("/appointments", visit | when))  # noqa: B023
            if booked is None or booked.status != 201:
                continue
            path = f"/appointments/{booked.body['appointment_id']}"
            end = choice.choice(["completed", "completed", "cancelled"])
            self._send(lambda: client.patch(path, {"status": end}))  # noqa: B023

    def _send(self, call: Callable[[], Answer]) -> Answer | None:
        sent_at = time.monotonic()
        try:
            answer = call()
        except NoAnswer:
            self.lost.append(sent_at)
            return None
        self.answers.append((sent_at, answer))
        return answer


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.body["status"] == 503


@pytest.mark.parametrize(("fault", "seconds"), [("stopped", OUTAGE_SECONDS), ("frozen", FROZEN_SECONDS)])
def test_clinical_work_continues_without_postgresql(
    fault: str, seconds: float, hospital: Hospital, account_is_cached: None
) -> None:
    unseen = log_in(hospital.server.client()).body["access_token"]
    pids = hospital.server.worker_pids()
    # After the previous test some processes may have considered PostgreSQL lost, so that their reads are still events.
    hospital.server.manage("relay_events")
    views_before = hospital.recorded_views("P0")
    load = Load(hospital, first_day=0 if fault == "stopped" else 1000)
    outage = hospital.without(postgresql=True) if fault == "stopped" else hospital.frozen("postgresql")
    relay = subprocess.Popen(
        [sys.executable, "manage.py", "relay_events", "--watch"], cwd=ROOT, env=hospital.server.environment,
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with load.running():
            time.sleep(2)
            with outage:
                began = time.monotonic()
                # No process has detected the outage yet. A frozen server executes these requests when it resumes.
                viewed = at_once([lambda: hospital.client().get("/patients/P0")] * 6)
                time.sleep(1)
                client = hospital.client()
                refused = at_once(
                    [
                        lambda: hospital.server.client(unseen).get("/patients/P0"),
                        lambda: hospital.server.client(unseen).post("/patients", {"name": "Nobody"}),
                        lambda: hospital.client().get("/billing"),
                        lambda: hospital.client().get("/accounts"),
                        lambda: hospital.server.client().post("/auth/login", {"email": EMAIL, "password": PASSWORD}),
                    ]
                )
                viewed += at_once([lambda: hospital.client().get("/patients/P0")] * 6)
                time.sleep(max(0.0, seconds - (time.monotonic() - began)))
                ended = time.monotonic()
            for _ in range(100):
                if client.get("/accounts").status == 200:
                    break
                time.sleep(0.1)
            recovered = time.monotonic()
            time.sleep(2)
    finally:
        relay.terminate()
        relay.wait(30)

    for answer in refused:
        assert_unavailable(answer)
    assert not load.lost
    statuses = Counter(answer.status for _, answer in load.answers)
    meanwhile = load.during(began, ended)
    longest = max(answer.seconds for _, answer in load.answers)
    print(  # noqa: T201
        f"PostgreSQL {fault} for {ended - began:.1f} s: {len(meanwhile)} writes meanwhile, the longest {longest:.2f} s,"
        f" all {dict(statuses)}; refused after {', '.join(f'{each.seconds:.2f}' for each in refused)} s;"
        f" back {recovered - ended:.1f} s after it was started"
    )
    assert set(statuses) <= {200, 201, 409}
    assert Counter(answer.status for answer in meanwhile)[200] > 0
    assert longest < MAX_WRITE_SECONDS
    assert max(answer.seconds for answer in refused) < MAX_RESPONSE_SECONDS
    assert hospital.server.worker_pids() == pids
    hospital.server.manage("relay_events")
    completed, billed = hospital.completed_and_billed()
    assert completed
    assert billed == completed
    # Each read and write during the outage is recorded in the audit log exactly once.
    assert [answer.status for answer in viewed] == [200] * len(viewed)
    written = [answer for _, answer in load.answers if answer.status in (200, 201)]
    request_ids = {answer.headers["X-Request-ID"] for answer in [*viewed, *written]}
    recorded = hospital.audit_entries(request_ids)
    assert recorded.keys() == request_ids
    # A completed visit has a second entry for its bill.
    assert {recorded[answer.headers["X-Request-ID"]] for answer in viewed} == {1}
    assert set(recorded.values()) <= {1, 2}
    assert hospital.recorded_views("P0") == views_before + len(viewed)


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
def test_login_works_without_mongodb_and_clinical_requests_get_503(
    fault: str, hospital: Hospital, account_is_cached: None
) -> None:
    pids = hospital.server.worker_pids()
    load = Load(hospital, first_day=2000 if fault == "stopped" else 3000)
    outage = hospital.without(mongodb=True) if fault == "stopped" else hospital.frozen("mongodb-0")
    with load.running():
        time.sleep(1)
        with outage:
            time.sleep(1)
            began = time.monotonic()
            client = hospital.client()
            refused = at_once(
                [
                    lambda: hospital.client().get("/patients"),
                    lambda: hospital.client().get("/patients/P0"),
                    lambda: hospital.client().post(
                        "/appointments", {"patient_id": "P0", "doctor_id": "D0", "date": "2040-01-01"}
                    ),
                    lambda: hospital.client().patch("/patients/P0", {"notes": "Said hello."}),
                ]
            )
            logged_in = [log_in(hospital.server.client()) for _ in range(3)]
            accounts = client.get("/accounts")
            ended = time.monotonic()
        deadline = time.monotonic() + 30
        while client.get("/patients/P0").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        recovered = time.monotonic()
        time.sleep(2)

    meanwhile = load.during(began, ended)
    longest = max(answer.seconds for answer in [*refused, *(answer for _, answer in load.answers)])
    print(  # noqa: T201
        f"MongoDB {fault} for {ended - began:.1f} s: refused after {', '.join(f'{a.seconds:.2f}' for a in refused)} s,"
        f" {len(meanwhile)} more under load, the longest answer {longest:.2f} s;"
        f" log-in in {', '.join(f'{a.seconds:.2f}' for a in logged_in)} s; back {recovered - ended:.1f} s later"
    )
    for answer in [*refused, *meanwhile]:
        assert_unavailable(answer)
    assert longest < MAX_RESPONSE_SECONDS
    assert accounts.status == 200
    assert max(answer.seconds for answer in logged_in) < MAX_RESPONSE_SECONDS
    assert not load.lost
    statuses = Counter(answer.status for _, answer in load.answers)
    assert set(statuses) <= {200, 201, 409, 503}
    assert Counter(answer.status for answer in load.during(recovered, recovered + 10))[201] > 0
    assert hospital.server.worker_pids() == pids
    hospital.server.manage("relay_events")
    completed, billed = hospital.completed_and_billed()
    assert billed == completed

"""PostgreSQL or MongoDB gone for a while, under load, with real servers that are stopped, frozen and started.

    OUTAGE_SECONDS=60 python -m pytest tests/live/test_outages.py

is the brief's minute; the suite's own outage is shorter.
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

import psutil
import psycopg
import pymongo
import pytest
from django.utils import timezone

from devstack.ephemeral import EphemeralStack
from tests.live.client import Answer, Client, NoAnswer, at_once
from tests.live.conftest import LOGS
from tests.live.server import ROOT, LiveServer
from tests.people import PASSWORD

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "6"))
FROZEN_SECONDS = 3.0
WRITERS = 8
EMAIL = "admin@example.org"
DATABASE = "outages"
#: No request may take longer, whatever is out; the longest is one that waits for a MongoDB primary for 5 s, behind the
#: 3 s that the driver needs to see that it is gone, behind others that do so. 10 to 11 s are usual.
LONGEST_ANSWER_SECONDS = 17.0
#: A clinical write while PostgreSQL is out: the first ones of each thread may have to find out.
LONGEST_WRITE_SECONDS = 10.0


@dataclass
class Hospital:
    """Servers of these tests alone, and the production server on them."""

    stack: EphemeralStack
    server: LiveServer
    token: str

    def client(self) -> Client:
        return self.server.client(self.token)

    def completed_and_billed(self) -> tuple[Counter[str], Counter[str]]:
        """The ids of the completed visits, and the ids that the bills name."""
        with pymongo.MongoClient(self.stack.addresses["MONGODB_URI"]) as mongodb:
            visits = mongodb[DATABASE]["appointments"].find({"status": "completed"}, ["_id"])
            completed = Counter(visit["_id"] for visit in visits)
        with psycopg.connect(self.stack.addresses["DATABASE_URL"]) as sql:
            billed = Counter(row[0] for row in sql.execute("SELECT appointment_id FROM billing"))
        return completed, billed

    def on_record(self, request_ids: Collection[str]) -> Counter[str]:
        """How many entries of the audit trail each of the requests left."""
        with psycopg.connect(self.stack.addresses["DATABASE_URL"]) as sql:
            found = sql.execute(
                "SELECT request_id FROM audit_entries WHERE request_id = ANY (%s)", [sorted(request_ids)]
            )
            return Counter(row[0] for row in found)

    def looks_at(self, patient_id: str) -> int:
        """How many entries say that somebody saw the record."""
        with psycopg.connect(self.stack.addresses["DATABASE_URL"]) as sql:
            return sql.execute(
                "SELECT count(*) FROM audit_entries WHERE action = 'patient.viewed' AND subject = %s "
                "AND outcome = 'success'",
                [patient_id],
            ).fetchone()[0]

    @contextmanager
    def without(self, **servers: bool) -> Iterator[None]:
        """Stop the servers that are named, start them afterwards: `without(postgresql=True)`."""
        self.stack.down(**{"mongodb": False, "postgresql": False, **servers})
        try:
            yield
        finally:
            self.stack.up()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Every process of a server stopped in the middle of what it does: it takes connections and never answers."""
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
            made = Hospital(stack, server, token)
            admin = made.client()
            for number in range(WRITERS):
                assert (
                    admin.post("/patients", {"patient_id": f"P{number}", "name": "Ali Raza", "age": 47}).status == 201
                )
                doctor = {"doctor_id": f"D{number}", "name": "Amara Okafor", "specialty": "Cardiology"}
                assert admin.post("/doctors", doctor).status == 201
            yield made


def log_in(client: Client) -> Answer:
    answer = client.post("/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert answer.status == 200, answer.body
    return answer


@pytest.fixture
def known_everywhere(hospital: Hospital) -> None:
    """Every process has read the account."""
    known: set[int] = set()
    deadline = time.monotonic() + 30
    while len(known) < hospital.server.workers:
        assert time.monotonic() < deadline, known
        clients = [hospital.client() for _ in range(24)]
        at_once([lambda client=client: client.get("/patients/P0") for client in clients])
        ports = {client.local_port for client in clients}
        known |= {pid for pid, reached in hospital.server.connections().items() if ports & reached}
        for client in clients:
            client.close()


@dataclass
class Load:
    """Clients that book, complete, cancel and move without a pause, and what they were answered."""

    hospital: Hospital
    first_day: int
    answers: list[tuple[float, Answer]] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        is_over = threading.Event()
        threads = [threading.Thread(target=self._write, args=[number, is_over]) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            for thread in threads:
                thread.join()

    def during(self, began: float, ended: float) -> list[Answer]:
        """The answers to requests that were sent and answered in the time."""
        return [answer for sent_at, answer in self.answers if began <= sent_at <= ended - answer.seconds]

    def _write(self, number: int, is_over: threading.Event) -> None:
        client, choice, made = self.hospital.client(), random.Random(number), 0
        while not is_over.is_set():
            made += 1
            visit = {"patient_id": f"P{number}", "doctor_id": f"D{number}", "disease": "Asthma"}
            day = timezone.localdate() + timedelta(days=self.first_day + made // 40)
            when = {"date": str(day), "time": f"{8 + made % 40 // 4:02}:{made % 4 * 15:02}", "duration_minutes": 15}
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


@pytest.mark.parametrize(("how", "seconds"), [("stopped", OUTAGE_SECONDS), ("frozen", FROZEN_SECONDS)])
def test_without_postgresql_clinical_work_goes_on(
    how: str, seconds: float, hospital: Hospital, known_everywhere: None
) -> None:
    unseen = log_in(hospital.server.client()).body["access_token"]
    pids = hospital.server.worker_pids()
    # Some processes may have taken PostgreSQL for lost until now, by the test before, and their reads wait as events.
    hospital.server.manage("relay_events")
    looks_before = hospital.looks_at("P0")
    load = Load(hospital, first_day=0 if how == "stopped" else 1000)
    outage = hospital.without(postgresql=True) if how == "stopped" else hospital.frozen("postgresql")
    relay = subprocess.Popen(
        [sys.executable, "manage.py", "relay_events", "--watch"], cwd=ROOT, env=hospital.server.environment,
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with load.running():
            time.sleep(2)
            with outage:
                began = time.monotonic()
                # While nobody knows yet: what a frozen server is sent now it carries out when it wakes up.
                looked = at_once([lambda: hospital.client().get("/patients/P0")] * 6)
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
                looked += at_once([lambda: hospital.client().get("/patients/P0")] * 6)
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
        f"PostgreSQL {how} for {ended - began:.1f} s: {len(meanwhile)} writes meanwhile, the longest {longest:.2f} s,"
        f" all {dict(statuses)}; refusals after {', '.join(f'{each.seconds:.2f}' for each in refused)} s;"
        f" back {recovered - ended:.1f} s after it was started"
    )
    assert set(statuses) <= {200, 201, 409}
    assert Counter(answer.status for answer in meanwhile)[200] > 0
    assert longest < LONGEST_WRITE_SECONDS
    assert max(answer.seconds for answer in refused) < LONGEST_ANSWER_SECONDS
    assert hospital.server.worker_pids() == pids
    hospital.server.manage("relay_events")
    completed, billed = hospital.completed_and_billed()
    assert completed
    assert billed == completed
    # Who looked while PostgreSQL was out is on record as well as who wrote, once each.
    assert [answer.status for answer in looked] == [200] * len(looked)
    written = [answer for _, answer in load.answers if answer.status in (200, 201)]
    asked = {answer.headers["X-Request-ID"] for answer in [*looked, *written]}
    recorded = hospital.on_record(asked)
    assert recorded.keys() == asked
    # A completed visit has a second entry, that of its bill.
    assert {recorded[answer.headers["X-Request-ID"]] for answer in looked} == {1}
    assert set(recorded.values()) <= {1, 2}
    assert hospital.looks_at("P0") == looks_before + len(looked)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_without_mongodb_log_in_works_and_clinical_requests_say_when_to_return(
    how: str, hospital: Hospital, known_everywhere: None
) -> None:
    pids = hospital.server.worker_pids()
    load = Load(hospital, first_day=2000 if how == "stopped" else 3000)
    outage = hospital.without(mongodb=True) if how == "stopped" else hospital.frozen("mongodb-0")
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
        f"MongoDB {how} for {ended - began:.1f} s: refusals after {', '.join(f'{a.seconds:.2f}' for a in refused)} s,"
        f" {len(meanwhile)} more under load, the longest answer {longest:.2f} s;"
        f" log-in in {', '.join(f'{a.seconds:.2f}' for a in logged_in)} s; back {recovered - ended:.1f} s later"
    )
    for answer in [*refused, *meanwhile]:
        assert_unavailable(answer)
    assert longest < LONGEST_ANSWER_SECONDS
    assert accounts.status == 200
    assert max(answer.seconds for answer in logged_in) < LONGEST_ANSWER_SECONDS
    assert not load.lost
    statuses = Counter(answer.status for _, answer in load.answers)
    assert set(statuses) <= {200, 201, 409, 503}
    assert Counter(answer.status for answer in load.during(recovered, recovered + 10))[201] > 0
    assert hospital.server.worker_pids() == pids
    hospital.server.manage("relay_events")
    completed, billed = hospital.completed_and_billed()
    assert billed == completed

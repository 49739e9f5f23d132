"""A backup under load, restored into other databases: both databases agree there, and no record is missing."""

import itertools
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections
from pymongo.database import Database

from appointments.models import Appointment
from audit import services as audit_services
from healthcare.outbox import events
from operations.backups import backup, mongodb
from tests.audit.entries import wipe
from tests.databases import clinical_database
from tests.live.client import Client
from tests.live.conftest import environment_of_this_run, token_of
from tests.live.server import ROOT, LiveServer
from tests.people import People, make_patient
from tests.records import complete, days_from_now, make_appointment, make_prescription

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "restored"


@pytest.fixture
def other_databases() -> Iterator[dict[str, str]]:
    """The environment of a process that uses two new databases on the same servers."""
    here = environment_of_this_run()
    client = connections["clinical"].connection
    with connections["default"].cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {NAME}")
    yield {
        "DATABASE_URL": os.environ["DATABASE_URL"].replace("/healthcare?", f"/{NAME}?", 1),
        "MONGODB_DB": f"{here['MONGODB_DB']}_{NAME}",
    }
    with connections["default"].cursor() as cursor:
        cursor.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
    client.drop_database(f"{here['MONGODB_DB']}_{NAME}")


def manage(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@contextmanager
def load(clients: list[Client]) -> Iterator[list[str]]:
    """Book and complete visits until the end of the block, with a patient for each client; yield the visits' ids."""
    is_over = threading.Event()
    booked: list[str] = []

    def work(number: int, client: Client) -> None:
        for visit in itertools.count():
            key = f"L{number}-{visit}"
            body = {"patient_id": f"L{number}", "doctor_id": "D1", "appointment_id": key, "date": str(days_from_now(1))}
            assert client.post("/appointments", body).status == 201
            booked.append(key)
            assert client.patch(f"/appointments/{key}", {"status": "completed"}).status == 200
            assert client.get(f"/patients/L{number}").status == 200
            if is_over.is_set():
                return

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    try:
        yield booked
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_restored_backup_agrees(
    server: LiveServer,
    people: People,
    other_databases: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A relay of another test may have sealed entries, and MongoDB's seals were deleted since.
    wipe()
    for number in range(3):
        make_patient(people.admin, f"L{number}", name=f'Patient \\N {number}\twith "signs" und Größe')
    for number in range(3):
        complete(people, make_appointment(people, date=days_from_now(number)))
    make_prescription(people)
    early, late = make_appointment(people, date=days_from_now(8)), make_appointment(people, date=days_from_now(9))
    audit_services.seal()
    token = token_of(people.admin)
    gap: list[str] = []
    begin = mongodb.snapshot

    def begin_later() -> Any:
        """Complete and seal a visit between the two snapshots, so that PostgreSQL's half lacks its bill and entries."""
        path = f"/appointments/{late.appointment_id}"
        assert server.client(token).patch(path, {"status": "completed"}).status == 200
        gap.append(server.manage("seal_audit").stdout)
        return begin()

    monkeypatch.setattr(mongodb, "snapshot", begin_later)
    wait_for = events.pending_ids

    def seal_first() -> list[str]:
        """Seal after the backup has read the head, so that PostgreSQL's half contains the hash of a newer seal."""
        while not audit_services.seal().entries:
            time.sleep(0.05)
        return wait_for()

    monkeypatch.setattr(events, "pending_ids", seal_first)
    directory = tmp_path / "backup"
    with load([server.client(token) for _ in range(3)]) as booked:
        while len(booked) < 6:
            time.sleep(0.05)
        before = list(booked)
        digest = backup.create_backup(directory, report_progress=lambda _: None)
        assert len(booked) > len(before), "no client wrote during the backup"
    assert len(gap) == 1
    assert not gap[0].startswith("0 entries")
    assert_private(directory)
    manifest = json.loads((directory / "manifest.json").read_text())

    done = manage(other_databases, "restore", str(directory))
    assert done.returncode == 0, done.stderr
    assert "The reports agree with the records." in done.stdout
    restored = connections["clinical"].connection[other_databases["MONGODB_DB"]]
    with psycopg.connect(other_databases["DATABASE_URL"]) as sql:
        assert_agree(restored, sql)
        visits = {visit["_id"] for visit in restored["appointments"].find({}, {"_id": 1})}
        assert {*before, early.appointment_id, late.appointment_id} <= visits
        assert len(visits) < Appointment.objects.count(), "the backup contains no later visit"
        assert_same_patients(restored)
        assert_no_tokens(sql, manifest)
    assert len(digest) == 64


def assert_private(directory: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.rglob("*"))}
    assert len(modes) > 20
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def assert_agree(restored: Database[Any], sql: psycopg.Connection) -> None:
    """Check that each completed visit has one bill, and each event one audit entry."""
    completed = [visit["_id"] for visit in restored["appointments"].find({"status": "completed"})]
    billed = sql.execute("SELECT appointment_id FROM billing WHERE source_event_id IS NOT NULL").fetchall()
    assert Counter(key for (key,) in billed) == Counter(completed)
    event_ids = [str(event["_id"]) for event in restored["events"].find({})]
    sources = sql.execute("SELECT source FROM audit_entries WHERE source = ANY(%s)", [event_ids]).fetchall()
    assert Counter(key for (key,) in sources) == Counter(event_ids)
    assert restored["events"].count_documents({"pending": {"$exists": True}}) == 0


def assert_same_patients(restored: Database[Any]) -> None:
    """Check that a patient without writes is identical."""
    originals = clinical_database()["patients"]
    assert restored["patients"].find_one({"_id": "P2"}) == originals.find_one({"_id": "P2"})
    assert {each["name"] for each in restored["patients"].find()} == {each["name"] for each in originals.find()}


def assert_no_tokens(sql: psycopg.Connection, manifest: dict[str, Any]) -> None:
    assert sql.execute("SELECT count(*) FROM accounts_tokenfamily").fetchone() == (0,)
    (next_family,) = sql.execute("SELECT nextval('accounts_tokenfamily_id_seq')").fetchone() or (0,)
    assert next_family > manifest["postgresql"]["sequences"]["accounts_tokenfamily_id_seq"] + 1000
    tables = {each["table"] for each in manifest["postgresql"]["tables"]}
    assert {"accounts_user", "billing", "audit_entries", "audit_patients"} <= tables
    assert not {"django_session", "healthcare_counter"} & tables

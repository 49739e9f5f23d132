"""A backup that is made while others write, put into other databases: both stores agree there, nothing left out."""

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
from tests.audit.recording import wipe
from tests.live.client import Client
from tests.live.conftest import environment_of_this_run, token_of
from tests.live.server import ROOT, LiveServer
from tests.people import People, make_patient
from tests.records import complete, days_from_now, make_appointment, make_prescription

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "restored"


@pytest.fixture
def elsewhere() -> Iterator[dict[str, str]]:
    """The settings of a process that uses two new databases on the same servers."""
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
    """Each client books and completes visits of a patient of its own until the block is over; yields what it booked."""
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


def test_a_backup_under_load_is_whole_elsewhere(
    server: LiveServer,
    people: People,
    elsewhere: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A relay of another test may have sealed what was there, and MongoDB's seals are gone since.
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
    begin = mongodb.at_one_moment

    def begin_later() -> Any:
        """In between PostgreSQL's moment is over and MongoDB's has not come: a bill that no table has, and its seal."""
        path = f"/appointments/{late.appointment_id}"
        assert server.client(token).patch(path, {"status": "completed"}).status == 200
        gap.append(server.manage("seal_audit").stdout)
        return begin()

    monkeypatch.setattr(mongodb, "at_one_moment", begin_later)
    wait_for = events.pending_ids

    def seal_first() -> list[str]:
        """The head is known, and PostgreSQL's moment has not come: it notes a seal that is not in the backup."""
        while not audit_services.seal().entries:
            time.sleep(0.05)
        return wait_for()

    monkeypatch.setattr(events, "waiting_ids", seal_first)
    directory = tmp_path / "backup"
    with load([server.client(token) for _ in range(3)]) as booked:
        while len(booked) < 6:
            time.sleep(0.05)
        before = list(booked)
        digest = backup.make(directory, tell=lambda _: None)
        assert len(booked) > len(before), "nobody wrote meanwhile"
    assert len(gap) == 1
    assert not gap[0].startswith("0 entries")
    assert_for_the_owner_alone(directory)
    manifest = json.loads((directory / "manifest.json").read_text())

    done = manage(elsewhere, "restore", str(directory))
    assert done.returncode == 0, done.stderr
    assert "The reports are what the records say." in done.stdout
    restored = connections["clinical"].connection[elsewhere["MONGODB_DB"]]
    with psycopg.connect(elsewhere["DATABASE_URL"]) as sql:
        assert_agree(restored, sql)
        visits = {visit["_id"] for visit in restored["appointments"].find({}, {"_id": 1})}
        assert {*before, early.appointment_id, late.appointment_id} <= visits
        assert len(visits) < Appointment.objects.count(), "the backup is of its moment"
        assert_same_patients(restored)
        assert_nobody_is_logged_in(sql, manifest)
    assert len(digest) == 64


def assert_for_the_owner_alone(directory: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.rglob("*"))}
    assert len(modes) > 20
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def assert_agree(restored: Database[Any], sql: psycopg.Connection) -> None:
    """One bill for each completed visit, one entry for each event, all of both."""
    completed = [visit["_id"] for visit in restored["appointments"].find({"status": "completed"})]
    billed = sql.execute("SELECT appointment_id FROM billing WHERE source_event_id IS NOT NULL").fetchall()
    assert Counter(key for (key,) in billed) == Counter(completed)
    told = [str(event["_id"]) for event in restored["events"].find({})]
    sources = sql.execute("SELECT source FROM audit_entries WHERE source = ANY(%s)", [told]).fetchall()
    assert Counter(key for (key,) in sources) == Counter(told)
    assert restored["events"].count_documents({"pending": {"$exists": True}}) == 0


def assert_same_patients(restored: Database[Any]) -> None:
    """Who was not written to meanwhile is the same to the last byte."""
    there = connections["clinical"].database["patients"]
    assert restored["patients"].find_one({"_id": "P2"}) == there.find_one({"_id": "P2"})
    assert {each["name"] for each in restored["patients"].find()} == {each["name"] for each in there.find()}


def assert_nobody_is_logged_in(sql: psycopg.Connection, manifest: dict[str, Any]) -> None:
    assert sql.execute("SELECT count(*) FROM accounts_tokenfamily").fetchone() == (0,)
    (next_family,) = sql.execute("SELECT nextval('accounts_tokenfamily_id_seq')").fetchone() or (0,)
    assert next_family > manifest["postgresql"]["sequences"]["accounts_tokenfamily_id_seq"] + 1000
    tables = {each["table"] for each in manifest["postgresql"]["tables"]}
    assert {"accounts_user", "billing", "audit_entries", "audit_patients"} <= tables
    assert not {"django_session", "healthcare_counter"} & tables

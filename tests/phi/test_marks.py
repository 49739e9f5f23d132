"""Encrypted values are not readable at rest: not in the files of MongoDB or PostgreSQL, and not in a log.

The test makes, changes, searches, treats, bills and reports on a hundred patients through a server with databases of
its own, whose MongoDB compresses nothing and logs every command. Each encrypted field holds a mark. Some plain fields
hold marks too, which the test must find, because otherwise its search would prove nothing.
"""

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pymongo import MongoClient

from devstack import mongodb, stack
from devstack.ephemeral import EphemeralStack
from devstack.processes import Program
from tests.live.client import Client
from tests.live.server import LiveServer
from tests.phi.conftest import as_text, new_key
from tests.records import days_from_now

PATIENTS = 100
PASSWORD = "correct horse battery staple"

DIGITS = "".join(secrets.choice("0123456789") for _ in range(9))
WORDS = {name: f"{name}mark{secrets.token_hex(8)}" for name in ("email", "address", "national", "notes")}
#: Marks that must not be found anywhere. Those of `PLAIN` must be found.
SECRET = {"phone": DIGITS, **WORDS}
PLAIN = {"mongodb": f"Plainmark{secrets.token_hex(6)}", "postgresql": f"Billmark{secrets.token_hex(6)}"}


def values_of(number: int) -> dict[str, str]:
    return {
        "phone": f"+99{DIGITS}{number:03}",
        "email": f"{WORDS['email']}.{number}@example.org",
        "address": f"{WORDS['address']} street {number}\nTown",
        "national_id": f"{WORDS['national']}-{number}",
        "notes": f"A note with {WORDS['notes']} in it, number {number}.",
    }


@pytest.fixture
def uncompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = mongodb.member

    def member(*args: Any, **options: Any) -> Program:
        program = usual(*args, **options)
        command = program.command
        assert isinstance(command, list)
        command.extend(
            ["--wiredTigerCollectionBlockCompressor", "none", "--wiredTigerJournalCompressor", "none",
             "--wiredTigerIndexPrefixCompression", "false", "--slowms", "0"]
        )  # fmt: skip
        return program

    monkeypatch.setattr(mongodb, "member", member)
    assert stack.mongodb is mongodb


@pytest.fixture
def databases(uncompressed: None) -> Iterator[EphemeralStack]:
    with EphemeralStack(nodes=1) as made:
        yield made


def test_no_mark_is_readable_at_rest(databases: EphemeralStack, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    environment = {
        **databases.addresses,
        "DEVSTACK_DIR": str(databases.directory),
        "PHI_MASTER_KEY": as_text(new_key()),
        "DJANGO_SUPERUSER_EMAIL": "root@example.org",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "PYTHONUNBUFFERED": "1",
    }
    server = LiveServer(environment, log, workers=2)
    said = [server.manage(*words.split()).stdout for words in (
        "migrate --database default", "migrate --database clinical", "createsuperuser --noinput",
    )]  # fmt: skip
    with server:
        live(server)
    for words in ("relay_events", "seal_audit", "verify_audit", "check_consistency", "verify_reports", "encrypt_phi"):
        said.append(server.manage(words).stdout)
    dumped = {**dump_of_mongodb(databases), **dump_of_postgresql(databases)}
    addresses = databases.directory
    databases.down()

    files = {str(path): path.read_bytes() for path in Path(addresses).rglob("*") if path.is_file()}
    files |= {"the server's log": log.read_bytes(), "what commands said": "\n".join(said).encode(), **dumped}
    mongodb_files = {name for name in files if "/mongodb" in name and "/logs/" not in name}
    assert len(mongodb_files) > 10
    for name, content in files.items():
        found = {field for field, mark in SECRET.items() if mark.encode() in content}
        assert not found, f"{found} can be read in {name}"
    # The same search finds the plain marks: in the files, in both dumps and in MongoDB's log.
    assert any(PLAIN["mongodb"].encode() in files[name] for name in mongodb_files)
    assert any(PLAIN["mongodb"].encode() in content for name, content in files.items() if "/logs/mongodb" in name)
    assert PLAIN["mongodb"].encode() in files["BSON of patients"]
    assert PLAIN["postgresql"].encode() in files["rows of billing"]


def live(server: LiveServer) -> None:
    """Send the requests of a hospital day, including invalid ones."""
    client = server.client()
    login = client.post("/auth/login", {"email": "root@example.org", "password": PASSWORD})
    client = server.client(login.body["access_token"])
    made = client.post("/doctors", {"name": "Amara Okafor", "specialty": "Cardiology", "doctor_id": "D1"})
    assert made.status == 201
    for number in range(PATIENTS):
        patient = {"patient_id": f"P{number}", "name": f"{PLAIN['mongodb']} {number}", **values_of(number)}
        answer = client.post("/patients", patient)
        assert answer.status == 201
        assert {name: answer.body[name] for name in values_of(number)} == values_of(number)
    for number in range(0, PATIENTS, 5):
        treat(client, number)
    assert len(client.get("/patients?page_size=200").body["results"]) == PATIENTS
    # Invalid requests hold the values; no error message and no log may.
    for name, value in values_of(1).items():
        for body in ({name: value * 200}, {name: [value]}, {value: value}, {"name": 1, name: value}):
            answer = client.patch("/patients/P1", body)
            assert answer.status == 400
            said = json.dumps([{"code": e["code"], "detail": e["detail"]} for e in answer.body["errors"]])
            assert not any(mark in said for mark in SECRET.values())
    assert client.post("/patients", {"patient_id": "P1", "name": "X", **values_of(1)}).status == 409
    assert client.delete("/patients/P0").status == 409
    assert client.get(f"/patients?search={PLAIN['mongodb']}").body["results"]
    assert client.get("/patients/P1/access-log").status == 200
    assert client.get("/audit").status == 200
    for name in ("top-doctors", "disease-trends", "average-prescription-cost"):
        assert client.get(f"/reports/{name}").status == 200


def treat(client: Client, number: int) -> None:
    key, day = f"P{number}", str(days_from_now(-3))
    visit = client.post("/appointments", {"patient_id": key, "doctor_id": "D1", "date": day, "disease": "Asthma"})
    assert visit.status == 201
    assert client.patch(f"/appointments/{visit.body['appointment_id']}", {"status": "completed"}).status == 200
    bill = {"patient_id": key, "total_cost": "12.50", "disease": PLAIN["postgresql"]}
    assert client.post("/billing", bill).status == 201
    changed = {name: f"{value} x" for name, value in values_of(number).items() if name in ("address", "notes")}
    assert client.patch(f"/patients/{key}", changed).status == 200
    found = client.get(f"/patients?national_id={values_of(number)['national_id']}")
    assert [each["patient_id"] for each in found.body["results"]] == [key]


def dump_of_mongodb(databases: EphemeralStack) -> dict[str, bytes]:
    """Return every document of every collection, the oplog included, as BSON."""
    dumped = {}
    with MongoClient[dict[str, Any]](databases.addresses["MONGODB_URI"]) as client:
        names = [(name, collection) for name in ("healthcare", "local", "config")
                 for collection in client[name].list_collection_names()]  # fmt: skip
        for database, collection in names:
            documents = list(client[database][collection].find({}))
            label = f"BSON of {collection}" if database == "healthcare" else f"BSON of {database}.{collection}"
            dumped[label] = b"".join(bson.encode(each) for each in documents)
    assert dumped["BSON of local.oplog.rs"]
    return dumped


def dump_of_postgresql(databases: EphemeralStack) -> dict[str, bytes]:
    dumped = {}
    with psycopg.connect(databases.addresses["DATABASE_URL"]) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = connection.execute(SQL("SELECT to_jsonb(t)::text FROM {} t").format(Identifier(table))).fetchall()
            dumped[f"rows of {table}"] = "\n".join(row for (row,) in rows).encode()
    assert os.environ["DATABASE_URL"] != databases.addresses["DATABASE_URL"]
    return dumped

"""Tests of `backup` and `restore`: the manifest, and refusals that change nothing."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from healthcare import clock
from healthcare.audit_log.models import AuditEntry
from operations.backups import files, mongodb, restore
from tests.databases import clinical_database
from tests.people import People
from tests.records import complete, make_appointment
from tests.snapshots import everything

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words: Any) -> str:
    out = StringIO()
    call_command(*map(str, words), stdout=out)
    return out.getvalue()


@pytest.fixture
def backup(people: People, tmp_path: Path) -> Path:
    complete(people, make_appointment(people))
    run("backup", tmp_path / "backup", "--verbosity", "0")
    return tmp_path / "backup"


def test_backup_is_recorded_and_its_manifest_lists_everything(people: People, tmp_path: Path) -> None:
    began, backup = clock.now(), tmp_path / "backup"
    complete(people, make_appointment(people))
    run("backup", backup, "--verbosity", "0")
    # Audit entries of earlier tests remain, because nobody can delete them.
    assert AuditEntry.objects.filter(action="backup.made", at__gte=began).count() == 1
    manifest = files.read_manifest(backup)
    collections = {each["collection"]: each["documents"] for each in manifest["mongodb"]["collections"]}
    assert collections["appointments"] == 1
    assert collections.keys() == set(mongodb.collection_names())
    tables = {each["table"]: each["rows"] for each in manifest["postgresql"]["tables"]}
    assert tables["billing"] == 1
    # pymongo keeps the snapshot's time in a private attribute.
    assert manifest["mongodb"]["moment"].startswith("Timestamp(")
    listed = {each["file"] for each in (*manifest["mongodb"]["collections"], *manifest["postgresql"]["tables"])}
    existing = {path.relative_to(backup).as_posix() for path in backup.rglob("*") if path.is_file()}
    assert existing == {*listed, "manifest.json"}


def test_nonempty_folder_is_not_written_to(people: People, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("as it is")
    with pytest.raises(CommandError, match="is not empty"):
        run("backup", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_unfinished_backup_has_no_manifest(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise mongodb.SnapshotTooOld

    monkeypatch.setattr(mongodb, "indexes_of", fail)
    with pytest.raises(CommandError, match="no longer keeps the snapshot"):
        run("backup", tmp_path / "backup")
    with pytest.raises(CommandError, match="the folder is no backup, or a backup that did not finish"):
        run("restore", tmp_path / "backup")


def alter(backup: Path, change: str) -> str:
    """Change a file of the backup, and return the message that the command must print."""
    manifest = json.loads((backup / "manifest.json").read_text())
    victim = backup / "mongodb/appointments.bson.gz"
    match change:
        case "changed":
            data = bytearray(victim.read_bytes())
            data[len(data) // 2] ^= 1
            victim.write_bytes(data)
            return "appointments.bson.gz was changed after the backup"
        case "missing":
            (backup / "postgresql/billing.copy.gz").unlink()
            return "billing.copy.gz is missing"
        case "outside":
            manifest["postgresql"]["tables"][0]["file"] = "../elsewhere"
            message = "which is outside the folder"
        case "another format":
            manifest["format"] = 99
            message = "has format 99"
        case "other migrations":
            manifest["migrations"].remove("billing.0002_first_fees")
            message = "with other migrations .billing.0002_first_fees."
        case "another key":
            manifest["mongodb"]["master_keys"] = ["local:key_0123456789ab"]
            message = "set PHI_MASTER_KEY to that key"
        case _:
            message = "The databases are not empty"
    (backup / "manifest.json").write_text(json.dumps(manifest))
    return message


@pytest.mark.parametrize(
    "change",
    ["changed", "missing", "outside", "another format", "other migrations", "another key", "nonempty databases"],
)
def test_refused_restore_changes_nothing(backup: Path, change: str) -> None:
    message = alter(backup, change)
    before = everything()
    with pytest.raises(CommandError, match=message):
        run("restore", backup)
    assert everything() == before


def test_restore_that_fails_half_way_leaves_both_databases_empty(
    backup: Path, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file agrees with the manifest but contains each `_id` twice, which the collection refuses."""
    with files.open_compressed(backup, "mongodb/doctors.bson.gz") as opened:
        twice = opened.read() * 2
    (backup / "mongodb/doctors.bson.gz").unlink()
    with files.compressed_file(backup, "mongodb/doctors.bson.gz") as (out, written):
        out.write(twice)
    manifest = json.loads((backup / "manifest.json").read_text())
    for each in manifest["mongodb"]["collections"]:
        if each["collection"] == "doctors":
            each.update(written[0]._asdict())
    (backup / "manifest.json").write_text(json.dumps(manifest))
    database = clinical_database()
    for name in mongodb.collection_names():
        if name != "django_migrations":
            database[name].delete_many({})
    monkeypatch.setattr(restore, "_require_empty_databases", lambda: None)
    monkeypatch.setattr(restore, "call_command", lambda *_, **__: None)
    monkeypatch.setattr(restore.postgresql, "copy_in", lambda *_: None)
    with pytest.raises(CommandError, match="Stopped by a database"):
        run("restore", backup)
    assert [name for name in mongodb.collection_names() if not mongodb.is_empty(name)] == ["django_migrations"]


def test_sqlite_is_refused(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.backups.postgresql.is_postgresql", lambda: False)
    with pytest.raises(CommandError, match="SQLite is for trials"):
        run("backup", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()

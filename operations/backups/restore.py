"""Restoration of a backup into two empty databases."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from bson import ObjectId, json_util
from bson.raw_bson import RawBSONDocument
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from audit import queries as audit_queries
from healthcare.audit_log import recorder
from healthcare.mongodb import encryption
from healthcare.mongodb.emptying import empty_collection
from healthcare.observability import health
from healthcare.outbox import events
from healthcare.routers import DEFAULT
from operations.backups import files, mongodb, postgresql
from operations.backups.backup import ReportProgress

_MIGRATIONS = "django_migrations"
_BATCH = 1_000
_CHECKS = ("check_consistency", "verify_reports", "verify_audit")


class CannotRestore(Exception):
    """Nothing was restored; the message says why. Neither database was changed, apart from being migrated."""


class InconsistentRestore(Exception):
    """The backup was restored, but checks failed; the message names these checks."""


def restore(directory: Path, *, report_progress: ReportProgress) -> None:
    """Restore a backup, deliver the events whose results its PostgreSQL half lacks, and check the result.

    Raises: InvalidBackup, CannotRestore, InconsistentRestore, DatabaseError, OSError.
    """
    manifest = files.read_manifest(directory)
    collections = [each for each in manifest["mongodb"]["collections"] if each["collection"] != _MIGRATIONS]
    tables = manifest["postgresql"]["tables"]
    _require_same_migrations(manifest)
    _require_master_keys(manifest)
    files.verify(directory, [*manifest["mongodb"]["collections"], *tables])
    report_progress("Every file has the SHA-256 of the manifest.")
    if not postgresql.is_postgresql():
        raise CannotRestore("A backup can be restored into PostgreSQL only. Set DATABASE_URL to a PostgreSQL database.")
    _require_empty_databases()
    for database in settings.DATABASES:
        call_command("migrate", database=database, verbosity=0, interactive=False)
    _fill(directory, manifest["postgresql"], collections, report_progress=report_progress)
    encryption.forget()
    delivered, failed = _redeliver(manifest["redeliver"])
    report_progress(f"{delivered:,} events delivered again{f', {failed:,} failed' if failed else ''}.")
    recorder.record("backup.restored", actor=None)
    _run_checks(report_progress=report_progress)


def _require_same_migrations(manifest: dict[str, Any]) -> None:
    here = {f"{app}.{name}" for app, name in health.required_migrations()}
    in_backup = set(manifest["migrations"])
    if here != in_backup:
        different = ", ".join(sorted(here ^ in_backup)[:5])
        raise CannotRestore(
            f"The backup was made by version {manifest['version']} with other migrations ({different}): restore it"
            " with that version, then upgrade."
        )


def _require_master_keys(manifest: dict[str, Any]) -> None:
    required = manifest["mongodb"]["master_keys"]
    available = encryption.configuration()["kms_providers"] if encryption.is_on() else {}
    if missing := [name for name in required if name not in available]:
        raise CannotRestore(
            f"The backup's fields are encrypted under {', '.join(missing)}: set PHI_MASTER_KEY to that key."
        )


def _require_empty_databases() -> None:
    """Refuse to overwrite data. An operator who wants to replace databases must drop them first."""
    full = [f"MongoDB's {name}" for name in mongodb.collection_names()
            if name != _MIGRATIONS and not mongodb.is_empty(name)]  # fmt: skip
    full += [f"PostgreSQL's {table}" for table in postgresql.nonempty_tables()]
    if full:
        named = ", ".join(full[:5]) + (" …" if len(full) > 5 else "")
        raise CannotRestore(
            f"The databases are not empty ({named}). Restore into new ones (MONGODB_DB, DATABASE_URL), or drop these."
        )


def _fill(
    directory: Path, tables: dict[str, Any], collections: list[dict[str, Any]], *, report_progress: ReportProgress
) -> None:
    """Fill both databases or neither: PostgreSQL commits after MongoDB is filled; after an error MongoDB is emptied."""
    filled: list[str] = []
    try:
        with transaction.atomic(using=DEFAULT, durable=True):
            postgresql.copy_in(directory, tables)
            report_progress(f"PostgreSQL: {sum(each['rows'] for each in tables['tables']):,} rows")
            for entry in collections:
                filled.append(entry["collection"])
                _fill_collection(directory, entry)
                report_progress(f"MongoDB {entry['collection']}: {entry['documents']:,} documents")
    except BaseException:
        # The collections were empty before, so emptying them loses nobody's data.
        for name in filled:
            empty_collection(name)
        raise


def _fill_collection(directory: Path, entry: dict[str, Any]) -> None:
    number = 0
    with files.open_compressed(directory, entry["file"]) as data:
        documents = _documents(data)
        while batch := list(islice(documents, _BATCH)):
            mongodb.insert(entry["collection"], batch)
            number += len(batch)
    if number != entry["documents"]:
        raise files.InvalidBackup(f"{entry['file']} has {number} documents; the manifest says {entry['documents']}.")
    # The migrations have created most indexes. Others, such as that of the data keys, are created on first use.
    mongodb.create_indexes(entry["collection"], [json_util.loads(index) for index in entry["indexes"]])


def _documents(data: IO[bytes]) -> Iterator[RawBSONDocument]:
    """Yield the documents of a file of concatenated BSON, each of which begins with its length."""
    while head := data.read(4):
        yield RawBSONDocument(head + data.read(int.from_bytes(head, "little") - 4))


def _redeliver(redeliver: dict[str, Any]) -> tuple[int, int]:
    since = datetime.fromisoformat(redeliver["since"])
    # Entries of archived months are in files and must not be inserted again.
    since = max([since, *map(audit_queries.end_of, audit_queries.archive_seals())])
    events.requeue(since=since, event_ids=[ObjectId(each) for each in redeliver["event_ids"]])
    delivered = failed = 0
    for _, is_done in events.relay():
        delivered, failed = delivered + is_done, failed + (not is_done)
    return delivered, failed


def _run_checks(*, report_progress: ReportProgress) -> None:
    failed = []
    for name in _CHECKS:
        try:
            call_command(name)
        except (CommandError, DatabaseError) as error:
            report_progress(f"{name}: {error}")
            failed.append(name)
    if failed:
        raise InconsistentRestore(
            f"The backup was restored, but checks failed: {', '.join(failed)}. Run them again to see what they found."
        )

"""Putting a backup into two empty databases."""

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
from operations.backups.backup import Progress

_MIGRATIONS = "django_migrations"
_BATCH = 1_000
_CHECKS = ("check_consistency", "verify_reports", "verify_audit")


class CannotRestore(Exception):
    """Why nothing was put back. Neither database was changed but for its migrations."""


class NotWhole(Exception):
    """The backup was put back and a check found something; names the checks."""


def restore(directory: Path, *, tell: Progress) -> None:
    """Put a backup back, deliver what its PostgreSQL half lacks, and check the result.

    Raises: NoBackup, CannotRestore, NotWhole, DatabaseError, OSError.
    """
    manifest = files.read_manifest(directory)
    collections = [each for each in manifest["mongodb"]["collections"] if each["collection"] != _MIGRATIONS]
    tables = manifest["postgresql"]["tables"]
    _require_this_version(manifest)
    _require_keys(manifest)
    files.verify(directory, [*manifest["mongodb"]["collections"], *tables])
    tell("Every file is what was written.")
    if not postgresql.is_postgresql():
        raise CannotRestore("A backup goes into PostgreSQL; SQLite is for trials.")
    _require_empty()
    for database in settings.DATABASES:
        call_command("migrate", database=database, verbosity=0, interactive=False)
    _fill(directory, manifest["postgresql"], collections, tell=tell)
    encryption.forget()
    delivered, failed = _deliver_again(manifest["redeliver"])
    tell(f"{delivered:,} events delivered again{f', {failed:,} failed' if failed else ''}.")
    recorder.record("backup.restored", actor=None)
    _check(tell=tell)


def _require_this_version(manifest: dict[str, Any]) -> None:
    own = {f"{app}.{name}" for app, name in health.required_migrations()}
    theirs = set(manifest["migrations"])
    if own != theirs:
        different = ", ".join(sorted(own ^ theirs)[:5])
        raise CannotRestore(
            f"The backup was made by version {manifest['version']} with other migrations ({different}): restore it"
            " with that version, then upgrade."
        )


def _require_keys(manifest: dict[str, Any]) -> None:
    wanted = manifest["mongodb"]["master_keys"]
    there = encryption.configuration()["kms_providers"] if encryption.is_on() else {}
    if missing := [name for name in wanted if name not in there]:
        raise CannotRestore(
            f"The backup's encrypted fields are under {', '.join(missing)}: set PHI_MASTER_KEY to that key."
        )


def _require_empty() -> None:
    """Nothing is ever overwritten: whoever wants that drops the databases first, and says so to them."""
    full = [f"MongoDB's {name}" for name in mongodb.collection_names()
            if name != _MIGRATIONS and not mongodb.is_empty(name)]  # fmt: skip
    full += [f"PostgreSQL's {table}" for table in postgresql.occupied()]
    if full:
        named = ", ".join(full[:5]) + (" …" if len(full) > 5 else "")
        raise CannotRestore(
            f"The databases are not empty ({named}). Restore into new ones (MONGODB_DB, DATABASE_URL), or drop these."
        )


def _fill(directory: Path, tables: dict[str, Any], collections: list[dict[str, Any]], *, tell: Progress) -> None:
    """Both or none: PostgreSQL commits when MongoDB has everything, and MongoDB is emptied again when it has not."""
    filled: list[str] = []
    try:
        with transaction.atomic(using=DEFAULT, durable=True):
            postgresql.copy_in(directory, tables)
            tell(f"PostgreSQL: {sum(each['rows'] for each in tables['tables']):,} rows")
            for said in collections:
                filled.append(said["collection"])
                _fill_collection(directory, said)
                tell(f"MongoDB {said['collection']}: {said['documents']:,} documents")
    except BaseException:
        # It was empty before, so nothing is lost that anybody has put there.
        for name in filled:
            empty_collection(name)
        raise


def _fill_collection(directory: Path, said: dict[str, Any]) -> None:
    number = 0
    with files.reading(directory, said["file"]) as data:
        documents = _documents(data)
        while batch := list(islice(documents, _BATCH)):
            mongodb.insert(said["collection"], batch)
            number += len(batch)
    if number != said["documents"]:
        raise files.NoBackup(f"{said['file']} has {number} documents, and the manifest {said['documents']}.")
    # The migrations have made theirs; others are made when something is first needed, such as the data keys'.
    mongodb.create_indexes(said["collection"], [json_util.loads(index) for index in said["indexes"]])


def _documents(data: IO[bytes]) -> Iterator[RawBSONDocument]:
    """BSON says at its beginning how long it is."""
    while head := data.read(4):
        yield RawBSONDocument(head + data.read(int.from_bytes(head, "little") - 4))


def _deliver_again(redeliver: dict[str, Any]) -> tuple[int, int]:
    since = datetime.fromisoformat(redeliver["since"])
    # Entries of archived months are in files, and not to come back beside them.
    since = max([since, *map(audit_queries.end_of, audit_queries.archive_seals())])
    events.requeue(since=since, event_ids=[ObjectId(each) for each in redeliver["event_ids"]])
    delivered = failed = 0
    for _, is_done in events.relay():
        delivered, failed = delivered + is_done, failed + (not is_done)
    return delivered, failed


def _check(*, tell: Progress) -> None:
    failed = []
    for name in _CHECKS:
        try:
            call_command(name)
        except (CommandError, DatabaseError) as error:
            tell(f"{name}: {error}")
            failed.append(name)
    if failed:
        raise NotWhole(f"The backup was put back, and {', '.join(failed)} found something.")

"""Creation of a backup of both databases.

The two databases have no common clock, so the backup takes three snapshots, milliseconds apart and in this order:

1. the last seal of the audit log, and the ids of the events that wait for delivery;
2. PostgreSQL's snapshot;
3. MongoDB's snapshot.

Therefore PostgreSQL's half contains every audit entry that a seal of the backup covers: seals that are newer than (1)
are left out, and so are PostgreSQL's copies of their hashes. PostgreSQL's half may lack a row that was written between
(2) and (3), but only the result of an event that MongoDB's half contains. The restore delivers again every event that
waited at (1) or happened since, and a consumer leaves the same result however often an event is delivered. In the
opposite order PostgreSQL could contain bills for visits that MongoDB's half does not contain.

MongoDB's data are nevertheless copied first, because MongoDB keeps a snapshot for only five minutes by default.
"""

from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from bson import json_util
from django.conf import settings

from audit import queries as audit_queries
from audit.models import Seal
from healthcare.audit_log import recorder
from healthcare.mongodb.encryption import DATA_KEYS
from healthcare.observability import health
from healthcare.outbox import events
from operations.backups import files, mongodb, postgresql

#: Events from this long before PostgreSQL's snapshot are delivered again. The margin covers the difference between the
#: servers' clocks and the longest transaction.
REDELIVERY_MARGIN = timedelta(minutes=15)
_SEALS = Seal._meta.db_table
_MAX_ATTEMPTS = 10

ReportProgress = Callable[[str], None]


class CannotBackUp(Exception):
    """No backup was made; the message says why."""


def create_backup(directory: Path, *, report_progress: ReportProgress) -> str:
    """Write a backup into a folder and return the SHA-256 of its manifest.

    Raises: CannotBackUp, InvalidBackup, DatabaseError, OSError.
    """
    if not postgresql.is_postgresql():
        raise CannotBackUp("SQLite is for trials: stop the server and copy its file.")
    problems = health.readiness().problems
    if problems:
        raise CannotBackUp(" ".join(problem.detail for problem in problems))
    files.prepare_directory(directory)
    # The backup is recorded before anything is read, so that the audit entry is part of the backup.
    recorder.record("backup.made", actor=None)
    for _ in range(_MAX_ATTEMPTS):
        head = audit_queries.head()["_id"]
        pending = events.pending_ids()
        with postgresql.snapshot() as postgresql_time, mongodb.snapshot() as snapshot:
            if _was_archived_since(snapshot, head):
                # PostgreSQL's snapshot may lack the month, and the backup lacks the seal that records its archiving.
                continue
            clinical = _copy_collections(directory, snapshot, head=head, report_progress=report_progress)
            tables = _copy_tables(directory, head=head, report_progress=report_progress)
            months, sequences = postgresql.partition_months(), postgresql.sequence_values()
            break
    else:
        raise CannotBackUp("The audit log is being archived. Try again when archive_audit has ended.")
    redeliver_since = (postgresql_time - REDELIVERY_MARGIN).astimezone(UTC)
    manifest = {
        "created_at": postgresql_time.astimezone(UTC).isoformat(),
        "version": settings.SPECTACULAR_SETTINGS["VERSION"],
        "migrations": sorted(f"{app}.{name}" for app, name in health.required_migrations()),
        "audit_head": head,
        "redeliver": {"since": redeliver_since.isoformat(), "event_ids": pending},
        "mongodb": {"moment": str(snapshot.time), **clinical},
        "postgresql": {"tables": tables, "months": months, "sequences": sequences},
    }
    return files.write_manifest(directory, manifest)


def _was_archived_since(snapshot: mongodb.Snapshot, head: int) -> bool:
    """Return whether a month was archived after that seal. This first read fixes the time of the snapshot."""
    later = snapshot.documents(_SEALS, {"_id": {"$gt": head}, "kind": Seal.Kind.ARCHIVE.value})
    return any(True for _ in later)


def _copy_collections(
    directory: Path, snapshot: mongodb.Snapshot, *, head: int, report_progress: ReportProgress
) -> dict[str, Any]:
    collections: list[dict[str, Any]] = []
    providers: set[str] = set()
    for name in mongodb.collection_names():
        where = {"_id": {"$lte": head}} if name == _SEALS else None
        number = 0
        with files.compressed_file(directory, f"mongodb/{name}.bson.gz") as (out, written):
            for document in snapshot.documents(name, where):
                out.write(document.raw)
                number += 1
                if name == DATA_KEYS:
                    providers.add(document["masterKey"]["provider"])
        indexes = [json_util.dumps(index) for index in mongodb.indexes_of(name)]
        collections.append({"collection": name, "documents": number, "indexes": indexes, **written[0]._asdict()})
        report_progress(f"MongoDB {name}: {number:,} documents")
    return {"collections": collections, "master_keys": sorted(providers)}


def _copy_tables(directory: Path, *, head: int, report_progress: ReportProgress) -> list[dict[str, Any]]:
    copied = []
    for table in postgresql.tables():
        if table not in postgresql.EXCLUDED_TABLES:
            copied.append(postgresql.copy_out(directory, table, audit_head=head))
            report_progress(f"PostgreSQL {table}: {copied[-1]['rows']:,} rows")
    return copied

"""Making a backup.

The two stores share no instant, so the moments are chosen one after the other, milliseconds apart, and in this order:

1. the head of the seals' chain, and which events wait;
2. PostgreSQL's moment;
3. MongoDB's moment.

So every entry of the audit trail that a seal of the backup covers is in PostgreSQL's half: seals behind the head of (1)
are left out, and what PostgreSQL has noted of them, too. And whatever PostgreSQL lacks because it was read first is a
consequence of an event that MongoDB's half has: the restore delivers again what waited at (1) or happened since, and
consumers leave the same result however often they are told. The other way round PostgreSQL would hold bills for visits
that the other half does not know.

MongoDB is read first all the same, since it remembers a moment for five minutes only.
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

#: How far the clocks of servers may be apart, and longer than any transaction: events that are younger than
#: PostgreSQL's moment less this are delivered again.
MARGIN = timedelta(minutes=15)
_SEALS = Seal._meta.db_table
_TRIES = 10

Progress = Callable[[str], None]


class CannotBackUp(Exception):
    """Why no backup was made."""


def make(directory: Path, *, tell: Progress) -> str:
    """Write a backup into a folder; returns the SHA-256 of its manifest.

    Raises: CannotBackUp, NoBackup, DatabaseError, OSError.
    """
    if not postgresql.is_postgresql():
        raise CannotBackUp("SQLite is for trials: stop the server and copy its file.")
    missing, _ = health.readiness()
    if missing:
        raise CannotBackUp(" ".join(each.sentence for each in missing))
    files.prepare(directory)
    # Before anything is read, so that it stands in the backup, too.
    recorder.record("backup.made", actor=None)
    for _ in range(_TRIES):
        head = audit_queries.head()["_id"]
        waiting = events.pending_ids()
        with postgresql.at_one_moment() as sql_time, mongodb.at_one_moment() as moment:
            if _was_archived_since(moment, head):
                # The month may be gone from PostgreSQL, and the seal that says so is not in the backup.
                continue
            clinical = _clinical(directory, moment, head=head, tell=tell)
            tables = _tables(directory, head=head, tell=tell)
            months, sequences = postgresql.months(), postgresql.sequences()
            break
    else:
        raise CannotBackUp("The audit trail is being archived. Try again when archive_audit has ended.")
    manifest = {
        "created_at": sql_time.astimezone(UTC).isoformat(),
        "version": settings.SPECTACULAR_SETTINGS["VERSION"],
        "migrations": sorted(f"{app}.{name}" for app, name in health.required_migrations()),
        "audit_head": head,
        "redeliver": {"since": (sql_time - MARGIN).astimezone(UTC).isoformat(), "event_ids": waiting},
        "mongodb": {"moment": str(moment.time), **clinical},
        "postgresql": {"tables": tables, "months": months, "sequences": sequences},
    }
    return files.write_manifest(directory, manifest)


def _was_archived_since(moment: mongodb.Moment, head: int) -> bool:
    """Also the first read at MongoDB's moment, which sets it."""
    later = moment.documents(_SEALS, {"_id": {"$gt": head}, "kind": Seal.Kind.ARCHIVE.value})
    return any(True for _ in later)


def _clinical(directory: Path, moment: mongodb.Moment, *, head: int, tell: Progress) -> dict[str, Any]:
    collections: list[dict[str, Any]] = []
    providers: set[str] = set()
    for name in mongodb.collection_names():
        where = {"_id": {"$lte": head}} if name == _SEALS else None
        number = 0
        with files.writing(directory, f"mongodb/{name}.bson.gz") as (out, described):
            for document in moment.documents(name, where):
                out.write(document.raw)
                number += 1
                if name == DATA_KEYS:
                    providers.add(document["masterKey"]["provider"])
        indexes = [json_util.dumps(index) for index in mongodb.indexes_of(name)]
        collections.append({"collection": name, "documents": number, "indexes": indexes, **described[0]._asdict()})
        tell(f"MongoDB {name}: {number:,} documents")
    return {"collections": collections, "master_keys": sorted(providers)}


def _tables(directory: Path, *, head: int, tell: Progress) -> list[dict[str, Any]]:
    found = []
    for table in postgresql.tables():
        if table not in postgresql.LEFT_OUT:
            found.append(postgresql.copy_out(directory, table, audit_head=head))
            tell(f"PostgreSQL {table}: {found[-1]['rows']:,} rows")
    return found

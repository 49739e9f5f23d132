"""Sealing the audit trail, and archiving months of it."""

import gzip
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from django.conf import settings
from django.db import IntegrityError, connections

from audit import queries, seals
from audit.models import Seal
from audit.seals import Leaf
from healthcare import clock
from healthcare.audit_log import recorder
from healthcare.mongodb import raw
from healthcare.routers import DEFAULT

#: How long sealing waits for transactions that had begun before it.
PATIENCE_SECONDS = 10.0
#: Months that have a partition before anything happens in them.
MONTHS_AHEAD = 3

Document = dict[str, Any]


class StillWriting(Exception):
    """A transaction has been open for longer than sealing waits: what it wrote may not be visible yet."""


class Sealed(NamedTuple):
    """What sealing did: entries and seals that are new, and the chain's head."""

    entries: int
    seals: int
    number: int
    hash: str


class Archived(NamedTuple):
    month: str
    entries: int
    file: Path


class MonthNotArchived(Exception):
    """A month that cannot be archived now, and why."""


def seal() -> Sealed:
    """Seal all entries that are final, 5,000 a link.

    Two may seal at once: the number of a link is its key, so the later one begins again behind the other's.
    Raises: StillWriting.
    """
    final = last_final_id()
    entries = links = 0
    head = queries.head()
    # Of a run that ended between the two stores.
    _note(head)
    while batch := list(queries.entries(after=head["upto"], upto=final, limit=seals.LENGTH)):
        upto = batch[-1]["id"] if len(batch) == seals.LENGTH else final
        leaves = [seals.leaf_of(entry) for entry in batch]
        try:
            head = _append(head, kind=Seal.Kind.ENTRIES, upto=upto, count=len(leaves), leaves=seals.pack(leaves))
        except IntegrityError:
            head = queries.head()
            continue
        entries, links = entries + len(leaves), links + 1
    return Sealed(entries, links, head["_id"], head["hash"])


def last_final_id() -> int:
    """The highest id up to which every entry is visible that ever will be.

    An entry has its transaction's number before its id (the column's default sees to it). So: read the sequence, take a
    number of one's own, and wait until all transactions with lower numbers have ended. What has an id up to the one
    that was read has then been committed, or never will be. Nobody is locked out meanwhile.

    Raises: StillWriting.
    """
    connection = connections[DEFAULT]
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            # One writer at a time, whose transaction nobody sees.
            cursor.execute("SELECT coalesce(max(id), 0) FROM audit_entries")
            return cursor.fetchone()[0]
        cursor.execute("SELECT last_value FROM audit_entry_id")
        (last,) = cursor.fetchone()
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (own,) = cursor.fetchone()
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            if cursor.fetchone()[0] > own:
                return last
            if time.monotonic() > give_up_at:
                raise StillWriting("A transaction in PostgreSQL has been open too long; nothing was sealed.")
            time.sleep(0.01)


def make_months() -> list[str]:
    """Make the partitions of this month and the next ones; those that are new."""
    if connections[DEFAULT].vendor != "postgresql":
        return []
    now = seals.month_number(clock.now())
    wanted = [seals.month_name(now + ahead) for ahead in range(MONTHS_AHEAD + 1)]
    with connections[DEFAULT].cursor() as cursor:
        made = []
        for month in wanted:
            cursor.execute("SELECT audit_make_month(%s)", [f"{month}-01"])
            if cursor.fetchone()[0]:
                made.append(month)
    return made


def archive(*, before: date, directory: Path) -> Iterator[Archived]:
    """Move whole months before the day into files, one after the other; yields each once it is gone from the tables.

    A month's file is written under another name, read back and compared with the seals, put in its place; then the
    checkpoint is put into the chain, and only then are the partitions dropped. Each step may crash and be run again;
    into another folder, too, where the file is then made once more.

    Raises: MonthNotArchived, DatabaseError, OSError.
    """
    if connections[DEFAULT].vendor != "postgresql":
        raise MonthNotArchived("Only PostgreSQL has the trail in months.")
    _require_archivist()
    directory.mkdir(parents=True, exist_ok=True)
    for month in _months_before(before):
        checkpoint = queries.checkpoint_of(month)
        if checkpoint is not None:
            if not queries.has_entries(month, upto=checkpoint["upto"]):
                continue
            _require_file(month, directory, checkpoint)
        else:
            head = queries.head()
            _require_sealed(month, head)
            count, file_hash = _write_file(month, directory, head)
            checkpoint = _append(
                head, kind=Seal.Kind.ARCHIVE, upto=head["upto"], count=count, month=month, file_hash=file_hash
            )
        # Before it is gone, and of each run that has a part in it.
        recorder.record("audit.archived", actor=None, subject=month)
        if _drop(month, upto=checkpoint["upto"]):
            yield Archived(month, checkpoint["count"], directory / file_name(month))


def _append(head: Document, **said: Any) -> Document:
    """The next link of the chain. Raises: IntegrityError when somebody else has put one there."""
    link: Document = {
        "_id": head["_id"] + 1,
        "sealed_at": clock.now(),
        "after": head["upto"],
        "leaves": b"",
        "month": None,
        "file_hash": None,
        **said,
        "kind": str(said["kind"]),
        "previous": head["hash"],
    }
    link["hash"] = seals.hash_of(link)
    raw.collection(Seal).insert_one(link)
    _note(link)
    return link


def _note(link: Document) -> None:
    """Leave the hash of a seal with PostgreSQL, once: a chain that is cut off or begun anew is found by it."""
    if not link["_id"]:
        return
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_heads (number, hash) VALUES (%s, %s) ON CONFLICT DO NOTHING", [link["_id"], link["hash"]]
        )


def _months_before(day: date) -> Iterator[str]:
    """The months with entries that end on or before the day, and have ended."""
    first = queries.first_moment()
    if first is None:
        return
    limit = min(datetime(day.year, day.month, 1, tzinfo=UTC), clock.now())
    for number in range(seals.month_number(first), seals.month_number(limit)):
        month = seals.month_name(number)
        if queries.has_entries(month):
            yield month


def _require_sealed(month: str, head: Document) -> None:
    waiting = queries.entries_of_month(month).filter(id__gt=head["upto"]).count()
    if waiting:
        raise MonthNotArchived(f"{waiting} entries of {month} are not sealed yet: run seal_audit first.")


def _require_archivist() -> None:
    """Find out who may drop months before anything is written. Raises: MonthNotArchived."""
    with _archivist() as cursor:
        cursor.execute("SELECT has_function_privilege('audit_drop_month(date, bigint)', 'EXECUTE')")
        if not cursor.fetchone()[0]:
            raise MonthNotArchived(
                "This role of PostgreSQL may not drop months: set ARCHIVE_DATABASE_URL to a login of "
                "healthcare_archivist."
            )


def _require_file(month: str, directory: Path, checkpoint: Document) -> None:
    """Have the file of a checkpoint in the folder: the one that is there, or the same made again.

    Raises: MonthNotArchived.
    """
    file = directory / file_name(month)
    if file.is_file() and hash_of_file(file) == checkpoint["file_hash"]:
        return
    _, file_hash = _write_file(month, directory, checkpoint)
    if file_hash != checkpoint["file_hash"]:
        raise MonthNotArchived(
            f"{file} holds what was sealed, but is not the file that was archived, whose SHA-256 is "
            f"{checkpoint['file_hash']}: put that one in its place."
        )


def file_name(month: str) -> str:
    """What a month's archive is called."""
    return f"audit-{month}.jsonl.gz"


def _write_file(month: str, directory: Path, head: Document) -> tuple[int, str]:
    """Put the month's entries into a file that agrees with the seals; their number and the file's SHA-256.

    Raises: MonthNotArchived.
    """
    file, unfinished = directory / file_name(month), directory / f".{file_name(month)}.unfinished"
    # Whom the trail names is nobody else's business.
    with open(unfinished, "wb", opener=partial(os.open, mode=0o600)) as target:
        # No name and no time inside: the same entries make the same file.
        with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as lines:
            for entry in queries.entries(month=month, upto=head["upto"]):
                lines.write(seals.canonical(entry) + b"\n")
        target.flush()
        os.fsync(target.fileno())
    count = 0
    for written, sealed in zip_longest(leaves_of_file(unfinished), queries.leaves_of_month(month, head["_id"])):
        if written != sealed:
            wrong = min(leaf.id for leaf in (written, sealed) if leaf is not None)
            raise MonthNotArchived(f"Entry {wrong} of {month} is not what was sealed: run verify_audit.")
        count += 1
    file_hash = hash_of_file(unfinished)
    manifest = {
        "month": month,
        "file": file.name,
        "sha256": file_hash,
        "entries": count,
        "sealed_by": head["_id"],
        "head": head["hash"],
    }
    (directory / f"audit-{month}.manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)
    _sync(directory)
    return count, file_hash


def hash_of_file(file: Path) -> str:
    """SHA-256."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def leaves_of_file(file: Path) -> Iterator[Leaf]:
    """The leaves of an archive's entries. Raises: ValueError for a file that is none."""
    with gzip.open(file) as lines:
        for line in lines:
            form = line.rstrip(b"\n")
            entry = json.loads(form)
            at = datetime.fromisoformat(entry["at"])
            yield Leaf(entry["id"], seals.digest(form), seals.month_number(at))


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _drop(month: str, *, upto: int) -> bool:
    """Drop the month's partitions, as the role that may: whether there was anything. What came after `upto` stays."""
    with _archivist() as cursor:
        cursor.execute("SELECT audit_drop_month(%s, %s)", [f"{month}-01", upto])
        return bool(cursor.fetchone()[0])


@contextmanager
def _archivist() -> Iterator[Any]:
    """A cursor of the role that may drop months; the application's own where it was given no other."""
    if settings.ARCHIVE_DATABASE_URL:
        with psycopg.connect(settings.ARCHIVE_DATABASE_URL, autocommit=True) as connection:
            yield connection.cursor()
    else:
        with connections[DEFAULT].cursor() as cursor:
            yield cursor

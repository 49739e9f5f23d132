"""Services that seal the audit log and archive its old months."""

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
from healthcare.mongodb.raw import Document
from healthcare.routers import DEFAULT

#: How long sealing waits for transactions that began before it.
SEAL_TIMEOUT_SECONDS = 10.0
#: The number of coming months that have a partition.
MONTHS_AHEAD = 3


class TransactionStillOpen(Exception):
    """A transaction is open for longer than sealing waits, so its entries may not be visible yet."""


class Sealed(NamedTuple):
    """The result of sealing: the numbers of newly sealed entries and of new seals, and the head of the chain."""

    entries: int
    seals: int
    number: int
    hash: str


class Archived(NamedTuple):
    month: str
    entries: int
    file: Path


class MonthNotArchived(Exception):
    """A month cannot be archived now. The message is the reason."""


def seal() -> Sealed:
    """Seal all final entries, up to 5,000 in a seal.

    Two processes may seal at the same time: the number of a seal is its key, so the later one continues after the
    other's seal.

    Raises: TransactionStillOpen.
    """
    final = last_final_id()
    entries = new_seals = 0
    head = queries.head()
    # An earlier run may have ended after it wrote to MongoDB and before it wrote to PostgreSQL.
    _store_head(head)
    while batch := list(queries.entries(after=head["upto"], upto=final, limit=seals.MAX_ENTRIES)):
        upto = batch[-1]["id"] if len(batch) == seals.MAX_ENTRIES else final
        leaves = [seals.leaf_of(entry) for entry in batch]
        try:
            head = _append(head, kind=Seal.Kind.ENTRIES, upto=upto, count=len(leaves), leaves=seals.pack(leaves))
        except IntegrityError:
            head = queries.head()
            continue
        entries, new_seals = entries + len(leaves), new_seals + 1
    return Sealed(entries, new_seals, head["_id"], head["hash"])


def last_final_id() -> int:
    """Return the highest id up to which no further entry can appear.

    A transaction gets its number before its entry gets an id, because the default of the column `id` does both in this
    order. Therefore this function reads the last id of the sequence, takes a transaction number, and waits until all
    transactions with lower numbers have ended. After that, each entry with an id up to the one that was read is either
    committed or rolled back. No lock is held.

    Raises: TransactionStillOpen.
    """
    connection = connections[DEFAULT]
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            # SQLite has one writer at a time, and nobody sees its transaction before the commit.
            cursor.execute("SELECT coalesce(max(id), 0) FROM audit_entries")
            return cursor.fetchone()[0]
        cursor.execute("SELECT last_value FROM audit_entry_id")
        (last,) = cursor.fetchone()
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (own,) = cursor.fetchone()
        deadline = time.monotonic() + SEAL_TIMEOUT_SECONDS
        while True:
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            if cursor.fetchone()[0] > own:
                return last
            if time.monotonic() > deadline:
                raise TransactionStillOpen(
                    "A transaction in PostgreSQL has been open too long, so nothing was sealed. Run the command again."
                )
            time.sleep(0.01)


def make_months() -> list[str]:
    """Create the partitions of this month and the next ones, and return the months that are new."""
    if connections[DEFAULT].vendor != "postgresql":
        return []
    now = seals.month_number(clock.now())
    wanted = [seals.month_name(now + ahead) for ahead in range(MONTHS_AHEAD + 1)]
    with connections[DEFAULT].cursor() as cursor:
        created = []
        for month in wanted:
            cursor.execute("SELECT audit_make_month(%s)", [f"{month}-01"])
            if cursor.fetchone()[0]:
                created.append(month)
    return created


def archive(*, before: date, directory: Path) -> Iterator[Archived]:
    """Move whole months that ended before the day into files. Yields each month after its partitions are dropped.

    The steps for a month are: write the file under another name, read it back and compare it with the seals, rename it,
    append the archive seal to the chain, drop the partitions. A crash at any step can be repaired by another run, also
    with another folder: the file is then written there again.

    Raises: MonthNotArchived, DatabaseError, OSError.
    """
    if connections[DEFAULT].vendor != "postgresql":
        raise MonthNotArchived("Only PostgreSQL stores the audit log by month.")
    _require_drop_privilege()
    directory.mkdir(parents=True, exist_ok=True)
    for month in _months_before(before):
        archive_seal = queries.archive_seal_of(month)
        if archive_seal is not None:
            if not queries.has_entries(month, upto=archive_seal["upto"]):
                continue
            _require_file(month, directory, archive_seal)
        else:
            head = queries.head()
            _require_sealed(month, head)
            count, file_hash = _write_file(month, directory, head)
            archive_seal = _append(
                head, kind=Seal.Kind.ARCHIVE, upto=head["upto"], count=count, month=month, file_hash=file_hash
            )
        # The archiving is recorded before the entries are dropped, and by each run that takes part in it.
        recorder.record("audit.archived", actor=None, subject=month)
        if _drop(month, upto=archive_seal["upto"]):
            yield Archived(month, archive_seal["count"], directory / file_name(month))


def _append(head: Document, **fields: Any) -> Document:
    """Append a seal to the chain. Raises: IntegrityError if another process has appended one."""
    seal: Document = {
        "_id": head["_id"] + 1,
        "sealed_at": clock.now(),
        "after": head["upto"],
        "leaves": b"",
        "month": None,
        "file_hash": None,
        **fields,
        "kind": str(fields["kind"]),
        "previous": head["hash"],
    }
    seal["hash"] = seals.hash_of(seal)
    raw.collection(Seal).insert_one(seal)
    _store_head(seal)
    return seal


def _store_head(seal: Document) -> None:
    """Store the hash of a seal in PostgreSQL, once. By this hash `verify_audit` detects a truncated chain."""
    if not seal["_id"]:
        return
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_heads (number, hash) VALUES (%s, %s) ON CONFLICT DO NOTHING", [seal["_id"], seal["hash"]]
        )


def _months_before(day: date) -> Iterator[str]:
    """Yield the months with entries that have ended, and that end on or before the day."""
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
        raise MonthNotArchived(f"{waiting} entries of {month} are not sealed yet. Run seal_audit first.")


def _require_drop_privilege() -> None:
    """Check the privilege to drop months before anything is written. Raises: MonthNotArchived."""
    with _archive_cursor() as cursor:
        cursor.execute("SELECT has_function_privilege('audit_drop_month(date, bigint)', 'EXECUTE')")
        if not cursor.fetchone()[0]:
            raise MonthNotArchived(
                "This role of PostgreSQL may not drop months. Set ARCHIVE_DATABASE_URL to a login of "
                "healthcare_archivist."
            )


def _require_file(month: str, directory: Path, archive_seal: Document) -> None:
    """Ensure that the folder has the file of an archive seal; write it again if it is missing.

    Raises: MonthNotArchived.
    """
    file = directory / file_name(month)
    if file.is_file() and hash_of_file(file) == archive_seal["file_hash"]:
        return
    _, file_hash = _write_file(month, directory, archive_seal)
    if file_hash != archive_seal["file_hash"]:
        raise MonthNotArchived(
            f"{file} holds the sealed entries, but is not the archived file, whose SHA-256 is "
            f"{archive_seal['file_hash']}. Replace it by the archived file."
        )


def file_name(month: str) -> str:
    """Return the name of the file of an archived month."""
    return f"audit-{month}.jsonl.gz"


def _write_file(month: str, directory: Path, head: Document) -> tuple[int, str]:
    """Write the month's entries to a file, compare it with the seals, and return their number and the file's SHA-256.

    Raises: MonthNotArchived.
    """
    file, unfinished = directory / file_name(month), directory / f".{file_name(month)}.unfinished"
    # Only the owner may read the file, because it names patients.
    with open(unfinished, "wb", opener=partial(os.open, mode=0o600)) as target:
        # The gzip header has no file name and no time, so that the same entries always give the same file.
        with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as lines:
            for entry in queries.entries(month=month, upto=head["upto"]):
                lines.write(seals.canonical(entry) + b"\n")
        target.flush()
        os.fsync(target.fileno())
    count = 0
    for written, sealed in zip_longest(leaves_of_file(unfinished), queries.leaves_of_month(month, head["_id"])):
        if written != sealed:
            wrong = min(leaf.id for leaf in (written, sealed) if leaf is not None)
            raise MonthNotArchived(f"Entry {wrong} of {month} is not what was sealed. Run verify_audit.")
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
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def leaves_of_file(file: Path) -> Iterator[Leaf]:
    """Yield the leaves of the entries in an archived file. Raises: ValueError if the file is no archive."""
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
    """Drop the month's partitions; return whether there were any. Entries that arrived after `upto` stay."""
    with _archive_cursor() as cursor:
        cursor.execute("SELECT audit_drop_month(%s, %s)", [f"{month}-01", upto])
        return bool(cursor.fetchone()[0])


@contextmanager
def _archive_cursor() -> Iterator[Any]:
    """Yield a cursor of the role of ARCHIVE_DATABASE_URL, or of the application's role if it is not set."""
    if settings.ARCHIVE_DATABASE_URL:
        with psycopg.connect(settings.ARCHIVE_DATABASE_URL, autocommit=True) as connection:
            yield connection.cursor()
    else:
        with connections[DEFAULT].cursor() as cursor:
            yield cursor

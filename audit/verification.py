"""Verification of the audit log: compares entries and seals and reports differences."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from django.db import connections

from audit import queries, seals, services
from audit.models import Seal
from healthcare.mongodb.raw import Document
from healthcare.routers import DEFAULT

#: The kinds of differences, in the order in which they are reported.
KINDS = ("broken seal", "altered", "removed", "inserted", "hidden", "added", "archive")


@dataclass
class Difference:
    """All differences of one kind: their number, and a sentence about the first."""

    count: int
    first: str


@dataclass
class Verification:
    """The result of a verification."""

    seal_count: int = 0
    entries: int = 0
    archived: int = 0
    unsealed: int = 0
    head: str = seals.GENESIS_HASH
    differences: dict[str, Difference] = field(default_factory=dict)

    def add(self, kind: str, sentence: str) -> None:
        self.differences.setdefault(kind, Difference(0, sentence)).count += 1


def verify(*, head: str | None = None, directory: Path | None = None) -> Verification:
    """Compare the seals with the entries, both in the order of arrival.

    `head` is the hash of a seal that somebody wrote down. The chain must contain it; otherwise it was cut after that
    seal or started again. `directory` has the files of archived months, which are verified if it is given.
    """
    result = Verification()
    # The archive seals are read before the chain, so that a month that is archived meanwhile is no difference.
    archive_seals: dict[str, Document | None] = {**queries.archive_seals()}
    stored_heads = queries.stored_heads(upto=queries.last_stored_head())
    stored = next(stored_heads, None)
    number, previous, upto, has_head = 0, seals.GENESIS_HASH, 0, False
    for seal in queries.all_seals():
        for sentence in _broken(seal, number, previous, upto):
            result.add("broken seal", sentence)
        number, previous = seal["_id"], seal["hash"]
        has_head = has_head or previous == head
        while stored is not None and stored[0] <= number:
            if stored[0] == number and stored[1] != previous:
                result.add("broken seal", f"Seal {number} is not the one whose hash PostgreSQL has.")
            stored = next(stored_heads, None)
        result.seal_count += 1
        if seal["kind"] == Seal.Kind.ENTRIES:
            _compare(seal, archive_seals, result)
            upto = seal["upto"]
    result.head = previous
    while stored is not None:
        result.add("broken seal", f"Seal {stored[0]} is missing: PostgreSQL has its hash.")
        stored = next(stored_heads, None)
    if head is not None and not has_head and head != seals.GENESIS_HASH:
        result.add("broken seal", f"No seal has the hash {head}: the chain was cut or started again.")
    _check_patients(upto, result)
    result.unsealed = queries.count_unsealed(upto)
    for month, archive_seal in archive_seals.items():
        if archive_seal is not None:
            _check_month(month, archive_seal, directory, result)
    return result


def _broken(seal: Document, number: int, previous: str, upto: int) -> Iterator[str]:
    name = f"Seal {seal['_id']}"
    if seal["_id"] != number + 1:
        yield f"Seal {number + 1} is missing."
    elif seal["previous"] != previous:
        yield f"{name} does not continue seal {number}."
    elif seal["after"] != upto and seal["kind"] == Seal.Kind.ENTRIES:
        yield f"{name} does not begin where seal {number} ends."
    if seal["hash"] != seals.hash_of(seal):
        yield f"{name} of {seal['sealed_at']:%Y-%m-%d %H:%M} was changed: its content has another hash."


def _compare(seal: Document, archive_seals: dict[str, Document | None], result: Verification) -> None:
    """Compare the entries of one seal with its leaves."""
    try:
        sealed = {leaf.id: leaf for leaf in seals.unpack(seal["leaves"])}
    except ValueError:
        # The hash of this seal is wrong too, so the difference is reported already.
        return
    for entry in queries.entries(after=seal["after"], upto=seal["upto"]):
        result.entries += 1
        leaf = sealed.pop(entry["id"], None)
        if leaf is None:
            result.add("inserted", f"Entry {_name(entry)} was inserted after seal {seal['_id']} was made.")
        elif leaf != seals.leaf_of(entry):
            result.add("altered", f"Entry {_name(entry)} is not what seal {seal['_id']} says.")
    for leaf in sealed.values():
        month = seals.month_name(leaf.month)
        if month not in archive_seals:
            # The month may have been archived since the verification began.
            archive_seals[month] = queries.archive_seal_of(month)
        archive_seal = archive_seals[month]
        if archive_seal is not None and seal["_id"] < archive_seal["_id"]:
            result.archived += 1
        else:
            result.add("removed", f"Entry {leaf.id} of {month} was removed; seal {seal['_id']} has it.")


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['id']} ({entry['at']:%Y-%m-%d %H:%M:%S} UTC, {entry['action']})"


def _check_patients(upto: int, result: Verification) -> None:
    """Verify the rows by which patients find their entries. A missing row hides an entry from its patient."""
    if connections[DEFAULT].vendor != "postgresql":
        return
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(_HIDDEN, [upto])
        for number, hidden in _rows_of(cursor):
            result.add("hidden", f"Entry {number} cannot be found under {hidden} of its patients.")
        cursor.execute(_ADDED, [upto])
        for number, patient_id in _rows_of(cursor):
            result.add("added", f"Entry {number} can be found under {patient_id}, whom it does not name.")


_HIDDEN = """
    SELECT id, missing FROM (
        SELECT e.id, cardinality(e.patient_ids) - (
            SELECT count(*) FROM audit_patients p
            WHERE p.at = e.at AND p.entry_id = e.id AND p.patient_id = ANY (e.patient_ids)
        ) AS missing
        FROM audit_entries e WHERE e.id <= %s AND cardinality(e.patient_ids) > 0
    ) AS counted
    WHERE missing > 0 ORDER BY id
"""
_ADDED = """
    SELECT p.entry_id, p.patient_id FROM audit_patients p LEFT JOIN audit_entries e ON e.at = p.at AND e.id = p.entry_id
    WHERE p.entry_id <= %s AND (e.id IS NULL OR NOT p.patient_id = ANY (e.patient_ids)) ORDER BY 1, 2
"""


def _rows_of(cursor: Any) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(1_000):
        yield from rows


def _check_month(month: str, archive_seal: Document, directory: Path | None, result: Verification) -> None:
    sealed = sum(1 for _ in queries.leaves_of_month(month, archive_seal["_id"]))
    if sealed != archive_seal["count"]:
        result.add("archive", f"{month} was archived with {archive_seal['count']} entries, but {sealed} were sealed.")
    if directory is None:
        return
    file = directory / services.file_name(month)
    try:
        pairs = zip_longest(services.leaves_of_file(file), queries.leaves_of_month(month, archive_seal["_id"]))
        wrong = next(((written, leaf) for written, leaf in pairs if written != leaf), None)
    except (OSError, ValueError, EOFError, KeyError) as error:
        result.add("archive", f"{file.name} cannot be read: {type(error).__name__}.")
        return
    if wrong is not None:
        number = min(leaf.id for leaf in wrong if leaf is not None)
        result.add("archive", f"Entry {number} in {file.name} is not what was sealed.")
    elif services.hash_of_file(file) != archive_seal["file_hash"]:
        result.add("archive", f"{file.name} is not the file that was archived, though its entries are.")

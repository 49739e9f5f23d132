"""Comparing the audit trail with its seals: what was altered, removed or inserted, and which seal is broken."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from django.db import connections

from audit import queries, seals, services
from audit.models import Seal
from healthcare.routers import DEFAULT

Document = dict[str, Any]

#: What can be wrong, in the order in which it is told.
KINDS = ("broken seal", "altered", "removed", "inserted", "hidden", "added", "archive")


@dataclass
class Finding:
    """All differences of one kind: how many, and the first in words."""

    count: int
    first: str


@dataclass
class Verification:
    """What a comparison found."""

    links: int = 0
    entries: int = 0
    archived: int = 0
    unsealed: int = 0
    head: str = seals.BEGINNING
    findings: dict[str, Finding] = field(default_factory=dict)

    def note(self, kind: str, sentence: str) -> None:
        found = self.findings.setdefault(kind, Finding(0, sentence))
        found.count += 1


def verify(*, head: str | None = None, directory: Path | None = None) -> Verification:
    """Go through the chain and the entries side by side, both by the order of arrival.

    `head`: the hash of a seal that somebody noted; a chain that was cut off behind it, or begun anew, is found by that
    alone. `directory`: where the files of archived months are, to be checked as well.
    """
    result = Verification()
    # Read before the chain: what is sealed meanwhile is no difference.
    checkpoints: dict[str, Document | None] = {**queries.checkpoints()}
    noted = queries.noted(upto=queries.last_noted())
    note = next(noted, None)
    number, previous, upto, seen = 0, seals.BEGINNING, 0, False
    for seal in queries.all_seals():
        for sentence in _broken(seal, number, previous, upto):
            result.note("broken seal", sentence)
        number, previous = seal["_id"], seal["hash"]
        seen = seen or previous == head
        while note is not None and note[0] <= number:
            if note[0] == number and note[1] != previous:
                result.note("broken seal", f"Seal {number} is not the one that PostgreSQL has a note of.")
            note = next(noted, None)
        result.links += 1
        if seal["kind"] == Seal.Kind.ENTRIES:
            _compare(seal, checkpoints, result)
            upto = seal["upto"]
    result.head = previous
    while note is not None:
        result.note("broken seal", f"Seal {note[0]} is missing: PostgreSQL has a note of it.")
        note = next(noted, None)
    if head is not None and not seen and head != seals.BEGINNING:
        result.note("broken seal", f"No seal has the hash {head}: the chain was cut or begun anew.")
    _check_patients(upto, result)
    result.unsealed = queries.unsealed(upto)
    for month, checkpoint in checkpoints.items():
        if checkpoint is not None:
            _check_month(month, checkpoint, directory, result)
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


def _compare(seal: Document, checkpoints: dict[str, Document | None], result: Verification) -> None:
    """The entries of one seal with its leaves."""
    try:
        sealed = {leaf.id: leaf for leaf in seals.unpack(seal["leaves"])}
    except ValueError:
        # Its hash is wrong as well, and on record as that.
        return
    for entry in queries.entries(after=seal["after"], upto=seal["upto"]):
        result.entries += 1
        leaf = sealed.pop(entry["id"], None)
        if leaf is None:
            result.note("inserted", f"Entry {_name(entry)} was inserted after seal {seal['_id']} was made.")
        elif leaf != seals.leaf_of(entry):
            result.note("altered", f"Entry {_name(entry)} is not what seal {seal['_id']} says.")
    for leaf in sealed.values():
        month = seals.month_name(leaf.month)
        if month not in checkpoints:
            # It may have been archived since.
            checkpoints[month] = queries.checkpoint_of(month)
        checkpoint = checkpoints[month]
        if checkpoint is not None and seal["_id"] < checkpoint["_id"]:
            result.archived += 1
        else:
            result.note("removed", f"Entry {leaf.id} of {month} was removed; seal {seal['_id']} has it.")


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['id']} ({entry['at']:%Y-%m-%d %H:%M:%S} UTC, {entry['action']})"


def _check_patients(upto: int, result: Verification) -> None:
    """The rows by which patients find their entries: none missing, which would hide an entry, and none too many."""
    if connections[DEFAULT].vendor != "postgresql":
        return
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(_HIDDEN, [upto])
        for number, hidden in _counted(cursor):
            result.note("hidden", f"Entry {number} is not to be found under {hidden} of its patients.")
        cursor.execute(_ADDED, [upto])
        for number, patient_id in _counted(cursor):
            result.note("added", f"Entry {number} is to be found under {patient_id}, whom it does not name.")


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


def _counted(cursor: Any) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(1_000):
        yield from rows


def _check_month(month: str, checkpoint: Document, directory: Path | None, result: Verification) -> None:
    sealed = sum(1 for _ in queries.leaves_of_month(month, checkpoint["_id"]))
    if sealed != checkpoint["count"]:
        result.note("archive", f"{month} was archived with {checkpoint['count']} entries, and {sealed} were sealed.")
    if directory is None:
        return
    file = directory / services.file_name(month)
    try:
        pairs = zip_longest(services.leaves_of_file(file), queries.leaves_of_month(month, checkpoint["_id"]))
        wrong = next(((written, leaf) for written, leaf in pairs if written != leaf), None)
    except (OSError, ValueError, EOFError, KeyError) as error:
        result.note("archive", f"{file.name} cannot be read: {type(error).__name__}.")
        return
    if wrong is not None:
        number = min(leaf.id for leaf in wrong if leaf is not None)
        result.note("archive", f"Entry {number} in {file.name} is not what was sealed.")
    elif services.hash_of_file(file) != checkpoint["file_hash"]:
        result.note("archive", f"{file.name} is not the file that was archived, though its entries are.")

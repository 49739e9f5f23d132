"""What a seal says, as pure functions: the form of an entry, its leaf, the hash of a link.

An entry's canonical form is JSON with sorted keys, every column of it. Its leaf is its id, half of the SHA-256 of the
form, and its month: 26 bytes, so that the seals of ten million entries take 260 MB. The hash of a seal covers its
leaves and the hash of the seal before it.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from healthcare.audit_log.models import AuditEntry

#: What the first seal continues.
BEGINNING = "0" * 64
#: Entries that one seal covers at most.
LENGTH = 5_000
LEAF = struct.Struct(">q16sH")
COLUMNS = tuple(field.name for field in AuditEntry._meta.concrete_fields)

Document = Mapping[str, Any]


class Leaf(NamedTuple):
    id: int
    digest: bytes
    #: Months since January 1970, UTC.
    month: int


def canonical(entry: Mapping[str, Any]) -> bytes:
    """The one form of an entry: a line of an archive's file, and what its digest is made of."""
    moment = entry["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return json.dumps({**entry, "at": moment}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def leaf_of(entry: Mapping[str, Any]) -> Leaf:
    return Leaf(entry["id"], digest(canonical(entry)), month_number(entry["at"]))


def digest(form: bytes) -> bytes:
    return hashlib.sha256(form).digest()[:16]


def month_number(moment: datetime) -> int:
    utc = moment.astimezone(UTC)
    return (utc.year - 1970) * 12 + utc.month - 1


def month_name(number: int) -> str:
    """ "2026-11"."""
    return f"{1970 + number // 12}-{number % 12 + 1:02d}"


def pack(leaves: Iterable[Leaf]) -> bytes:
    return b"".join(LEAF.pack(*leaf) for leaf in leaves)


def unpack(leaves: bytes) -> Iterator[Leaf]:
    """Raises: ValueError for what was never packed."""
    try:
        yield from (Leaf(*values) for values in LEAF.iter_unpack(leaves))
    except struct.error as error:
        raise ValueError("The leaves of a seal are not whole.") from error


def hash_of(seal: Document) -> str:
    """What the seal's `hash` has to be; `seal` is a document of the collection."""
    said = {
        "number": seal["_id"],
        "kind": seal["kind"],
        "sealed_at": seal["sealed_at"].astimezone(UTC).isoformat(timespec="milliseconds"),
        "after": seal["after"],
        "upto": seal["upto"],
        "count": seal["count"],
        "leaves": hashlib.sha256(seal["leaves"]).hexdigest(),
        "month": seal["month"],
        "file_hash": seal["file_hash"],
        "previous": seal["previous"],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

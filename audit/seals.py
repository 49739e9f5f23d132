"""Hashes of the audit log as pure functions: the canonical form of an entry, its leaf, and the hash of a seal.

The canonical form of an entry is JSON with sorted keys and every column. The leaf of an entry is its id, half of the
SHA-256 of the canonical form, and its month: 26 bytes, so that the seals of ten million entries take 260 MB. The hash
of a seal covers its leaves and the hash of the seal before it.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from healthcare.audit_log.models import AuditEntry

#: The previous hash in the first seal, which has no predecessor.
GENESIS_HASH = "0" * 64
#: The maximum number of entries that one seal covers.
MAX_ENTRIES = 5_000
LEAF = struct.Struct(">q16sH")
COLUMNS = tuple(field.name for field in AuditEntry._meta.concrete_fields)

Document = Mapping[str, Any]


class Leaf(NamedTuple):
    id: int
    digest: bytes
    #: Months since January 1970 in UTC.
    month: int


def canonical(entry: Mapping[str, Any]) -> bytes:
    """Return the canonical form of an entry, which is hashed and is a line in the file of an archived month."""
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
    """Return a name such as "2026-11"."""
    return f"{1970 + number // 12}-{number % 12 + 1:02d}"


def pack(leaves: Iterable[Leaf]) -> bytes:
    return b"".join(LEAF.pack(*leaf) for leaf in leaves)


def unpack(leaves: bytes) -> Iterator[Leaf]:
    """Yield the leaves of a seal. Raises: ValueError if the bytes are not whole leaves."""
    try:
        yield from (Leaf(*values) for values in LEAF.iter_unpack(leaves))
    except struct.error as error:
        raise ValueError("The leaves of a seal are not whole.") from error


def hash_of(seal: Document) -> str:
    """Return the hash of a seal, which is a document of the collection."""
    hashed = {
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
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()

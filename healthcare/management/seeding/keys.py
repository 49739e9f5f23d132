"""Keys that look as those of `healthcare.keys` and come from the seed alone.

The n-th key of a run is the image of (offset + n) under a fixed bijection of the 50-bit numbers: no two keys of a run
are the same, by construction. Two runs collide only when their ranges of numbers meet: offsets are 50 bits of a hash,
so for two runs of a million visits the chance is about 2 in 1,000,000,000 (random keys would collide once in 1,000).
"""

import hashlib
from datetime import datetime

from bson import ObjectId

from healthcare.keys import ALPHABET

_BITS = 50
_MASK = (1 << _BITS) - 1
# Odd, so that multiplication is a bijection; the constants of splitmix64, cut to size.
_FACTORS = (0xBF58476D1CE4E5B9 & _MASK | 1, 0x94D049BB133111EB & _MASK | 1)
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_ID_MASK = (1 << 64) - 1


def offset(*parts: object) -> int:
    """Where the numbers of a run begin; 64 bits."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])


def key(prefix: str, number: int) -> str:
    """The key of a number; numbers that differ by less than 2^50 have different keys."""
    n = number & _MASK
    n ^= n >> 27
    n = n * _FACTORS[0] & _MASK
    n ^= n >> 23
    n = n * _FACTORS[1] & _MASK
    n ^= n >> 29
    return (
        f"{prefix}{_PAIRS[n >> 40]}{_PAIRS[n >> 30 & 1023]}{_PAIRS[n >> 20 & 1023]}"
        f"{_PAIRS[n >> 10 & 1023]}{_PAIRS[n & 1023]}"
    )


def object_id(number: int, made_at: datetime) -> ObjectId:
    """An ObjectId of that second whose other 8 bytes are the number."""
    return ObjectId(int(made_at.timestamp()).to_bytes(4) + (number & _ID_MASK).to_bytes(8))

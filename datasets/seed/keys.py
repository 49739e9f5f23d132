"""Primary keys of seeded records, which have the form of `healthcare.ids` and depend only on the seed.

The first three characters after the prefix belong to the block. The last seven are the image of (offset + n) under a
fixed bijection of the 35-bit numbers, so two keys of one block are never the same. Two runs can collide only where two
of their blocks share the first three characters and their ranges of numbers overlap. For two runs of a million visits
the probability is about 2 in 10,000,000; with random keys it would be 1 in 1,000.

The keys of a block are close together in every index that begins with them. When the keys were spread over the whole
space, mongod with a cache of 256 MB read and wrote four index pages for each visit, which was most of its work.
"""

import hashlib
from datetime import datetime
from typing import NamedTuple

from bson import ObjectId

from healthcare.ids import ALPHABET

_MASK = (1 << 35) - 1
_BLOCK_MASK = (1 << 15) - 1
#: Odd, so that the first 2^15 blocks have different places; neighbouring blocks are far apart.
_BLOCK_FACTOR = 20_245
# Odd, so that multiplication is a bijection: the constants of splitmix64, cut to 35 bits.
_FACTORS = (0xBF58476D1CE4E5B9 & _MASK | 1, 0x94D049BB133111EB & _MASK | 1)
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_ID_MASK = (1 << 64) - 1


def offset(*parts: object) -> int:
    """Return the 64-bit number at which the numbers of a run begin."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])


class KeySpace(NamedTuple):
    """The keys of one kind of record in one block."""

    prefix: str
    offset: int

    def key(self, number: int) -> str:
        """Return the key of a number. Numbers that differ by less than 2^35 have different keys."""
        n = (self.offset + number) & _MASK
        n ^= n >> 18
        n = n * _FACTORS[0] & _MASK
        n ^= n >> 17
        n = n * _FACTORS[1] & _MASK
        n ^= n >> 19
        return f"{self.prefix}{_PAIRS[n >> 25]}{_PAIRS[n >> 15 & 1023]}{_PAIRS[n >> 5 & 1023]}{ALPHABET[n & 31]}"


def key_space(prefix: str, block: int, *run: object) -> KeySpace:
    """Return the keys with this prefix in a block of the run."""
    start = offset(prefix, *run)
    place = (start + block) * _BLOCK_FACTOR & _BLOCK_MASK
    return KeySpace(f"{prefix}{_PAIRS[place >> 5]}{ALPHABET[place & 31]}", start >> 16)


def object_id(number: int, created_at: datetime) -> ObjectId:
    """Return the ObjectId of a second whose other 8 bytes are the number."""
    return ObjectId(int(created_at.timestamp()).to_bytes(4) + (number & _ID_MASK).to_bytes(8))

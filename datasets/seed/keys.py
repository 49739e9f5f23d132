"""Keys that look as those of `healthcare.ids` and come from the seed alone.

The last seven characters of a run's n-th key are the image of (offset + n) under a fixed bijection of the 35-bit
numbers: no two keys of a run are the same, by construction. The first three are those of the block. Two runs collide
only where two of their blocks share these and their ranges of numbers meet: for two runs of a million visits the chance
is about 2 in 10,000,000 (random keys would collide once in 1,000).

Keys of a block lie together so that they do in every index that begins with them: with keys spread over the whole
space mongod (cache of 256 MB) read and wrote four index pages for each visit, which was most of its work.
"""

import hashlib
from datetime import datetime
from typing import NamedTuple

from bson import ObjectId

from healthcare.ids import ALPHABET

_MASK = (1 << 35) - 1
_BLOCK_MASK = (1 << 15) - 1
#: Odd: neighbouring blocks lie far apart, and the first 2^15 of them in different places.
_BLOCK_FACTOR = 20_245
# Odd, so that multiplication is a bijection; the constants of splitmix64, cut to size.
_FACTORS = (0xBF58476D1CE4E5B9 & _MASK | 1, 0x94D049BB133111EB & _MASK | 1)
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_ID_MASK = (1 << 64) - 1


def offset(*parts: object) -> int:
    """Where the numbers of a run begin; 64 bits."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])


class Space(NamedTuple):
    """The keys of one kind in one block."""

    prefix: str
    offset: int

    def key(self, number: int) -> str:
        """The key of a number; numbers that differ by less than 2^35 have different keys."""
        n = (self.offset + number) & _MASK
        n ^= n >> 18
        n = n * _FACTORS[0] & _MASK
        n ^= n >> 17
        n = n * _FACTORS[1] & _MASK
        n ^= n >> 19
        return f"{self.prefix}{_PAIRS[n >> 25]}{_PAIRS[n >> 15 & 1023]}{_PAIRS[n >> 5 & 1023]}{ALPHABET[n & 31]}"


def space(prefix: str, block: int, *run: object) -> Space:
    """The keys that begin with `prefix` of a block of the run."""
    start = offset(prefix, *run)
    place = (start + block) * _BLOCK_FACTOR & _BLOCK_MASK
    return Space(f"{prefix}{_PAIRS[place >> 5]}{ALPHABET[place & 31]}", start >> 16)


def object_id(number: int, made_at: datetime) -> ObjectId:
    """An ObjectId of that second whose other 8 bytes are the number."""
    return ObjectId(int(made_at.timestamp()).to_bytes(4) + (number & _ID_MASK).to_bytes(8))

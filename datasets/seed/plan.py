"""The plan of a run of the seeder: blocks that any process can make, in any order.

A run divides its patients into blocks and its doctors into practices. Each block belongs to one practice, whose doctors
its patients see. The blocks of a practice share the slots of its doctors by number, so that no two blocks use the same
slot and no block needs to know what another one did. All random numbers of a block come from (seed, run, block).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from random import Random
from typing import NamedTuple

#: A block is in memory as a whole. Large blocks are stored faster, because their documents are inserted in the order of
#: days, so that each page of an index gets many entries at once. Small blocks let the progress bar move.
BLOCK_PATIENTS = 1_000
BLOCK_RECORDS = 30_000
MIN_BLOCKS = 20
DOCTORS_PER_PRACTICE = 40

DAYS = 3 * 365
DAYS_AHEAD = 45
WEEKS = DAYS // 7 + 2

#: More records of one kind for one patient in three years are not plausible, and a block would not fit into memory.
MAX_PER_PATIENT = 500


class Sizes(NamedTuple):
    """The number of records of each kind; `bills` counts only those without a visit."""

    patients: int
    doctors: int
    appointments: int
    prescriptions: int
    bills: int

    @property
    def total(self) -> int:
        return sum(self)


@dataclass(frozen=True)
class Block:
    number: int
    practice: int
    #: The position of this block among the blocks of its practice, and how many there are: its share of the slots.
    share: int
    shares: int
    patients: range
    appointments: range
    prescriptions: range
    bills: range


@dataclass(frozen=True)
class Plan:
    """One run of the seeder.

    `run` distinguishes the runs of `--append`; it is empty in the run that fills an empty system.
    """

    seed: int
    as_of: date
    sizes: Sizes
    run: str = ""
    #: The number of the first bill.
    first_bill: int = 1

    @property
    def first_day(self) -> date:
        return self.last_day - timedelta(days=DAYS - 1)

    @property
    def last_day(self) -> date:
        return self.as_of + timedelta(days=DAYS_AHEAD)

    @property
    def first_monday(self) -> date:
        return self.first_day - timedelta(days=self.first_day.weekday())

    def rng(self, *parts: object) -> Random:
        """Return the random number generator of one part of the run.

        The seed is a string, because the hash of other objects depends on PYTHONHASHSEED.
        """
        return Random(f"{self.seed} {self.run} {self.as_of} {' '.join(map(str, parts))}")  # noqa: S311 - invented data, no secrets

    @cached_property
    def block_count(self) -> int:
        by_patients = -(-self.sizes.patients // BLOCK_PATIENTS)
        by_records = -(-(self.sizes.total - self.sizes.doctors) // BLOCK_RECORDS)
        # A block of fewer than 50 patients is not worth a smoother progress bar.
        at_least = min(MIN_BLOCKS, self.sizes.patients // 50)
        return min(max(by_patients, by_records, at_least, 1), self.sizes.patients)

    @cached_property
    def practice_count(self) -> int:
        return max(1, min(self.sizes.doctors // DOCTORS_PER_PRACTICE, self.block_count))

    def block(self, number: int) -> Block:
        # The blocks of a practice follow one another, so that the index by doctor gets neighbouring entries.
        practice = number * self.practice_count // self.block_count
        first, after = (-(-each * self.block_count // self.practice_count) for each in (practice, practice + 1))
        return Block(
            number=number,
            practice=practice,
            share=number - first,
            shares=after - first,
            patients=self._range_of(self.sizes.patients, number),
            appointments=self._range_of(self.sizes.appointments, number),
            prescriptions=self._range_of(self.sizes.prescriptions, number),
            bills=self._range_of(self.sizes.bills, number),
        )

    def _range_of(self, total: int, block: int) -> range:
        return range(total * block // self.block_count, total * (block + 1) // self.block_count)

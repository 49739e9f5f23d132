"""What one run of the seeder makes, cut into blocks that can be made in any order and by any process.

The patients are cut into blocks, the doctors into houses, and each block belongs to one house: its patients see the
doctors of that house. The slots of a doctor are dealt to the blocks of the house by number, so that no two blocks ever
use one slot, and none needs to know what another did. Everything random in a block comes from (seed, run, block).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from random import Random
from typing import NamedTuple

#: A block is in memory as a whole. It is large, as its documents are inserted in the order of their days: the more of
#: them, the more of its entries each page of an index gets at once. But the progress bar should move.
BLOCK_PATIENTS = 1_000
BLOCK_RECORDS = 30_000
FEWEST_BLOCKS = 20
DOCTORS_PER_HOUSE = 40

DAYS = 3 * 365
DAYS_AHEAD = 45
WEEKS = DAYS // 7 + 2

#: More for each patient in three years is no plausible record, and a block would not fit into memory.
MOST_PER_PATIENT = 500


class Sizes(NamedTuple):
    """How many of each; `bills` counts those without a visit."""

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
    house: int
    #: This block's turn among the blocks of its house.
    turn: int
    turns: int
    patients: range
    appointments: range
    prescriptions: range
    bills: range

    @property
    def records(self) -> int:
        return sum(len(each) for each in (self.patients, self.appointments, self.prescriptions, self.bills))


@dataclass(frozen=True)
class Plan:
    """One run. `run` tells apart what `--append` adds: the run that fills an empty system has an empty one."""

    seed: int
    as_of: date
    sizes: Sizes
    run: str = ""
    #: The first number of a bill.
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

    def chance(self, *parts: object) -> Random:
        """The dice of one part of the run; a string seed does not depend on PYTHONHASHSEED."""
        return Random(f"{self.seed} {self.run} {self.as_of} {' '.join(map(str, parts))}")  # noqa: S311

    @cached_property
    def block_count(self) -> int:
        of_patients = -(-self.sizes.patients // BLOCK_PATIENTS)
        of_records = -(-(self.sizes.total - self.sizes.doctors) // BLOCK_RECORDS)
        # Not below 50 patients for the sake of the bar.
        return min(max(of_patients, of_records, min(FEWEST_BLOCKS, self.sizes.patients // 50), 1), self.sizes.patients)

    @cached_property
    def house_count(self) -> int:
        return max(1, min(self.sizes.doctors // DOCTORS_PER_HOUSE, self.block_count))

    def block(self, number: int) -> Block:
        # One house after the other: what is written at a time lies together in the index by doctor.
        house = number * self.house_count // self.block_count
        first, after = (-(-each * self.block_count // self.house_count) for each in (house, house + 1))
        return Block(
            number=number,
            house=house,
            turn=number - first,
            turns=after - first,
            patients=self._share(self.sizes.patients, number),
            appointments=self._share(self.sizes.appointments, number),
            prescriptions=self._share(self.sizes.prescriptions, number),
            bills=self._share(self.sizes.bills, number),
        )

    def _share(self, total: int, block: int) -> range:
        return range(total * block // self.block_count, total * (block + 1) // self.block_count)

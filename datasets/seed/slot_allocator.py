"""Allocation of the doctors' slots to visits: no two visits share a slot, and a patient's visits do not overlap."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import NamedTuple

from datasets.seed.plan import Block, Plan
from datasets.seed.staff import MINUTES_OF_DAY, Doctor, Slot, instant_or_none, midnight, minutes_ahead_of_utc


class Allocation(NamedTuple):
    """A slot on a day. Days and minutes count from midnight UTC of the plan's first Monday."""

    day: int
    time: str
    starts_minute: int


class Window(NamedTuple):
    """The days on which a patient may have visits, the first and the last included."""

    first: int
    last: int


class SlotAllocator:
    """The slots of a practice that belong to one block, and those of them that are taken.

    A slot has a position in the week of its doctor. The slot belongs to the block whose share is
    (position + 3 * week) modulo the number of shares, so that a block gets other times of day in other weeks.
    """

    def __init__(self, plan: Plan, block: Block, rng: Random) -> None:
        self.plan = plan
        self.share = block.share
        self.shares = block.shares
        self.rng = rng
        self.taken: set[tuple[int, int, int]] = set()

    def allocate(self, doctor: Doctor, *, about: int, window: Window, busy: list[tuple[int, int]]) -> Allocation | None:
        """Take the free slot nearest to the week of the day `about`, or return None if the doctor has no free slot.

        `busy` holds the first and the last minute of the patient's other visits. The new visit is added to it.
        """
        slots = doctor.slots
        for week in _weeks_around(about // 7, window):
            positions = range((self.share - 3 * week) % self.shares, len(slots), self.shares)
            if not positions:
                continue
            begin = int(self.rng.random() * len(positions))
            for position in (*positions[begin:], *positions[:begin]):
                slot = slots[position]
                day = week * 7 + slot.weekday
                if (
                    not window.first <= day <= window.last
                    or day in doctor.closed
                    or (doctor.number, week, position) in self.taken
                ):
                    continue
                starts = self._minute(doctor, day, slot)
                if starts is None:
                    continue
                ends = starts + doctor.slot_minutes
                if any(starts < end and start < ends for start, end in busy):
                    continue
                self.taken.add((doctor.number, week, position))
                busy.append((starts, ends))
                return Allocation(day, slot.time, starts)
        return None

    def _minute(self, doctor: Doctor, day: int, slot: Slot) -> int | None:
        """Return the UTC minute of a slot, or None if the clocks skip its time on that day."""
        date = self.plan.first_monday + timedelta(days=day)
        ahead = minutes_ahead_of_utc(doctor.place.time_zone, date)
        if ahead is not None:
            return day * MINUTES_OF_DAY + slot.minute - ahead
        starts_at = instant_or_none(date, slot.time, doctor.place.time_zone)
        if starts_at is None:
            return None
        return int((starts_at - midnight(self.plan.first_monday)).total_seconds()) // 60


def nearest_working_day(doctor: Doctor, *, about: int, window: Window) -> int:
    """Return the day nearest to `about` on which the doctor works, or `about` if the window has no such day."""
    weekdays = {slot.weekday for slot in doctor.slots}
    for distance in range(21):
        for day in (about - distance, about + distance):
            if window.first <= day <= window.last and day % 7 in weekdays and day not in doctor.closed:
                return day
    return about


def _weeks_around(week: int, window: Window) -> Iterator[int]:
    """Yield the weeks of the window, beginning with the given one and then by distance from it."""
    first, last = window.first // 7, window.last // 7
    yield week
    for distance in range(1, last - first + 1):
        if week + distance <= last:
            yield week + distance
        if week - distance >= first:
            yield week - distance

"""Which slots of the doctors a block has taken: no two visits share one, and none of a patient's overlap."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from datasets.seed.plan import Block, Plan
from datasets.seed.staff import MINUTES_OF_DAY, Doctor, Slot, instant_or_none, midnight, minutes_ahead_of_utc


class Booking(NamedTuple):
    """A slot on a day. Days and minutes count from the plan's first Monday, midnight UTC."""

    day: int
    time: str
    starts_minute: int


class Window(NamedTuple):
    """The days on which a patient may have visits, both included."""

    first: int
    last: int


class Diary:
    """The slots that a block may use, and those that it has used.

    Every slot of a house's doctors has a week and a position in it, and belongs to the block whose turn is
    (position + 3 * week) modulo the number of turns: in another week a block has another time of day.
    """

    def __init__(self, plan: Plan, block: Block, chance: Random) -> None:
        self.plan = plan
        self.turn = block.turn
        self.turns = block.turns
        self.chance = chance
        self.taken: set[tuple[int, int, int]] = set()

    def book(self, doctor: Doctor, *, about: int, window: Window, busy: list[tuple[int, int]]) -> Booking | None:
        """Take the free slot nearest to the week of the day `about`; None when the doctor has none left.

        `busy` has the minutes of the patient's other visits, from and to; the new one is added.
        """
        slots = doctor.slots
        for week in _weeks_about(about // 7, window):
            positions = range((self.turn - 3 * week) % self.turns, len(slots), self.turns)
            if not positions:
                continue
            begin = int(self.chance.random() * len(positions))
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
                return Booking(day, slot.time, starts)
        return None

    def _minute(self, doctor: Doctor, day: int, slot: Slot) -> int | None:
        date = self.plan.first_monday + timedelta(days=day)
        ahead = minutes_ahead_of_utc(doctor.place.time_zone, date)
        if ahead is not None:
            return day * MINUTES_OF_DAY + slot.minute - ahead
        moment: datetime | None = instant_or_none(date, slot.time, doctor.place.time_zone)
        if moment is None:
            return None
        return int((moment - midnight(self.plan.first_monday)).total_seconds()) // 60


def open_day(doctor: Doctor, *, about: int, window: Window) -> int:
    """The day nearest to `about` on which the doctor works; `about` itself when there is none in the window."""
    weekdays = {slot.weekday for slot in doctor.slots}
    for distance in range(21):
        for day in (about - distance, about + distance):
            if window.first <= day <= window.last and day % 7 in weekdays and day not in doctor.closed:
                return day
    return about


def _weeks_about(week: int, window: Window) -> Iterator[int]:
    """The weeks of the window, from the given one outwards."""
    first, last = window.first // 7, window.last // 7
    yield week
    for distance in range(1, last - first + 1):
        if week + distance <= last:
            yield week + distance
        if week - distance >= first:
            yield week - distance

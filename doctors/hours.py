"""Wall clocks and instants: when a doctor works, and what "Friday, half past nine at Dr N's" means in UTC."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from doctors.models import DEFAULT_SLOT_MINUTES, Doctor

_DAY_MINUTES = 24 * 60


class SkippedTime(ValueError):
    """The clocks jump over this time of day on this day."""


class Window(NamedTuple):
    """Working hours on one day, in minutes of the wall clock since midnight, the end not included."""

    start: int
    end: int
    slot_minutes: int


class Schedule(NamedTuple):
    """What of a doctor says when they work, for writes that need no more; rows as WeeklyHours, ScheduleException."""

    time_zone: str
    availability: Sequence[Any]
    exceptions: Sequence[Any]


class Slot(NamedTuple):
    """A visit that would fit: instants in UTC, and the wall date and time at which it starts."""

    starts_at: datetime
    ends_at: datetime
    date: date
    time: str


def instant(day: date, wall_time: str, time_zone: str) -> datetime:
    """The UTC instant of a wall time "HH:MM"; the first of the two when the clocks go back.

    Raises: SkippedTime when the clocks go forward over it (PEP 495: such a time does not survive the way to UTC and
    back).
    """
    zone = ZoneInfo(time_zone)
    wall = datetime.combine(day, time.fromisoformat(wall_time), tzinfo=zone)
    moment = wall.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
        raise SkippedTime(f"The clocks skip {wall_time} on {day} in {time_zone}.")
    return moment


def today_of(doctor: Doctor | Schedule) -> date:
    """The date on the wall where the doctor works."""
    return datetime.now(ZoneInfo(doctor.time_zone)).date()


def slot_minutes(doctor: Doctor | Schedule, day: date, wall_time: str) -> int:
    """The usual length of a visit then: of the hours that hold the time, else of that weekday's first hours."""
    windows = windows_on(doctor, day)
    if wall_time:
        at = _minutes(wall_time)
        for window in windows:
            if window.start <= at < window.end:
                return window.slot_minutes
    return windows[0].slot_minutes if windows else _weekday_slot_minutes(doctor, day)


def windows_on(doctor: Doctor | Schedule, day: date) -> list[Window]:
    """The hours of one day: the weekly ones and extra clinics, less what is closed; in order, without overlaps."""
    windows = [
        Window(_minutes(row.start), _minutes(row.end), row.slot_minutes)
        for row in doctor.availability
        if row.weekday == day.weekday()
    ]
    exceptions = [row for row in doctor.exceptions if row.date == day]
    usual = _weekday_slot_minutes(doctor, day)
    for row in exceptions:
        if not row.closed:
            # What the weekly hours hold already keeps their slot length.
            extra = [Window(_minutes(row.start), _minutes(row.end), usual)]
            for window in tuple(windows):
                extra = _less(extra, window.start, window.end)
            windows += extra
    for row in exceptions:
        if row.closed:
            whole_day = row.start is None
            start, end = (0, _DAY_MINUTES) if whole_day else (_minutes(row.start), _minutes(row.end))
            windows = _less(windows, start, end)
    return sorted(windows)


def is_within_hours(doctor: Doctor | Schedule, day: date, wall_time: str, duration_minutes: int) -> bool:
    """Whether a visit lies inside the hours of its day; hours that touch count as one stretch.

    A doctor without weekly hours takes visits at any time.
    """
    if not doctor.availability:
        return True
    at, until = _minutes(wall_time), _minutes(wall_time) + duration_minutes
    for window in windows_on(doctor, day):
        if window.start <= at < window.end:
            at = window.end
        if at >= until:
            return True
    return False


def slots_between(doctor: Doctor | Schedule, since: date, until: date) -> Iterator[Slot]:
    """Every slot of the doctor's hours from `since` to `until`, both included, whether it is free or not.

    Where the clocks change, a slot that starts at a skipped time or before the one before it has ended is left out.
    """
    day = since
    while day <= until:
        last_end = datetime.min.replace(tzinfo=UTC)
        for window in windows_on(doctor, day):
            length = timedelta(minutes=window.slot_minutes)
            for at in range(window.start, window.end - window.slot_minutes + 1, window.slot_minutes):
                wall_time = f"{at // 60:02}:{at % 60:02}"
                try:
                    starts_at = instant(day, wall_time, doctor.time_zone)
                except SkippedTime:
                    continue
                if starts_at >= last_end:
                    last_end = starts_at + length
                    yield Slot(starts_at, last_end, day, wall_time)
        day += timedelta(days=1)


def _minutes(wall_time: str | None) -> int:
    hours, minutes = (wall_time or "00:00").split(":")
    return int(hours) * 60 + int(minutes)


def _weekday_slot_minutes(doctor: Doctor | Schedule, day: date) -> int:
    for row in doctor.availability:
        if row.weekday == day.weekday():
            return row.slot_minutes
    return doctor.availability[0].slot_minutes if doctor.availability else DEFAULT_SLOT_MINUTES


def _less(windows: list[Window], start: int, end: int) -> list[Window]:
    """The windows without what lies between start and end."""
    left = []
    for window in windows:
        if window.start < min(window.end, start):
            left.append(window._replace(end=min(window.end, start)))
        if max(window.start, end) < window.end:
            left.append(window._replace(start=max(window.start, end)))
    return left

"""Working hours, free slots, and the conversion between wall times and UTC."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from doctors.models import DEFAULT_SLOT_MINUTES, Doctor

_DAY_MINUTES = 24 * 60


class SkippedTime(ValueError):
    """The wall time does not exist on this day, because the clocks go forward over it."""


class Window(NamedTuple):
    """Working hours on one day, in minutes of wall time since midnight; the end is not included."""

    start: int
    end: int
    slot_minutes: int


class Schedule(NamedTuple):
    """The part of a doctor's record that determines the working hours.

    `availability` and `exceptions` have the attributes of WeeklyHours and ScheduleException.
    """

    time_zone: str
    availability: Sequence[Any]
    exceptions: Sequence[Any]


class Slot(NamedTuple):
    """A bookable time: start and end in UTC, and the wall date and wall time of the start."""

    starts_at: datetime
    ends_at: datetime
    date: date
    time: str


def instant(day: date, wall_time: str, time_zone: str) -> datetime:
    """Return the UTC instant of a wall time "HH:MM"; the earlier of its two instants when the clocks go back.

    Raises: SkippedTime when the clocks go forward over it.
    """
    zone = ZoneInfo(time_zone)
    wall = datetime.combine(day, time.fromisoformat(wall_time), tzinfo=zone)
    moment = wall.astimezone(UTC)
    # A wall time that does not exist is changed by the conversion to UTC and back (PEP 495).
    if moment.astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
        raise SkippedTime(f"The clocks skip {wall_time} on {day} in {time_zone}.")
    return moment


def today_of(doctor: Doctor | Schedule) -> date:
    """Return today's date in the doctor's time zone."""
    return datetime.now(ZoneInfo(doctor.time_zone)).date()


def slot_minutes(doctor: Doctor | Schedule, day: date, wall_time: str) -> int:
    """Return the default duration of a visit in minutes.

    The hours that contain the time determine the duration; if there are none, the first hours of the day or weekday do.
    """
    windows = windows_on(doctor, day)
    if wall_time:
        at = _minutes(wall_time)
        for window in windows:
            if window.start <= at < window.end:
                return window.slot_minutes
    return windows[0].slot_minutes if windows else _weekday_slot_minutes(doctor, day)


def windows_on(doctor: Doctor | Schedule, day: date) -> list[Window]:
    """Return the working hours of one day, in order and without overlaps.

    These are the weekly hours and the extra clinics, minus the closed times.
    """
    windows = [
        Window(_minutes(row.start), _minutes(row.end), row.slot_minutes)
        for row in doctor.availability
        if row.weekday == day.weekday()
    ]
    exceptions = [row for row in doctor.exceptions if row.date == day]
    usual = _weekday_slot_minutes(doctor, day)
    for row in exceptions:
        if not row.closed:
            # Times that the weekly hours contain keep the slot length of those hours.
            extra = [Window(_minutes(row.start), _minutes(row.end), usual)]
            for window in tuple(windows):
                extra = _without(extra, window.start, window.end)
            windows += extra
    for row in exceptions:
        if row.closed:
            whole_day = row.start is None
            start, end = (0, _DAY_MINUTES) if whole_day else (_minutes(row.start), _minutes(row.end))
            windows = _without(windows, start, end)
    return sorted(windows)


def is_within_hours(doctor: Doctor | Schedule, day: date, wall_time: str, duration_minutes: int) -> bool:
    """Return whether a visit lies within the working hours of its day; adjacent hours count as one interval.

    A doctor without weekly hours accepts visits at any time.
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
    """Yield every slot of the working hours from `since` to `until`, both included, whether it is free or not.

    When the clocks change, a slot is left out if its start does not exist or lies before the end of the last slot.
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


def _without(windows: list[Window], start: int, end: int) -> list[Window]:
    """Return the windows without the interval from start to end."""
    rest = []
    for window in windows:
        if window.start < min(window.end, start):
            rest.append(window._replace(end=min(window.end, start)))
        if max(window.start, end) < window.end:
            rest.append(window._replace(start=max(window.start, end)))
    return rest

"""Wall clocks and instants: what "Friday, half past nine at Dr N's" means in UTC."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from doctors.models import DEFAULT_SLOT_MINUTES, Doctor


class SkippedTime(ValueError):
    """The clocks jump over this time of day on this day."""


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


def today_of(doctor: Doctor) -> date:
    """The date on the wall where the doctor works."""
    return datetime.now(ZoneInfo(doctor.time_zone)).date()


def slot_minutes(doctor: Doctor, day: date, wall_time: str) -> int:
    """The usual length of a visit then: of the hours that hold the time, else of that weekday's first hours."""
    hours = [row for row in doctor.availability if row.weekday == day.weekday()]
    for row in hours:
        if row.start <= wall_time < row.end:
            return row.slot_minutes
    return hours[0].slot_minutes if hours else DEFAULT_SLOT_MINUTES

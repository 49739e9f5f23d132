"""Columns of the import and export of doctors.

Hours and exceptions are lines of one cell, such as "Mon 09:00-12:30 20" and "2026-12-24 closed".
"""

import re
from collections.abc import Mapping
from typing import Any

from doctors.models import DEFAULT_SLOT_MINUTES, ScheduleException, WeeklyHours
from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import (
    BooleanWidget,
    IntegerWidget,
    LinesWidget,
    TextWidget,
    TimestampWidget,
)

#: Files have English weekdays, so that they do not depend on the language of the user.
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = re.compile(r"([A-Za-z]{3})[a-z]* (\d\d:\d\d)-(\d\d:\d\d)(?: (\d{1,3}))?", re.ASCII)
_EXCEPTION = re.compile(r"(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d)-(\d\d:\d\d))? (closed|open)", re.ASCII)


def parse_hours(line: str) -> dict[str, Any]:
    """Return "Mon 09:00-12:30 20" as fields of WeeklyHours. Raises: ValueError."""
    found = _HOURS.fullmatch(line)
    if not found or found[1].title() not in WEEKDAYS:
        raise ValueError(line)
    return {
        "weekday": WEEKDAYS.index(found[1].title()),
        "start": found[2],
        "end": found[3],
        "slot_minutes": int(found[4] or DEFAULT_SLOT_MINUTES),
    }


def parse_exception(line: str) -> dict[str, Any]:
    """Return "2026-12-24 closed" as fields of ScheduleException. Raises: ValueError."""
    found = _EXCEPTION.fullmatch(line)
    if not found:
        raise ValueError(line)
    return {"date": found[1], "start": found[2], "end": found[3], "closed": found[4] == "closed"}


def hours_line(row: WeeklyHours | Mapping[str, Any]) -> str:
    hours = row if isinstance(row, WeeklyHours) else WeeklyHours(**row)
    return f"{WEEKDAYS[hours.weekday]} {hours.start}-{hours.end} {hours.slot_minutes}"


def exception_line(row: ScheduleException | Mapping[str, Any]) -> str:
    day = row if isinstance(row, ScheduleException) else ScheduleException(**row)
    hours = f" {day.start}-{day.end}" if day.start else ""
    return f"{day.date.isoformat()}{hours} {'closed' if day.closed else 'open'}"


class DoctorTable(ResourceTable):
    key = "doctor_id"
    columns = {
        "doctor_id": TextWidget(),
        "name": TextWidget(),
        "specialty": TextWidget(),
        "availability": LinesWidget(line=hours_line, parse=parse_hours),
        "exceptions": LinesWidget(line=exception_line, parse=parse_exception),
        "accepting_patients": BooleanWidget(),
        "time_zone": TextWidget(),
        "user_id": IntegerWidget(),
    }
    export_only = {"created_at": TimestampWidget()}

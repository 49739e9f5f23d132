"""Widgets of django-import-export for files that go to a spreadsheet program and come back.

`render` writes a value as text that no spreadsheet program runs as a formula. `clean` reads that text, or whatever a
spreadsheet program has made of it, and returns the value as a client of the API would send it: the API's serializer
validates the values and words the errors. An empty cell is null.

The library's widgets render text, dates and lists here. They are not used where they do something else:

- No widget of the library quotes formulas reversibly: its ESCAPE_FORMULAE setting deletes the equals sign.
- IntegerWidget reads 12.7 as 12, and its error on "x" is not a ValueError, so the row gets no message.
- DecimalWidget renders 3.5 as 3.5 instead of 3.50, with the decimal comma of some languages.
- BooleanWidget reads every unknown word as False.
- DateWidget and TimeWidget accept 2026-1-5 and 9:5, which the API does not, and their error names no format.
- TimeWidget renders `time` objects only. Appointments store the time of day as text.
- DateTimeWidget renders in the reader's time zone. Files have UTC, so that they do not depend on who exports.
- SimpleArrayWidget keeps empty lines and the spaces around a line.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from import_export import widgets

from healthcare import csv_export

_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d\d)(:00)?", re.ASCII)


class SpreadsheetWidget(widgets.Widget):
    """Base of all widgets: quotes formulas, and reads what a spreadsheet program has made of a cell."""

    def render(self, value: object, obj: object = None, **kwargs: Any) -> str:
        return str(csv_export.cell(super().render(value, obj, **kwargs)))

    def clean(self, value: object, row: object = None, **kwargs: object) -> Any:
        """Return the value of a cell. Raises: ValueError with a message for the person who imports."""
        if isinstance(value, str):
            value = csv_export.value_of(value)
        return None if value is None or value == "" else self.read(value)

    def read(self, value: object) -> Any:
        return _as_text(value)


class TextWidget(SpreadsheetWidget, widgets.CharWidget):
    """A text."""


class DateWidget(SpreadsheetWidget, widgets.DateWidget):
    """A date in ISO 8601. A workbook stores midnight of the day."""

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")

    def read(self, value: object) -> Any:
        return super().read(value.date() if isinstance(value, datetime) else value)


class IntegerWidget(TextWidget):
    def read(self, value: object) -> Any:
        text = _as_text(value)
        return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text


class MoneyWidget(TextWidget):
    """An amount with two decimals."""

    def render(self, value: object, obj: object = None, **kwargs: object) -> str:
        return super().render(None if value is None else format(Decimal(str(value)), ".2f"))


class BooleanWidget(TextWidget):
    """`true` or `false`. Spreadsheet programs write TRUE."""

    def render(self, value: object, obj: object = None, **kwargs: object) -> str:
        return super().render(None if value is None else str(bool(value)).lower())

    def read(self, value: object) -> Any:
        return {"true": True, "false": False}.get(str(value).strip().casefold(), value)


class TimeWidget(TextWidget):
    """A time of day. Spreadsheet programs write 9:30 and 09:30:00."""

    def read(self, value: object) -> Any:
        text = _as_text(value)
        found = _TIME_OF_DAY.fullmatch(text)
        return f"{int(found[1]):02}:{found[2]}" if found else text


class TimestampWidget(TextWidget):
    """A timestamp in UTC. Only exports have one."""

    def render(self, value: Any, obj: object = None, **kwargs: object) -> str:
        return super().render(None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z"))


class LinesWidget(SpreadsheetWidget, widgets.SimpleArrayWidget):
    """A list, with one line of the cell for each value."""

    def __init__(self, *, line: Callable[[Any], str] = str, parse: Callable[[str], Any] = str) -> None:
        super().__init__(separator="\n")
        self.line, self.parse = line, parse

    def render(self, value: Any, obj: object = None, **kwargs: object) -> str:
        return super().render([self.line(each) for each in value or []])

    def clean(self, value: object, row: object = None, **kwargs: Any) -> Any:
        return super().clean(value, row, **kwargs) or []

    def read(self, value: object) -> Any:
        found = []
        for line in filter(None, map(str.strip, _as_text(value).splitlines())):
            try:
                found.append(self.parse(line))
            except ValueError as error:
                raise ValueError(_("Cannot read the line “%(line)s”.") % {"line": line[:60]}) from error
        return found


def _as_text(value: object) -> str:
    """Return a value of a workbook as text: 3.0 is 3, a date is ISO 8601."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case datetime() | date() | time():
            return value.isoformat()
    return str(value).strip()

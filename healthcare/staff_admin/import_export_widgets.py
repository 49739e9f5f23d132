"""How values stand in the cells of a table that goes out to a spreadsheet program and comes back."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from import_export.widgets import Widget

from healthcare import csv_export

_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(:00)?", re.ASCII)


class Cell(Widget):
    """Text, and what the others are made of. `render` gives the cell, `clean` what a client of the API would send.

    Whatever `render` gives, `clean` takes back; and it takes what a spreadsheet program has made of it. An empty cell
    is null.
    """

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else csv_export.cell(self.written(value))

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        """Raises: ValueError with a sentence."""
        if isinstance(value, str):
            value = csv_export.value_of(value)
        return None if value is None or value == "" else self.read(value)

    def written(self, value: Any) -> str:
        return str(value)

    def read(self, value: Any) -> Any:
        return _plain(value)


class Number(Cell):
    """A whole number."""

    def read(self, value: Any) -> Any:
        text = _plain(value)
        return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text


class Money(Cell):
    def written(self, value: Any) -> str:
        return format(Decimal(str(value)), ".2f")


class Flag(Cell):
    def written(self, value: Any) -> str:
        return "true" if value else "false"

    def read(self, value: Any) -> Any:
        # Spreadsheet programs write TRUE.
        return {"true": True, "false": False}.get(str(value).strip().casefold(), value)


class Day(Cell):
    def written(self, value: Any) -> str:
        return value.isoformat()

    def read(self, value: Any) -> Any:
        return value.date().isoformat() if isinstance(value, datetime) else _plain(value)


class Clock(Cell):
    """A time of day; spreadsheet programs write 9:30 and 09:30:00."""

    def read(self, value: Any) -> Any:
        text = _plain(value)
        found = _CLOCK.fullmatch(text)
        return f"{int(found[1]):02}:{found[2]}" if found else text


class Moment(Cell):
    """An instant, in UTC."""

    def written(self, value: Any) -> str:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Lines(Cell):
    """A list, a line of the cell for each of its values."""

    def __init__(self, *, line: Callable[[Any], str] = str, parse: Callable[[str], Any] = str) -> None:
        super().__init__()
        self.line, self.parse = line, parse

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return super().render(value or None, obj, **kwargs)

    def written(self, value: Any) -> str:
        return "\n".join(map(self.line, value))

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        return super().clean(value, row, **kwargs) or []

    def read(self, value: Any) -> Any:
        found = []
        for line in filter(None, map(str.strip, _plain(value).splitlines())):
            try:
                found.append(self.parse(line))
            except ValueError as error:
                raise ValueError(_("Cannot read the line “%(line)s”.") % {"line": line[:60]}) from error
        return found


def _plain(value: Any) -> str:
    """What a cell of a spreadsheet holds, as text: 3.0 is 3, a date is ISO 8601."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case datetime() | date() | time():
            return value.isoformat()
    return str(value).strip()

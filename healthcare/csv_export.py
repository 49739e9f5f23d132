"""CSV export, with protection against text that a spreadsheet program would run as a formula."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

#: The characters with which a formula begins in a spreadsheet program (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """A file object for csv.writer that returns each line instead of storing it."""

    def write(self, text: str) -> str:
        return text


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180). Text that looks like a formula gets a quote in front."""
    writer = csv.writer(_Line())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])


def cell(value: object) -> Any:
    """Return a value as a safe cell: a list in one cell, and a quote before text that looks like a formula."""
    if value is None:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if _is_formula(text) else text


def value_of(text: str) -> str:
    """Return the text from which `cell` made this cell."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    # Quotes in front are ignored; otherwise `value_of` could not tell which quotes belong to the text.
    return text.lstrip("'").startswith(_FORMULA)

"""Tables for spreadsheet programs, which take text for formulas and run them."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

#: What a spreadsheet program takes for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """A file that a csv.writer writes into and that hands the line on."""

    def write(self, text: str) -> str:
        return text


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a CSV file (RFC 4180), one at a time; text that looks like a formula gets a quote before it."""
    writer = csv.writer(_Line())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])


def cell(value: Any) -> Any:
    """A value as a spreadsheet may have it: lists in one cell, nothing that it would calculate."""
    if value is None:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if _is_formula(text) else text


def value_of(text: str) -> str:
    """What `cell` made a cell of."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    # With quotes before it, too: otherwise nobody knew which quotes are the text's own.
    return text.lstrip("'").startswith(_FORMULA)

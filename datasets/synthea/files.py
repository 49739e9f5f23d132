"""The export on disk: CSV files as streams of records that know their line.

What is wrong with a whole file is said before anything is written (`open_export`); a row that is broken spoils itself
only. Bytes that are no UTF-8 stay in the row as surrogates, so that one bad name does not end a run of hours.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: File → (whether it may be missing, the columns that are read). Source: Synthea's CSV File Data Dictionary.
COLUMNS = {
    "patients": (False, ("Id", "BIRTHDATE", "FIRST", "LAST", "GENDER")),
    "providers": (False, ("Id", "ORGANIZATION", "NAME", "SPECIALITY", "STATE")),
    "organizations": (True, ("Id", "STATE")),
    "encounters": (False, ("Id", "START", "STOP", "PATIENT", "PROVIDER", "TOTAL_CLAIM_COST", "REASONDESCRIPTION")),
    "conditions": (True, ("PATIENT", "DESCRIPTION")),
    "medications": (
        True,
        ("START", "STOP", "PATIENT", "ENCOUNTER", "CODE", "DESCRIPTION", "BASE_COST", "REASONDESCRIPTION"),
    ),
    "claims": (True, ("PATIENTID", "APPOINTMENTID", "STATUS1", "STATUS2", "STATUSP")),
}
MAX_CELL_CHARACTERS = 131_072

Row = dict[str, str]


class UnusableExport(Exception):
    """The export as a whole cannot be read; a sentence for the operator."""


class Rejected(ValueError):
    """A row that cannot be taken; the reason names no person."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row. `cells` is what the file has; `row()` is that by column, for whoever wants to use it."""

    line: int
    cells: list[str]
    columns: list[str]
    fault: str | None = None

    def row(self) -> Row:
        """Raises: Rejected when the row is broken."""
        if self.fault:
            raise Rejected(self.fault)
        return dict(zip(self.columns, self.cells, strict=True))


@dataclass(frozen=True)
class CsvFile:
    name: str
    path: Path
    columns: list[str]

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def records(self, on_progress: Callable[[int], object] = lambda _: None) -> Iterator[Record]:
        """The rows, the first of them on line 2; `on_progress` hears how many bytes have been read.

        A cell may hold line breaks: the line of a record is the one that it begins on.
        """
        with self.path.open("rb") as raw:
            reader = csv.reader(_decoded(raw))
            next(reader)
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Record(line, [], self.columns, f"Is no CSV: {error}.")
                    continue
                if cells:
                    yield Record(line, cells, self.columns, _fault(cells, self.columns))
                    on_progress(raw.tell())


def _decoded(raw: io.BufferedReader) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _fault(cells: list[str], columns: list[str]) -> str | None:
    if len(cells) != len(columns):
        return f"Has {len(cells)} cells where the header has {len(columns)}."
    text = "".join(cells)
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        return "Is not UTF-8."
    return None


def open_export(directory: Path) -> dict[str, CsvFile]:
    """The files of an export by name, those that may be missing left out when they are.

    Raises: UnusableExport.
    """
    if not directory.is_dir():
        raise UnusableExport(f"{directory} is not a directory.")
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    files = {}
    for name, (is_optional, needed) in COLUMNS.items():
        path = directory / f"{name}.csv"
        if path.exists():
            files[name] = CsvFile(name, path, _header(path, needed))
        elif not is_optional:
            raise UnusableExport(f"{path} is missing: is {directory} the csv folder of a Synthea export?")
    return files


def _header(path: Path, needed: tuple[str, ...]) -> list[str]:
    try:
        with path.open("rb") as raw:
            columns = next(csv.reader(_decoded(raw)), [])
    except (OSError, csv.Error) as error:
        raise UnusableExport(f"{path} cannot be read: {error}") from error
    if not columns:
        raise UnusableExport(f"{path} is empty: not even a header.")
    missing = [column for column in needed if column not in columns]
    if missing:
        raise UnusableExport(f"{path} has no column {', '.join(missing)}: is it a Synthea CSV in UTF-8?")
    if len(set(columns)) != len(columns):
        raise UnusableExport(f"{path} names a column twice.")
    return columns

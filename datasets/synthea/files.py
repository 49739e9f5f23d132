"""The CSV files of an export, as streams of records with their line numbers.

`open_export` reports what is wrong with a whole file before anything is written. A broken row is rejected alone. Bytes
that are not UTF-8 are kept as surrogates, so that one bad name does not end an import that takes hours.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: File → (whether the file may be missing, the columns that the import reads).
#: Source: Synthea's CSV File Data Dictionary.
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
    """The export as a whole cannot be read. The message is a sentence for the operator."""


class RowRejected(ValueError):
    """A row cannot be imported. The message is the reason, and names no person."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file: `cells` as the file has them, and `row()` as a dict by column."""

    line: int
    cells: list[str]
    columns: list[str]
    fault: str | None = None

    def row(self) -> Row:
        """Return the cells by column. Raises: RowRejected if the row is broken."""
        if self.fault:
            raise RowRejected(self.fault)
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
        """Yield the rows, beginning with line 2, and call `on_progress` with the number of bytes read so far.

        A cell may hold line breaks. The line of a record is the line on which the record begins.
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
                    yield Record(line, [], self.columns, f"Is not CSV: {error}.")
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
    """Return the files of an export by name, without the optional files that are missing.

    Raises: UnusableExport.
    """
    if not directory.is_dir():
        raise UnusableExport(f"{directory} is not a directory.")
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    files = {}
    for name, (is_optional, required) in COLUMNS.items():
        path = directory / f"{name}.csv"
        if path.exists():
            files[name] = CsvFile(name, path, _header(path, required))
        elif not is_optional:
            raise UnusableExport(f"{path} is missing. Name the csv folder of a Synthea export.")
    return files


def _header(path: Path, required: tuple[str, ...]) -> list[str]:
    try:
        with path.open("rb") as raw:
            columns = next(csv.reader(_decoded(raw)), [])
    except (OSError, csv.Error) as error:
        raise UnusableExport(f"{path} cannot be read: {error}") from error
    if not columns:
        raise UnusableExport(f"{path} is empty and has no header.")
    missing = [column for column in required if column not in columns]
    if missing:
        raise UnusableExport(f"{path} has no column {', '.join(missing)}. Use a Synthea CSV file in UTF-8.")
    if len(set(columns)) != len(columns):
        raise UnusableExport(f"The header of {path} names a column twice.")
    return columns

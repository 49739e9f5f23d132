"""What an import tells: the figures of each file, the rows that were not taken, and how far it is."""

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from datasets.synthea.files import CsvFile, Record

#: How many rejected rows are told on the terminal; the file has them all.
SHOWN_REJECTIONS = 20
SECONDS_BETWEEN_LINES = 10
#: A spreadsheet takes a cell that begins so for a formula (OWASP, "CSV Injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Tally:
    """read = taken + there + idle + rejected."""

    read: int = 0
    taken: int = 0
    #: What was in the databases already.
    there: int = 0
    #: Understood, and nothing to keep: a finding, an organization.
    idle: int = 0
    rejected: int = 0


class Rejections:
    """The rejected rows, to a CSV file of `file, line, reason` and the row's own cells.

    The file holds people's data and is its owner's alone; what is told of the first rows holds none.
    """

    def __init__(self, path: Path | None) -> None:
        self._count = 0
        self._file: TextIO | None = None
        if path is not None:
            self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            path.chmod(0o600)
            self._rows = csv.writer(self._file)
            self._rows.writerow(["file", "line", "reason", "row"])

    def add(self, file: CsvFile, record: Record, reason: str) -> str | None:
        """Keep the row; return what to tell the operator of it, if anything."""
        if self._file is not None:
            self._rows.writerow([file.path.name, record.line, *map(harmless, [reason, *record.cells])])
        self._count += 1
        if self._count <= SHOWN_REJECTIONS:
            return f"{file.path.name}, line {record.line}: {reason}"
        if self._count > SHOWN_REJECTIONS + 1:
            return None
        return f"More rows are rejected: {'see --rejected' if self._file else '--rejected FILE keeps them'}."

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def harmless(cell: str) -> str:
    """The cell, with a quote before what a spreadsheet would calculate."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


class Reporter(Protocol):
    """Tells how far a file is."""

    def begin(self, file: CsvFile) -> Callable[[int], None]:
        """Say that the file is being read; the answer hears how many bytes have been."""

    def tell(self, text: str) -> None:
        """Say something in between."""


class Bars:
    """A progress bar for each file, for a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def begin(self, file: CsvFile) -> Callable[[int], None]:
        task = self._progress.add_task(file.path.name, total=file.size_bytes)
        return lambda bytes_read: self._progress.update(task, completed=bytes_read)

    def tell(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """A line for each file, and every few seconds of a long one, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def tell(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def begin(self, file: CsvFile) -> Callable[[int], None]:
        self.tell(f"Reading {file.path.name} ({file.size_bytes:,} bytes)")
        told_at = time.monotonic()

        def update(bytes_read: int) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= SECONDS_BETWEEN_LINES:
                told_at = time.monotonic()
                self.tell(f"  {bytes_read / max(file.size_bytes, 1):.0%}")

        return update


@contextmanager
def reporting(stream: TextIO) -> Iterator[Reporter]:
    """Bars on a terminal, lines elsewhere."""
    if not stream.isatty():
        yield Lines(stream)
        return
    columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=stream)) as progress:
        yield Bars(progress)


def table(tallies: dict[str, Tally]) -> str:
    """The figures, one line a file."""
    heads = ("read", "taken", "already there", "nothing to keep", "rejected")
    lines = [f"{'file':<18}" + "".join(f"{head:>17}" for head in heads)]
    for name, tally in tallies.items():
        figures = (tally.read, tally.taken, tally.there, tally.idle, tally.rejected)
        lines.append(f"{name + '.csv':<18}" + "".join(f"{figure:>17,}" for figure in figures))
    return "\n".join(lines)

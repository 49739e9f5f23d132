"""Results of an import: the figures of each file, the rejected rows, and the progress."""

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
from healthcare import csv_export

#: The number of rejected rows that the command prints. The file of --rejected has all of them.
PRINTED_REJECTIONS = 20
SECONDS_BETWEEN_LINES = 10


@dataclass
class Tally:
    """The figures of a file: read = imported + existing + ignored + rejected."""

    read: int = 0
    imported: int = 0
    #: Rows whose record was in the databases before.
    existing: int = 0
    #: Valid rows that become no record, such as a finding or an organization.
    ignored: int = 0
    rejected: int = 0


class Rejections:
    """Writes the rejected rows to a CSV file with the columns `file, line, reason` and the cells of the row.

    The file holds people's data, so only its owner may read it. The printed messages hold no such data.
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
        """Write the row to the file; return the message to print, if there is one."""
        if self._file is not None:
            self._rows.writerow([file.path.name, record.line, *map(csv_export.cell, [reason, *record.cells])])
        self._count += 1
        if self._count <= PRINTED_REJECTIONS:
            return f"{file.path.name}, line {record.line}: {reason}"
        if self._count > PRINTED_REJECTIONS + 1:
            return None
        return "More rows are rejected. " + (
            "See the file of --rejected." if self._file else "Use --rejected FILE to keep them."
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Reporter(Protocol):
    """Displays the progress of a file and prints messages."""

    def begin(self, file: CsvFile) -> Callable[[int], None]:
        """Start with a file. The caller calls the returned function with the number of bytes read so far."""

    def print(self, text: str) -> None:
        """Print a message between two updates."""


class ProgressBars:
    """A progress bar for each file, for a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def begin(self, file: CsvFile) -> Callable[[int], None]:
        task = self._progress.add_task(file.path.name, total=file.size_bytes)
        return lambda bytes_read: self._progress.update(task, completed=bytes_read)

    def print(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class ProgressLines:
    """A line for each file, and one every 10 seconds within a long file, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def print(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def begin(self, file: CsvFile) -> Callable[[int], None]:
        self.print(f"Reading {file.path.name} ({file.size_bytes:,} bytes)")
        printed_at = time.monotonic()

        def update(bytes_read: int) -> None:
            nonlocal printed_at
            if time.monotonic() - printed_at >= SECONDS_BETWEEN_LINES:
                printed_at = time.monotonic()
                self.print(f"  {bytes_read / max(file.size_bytes, 1):.0%}")

        return update


@contextmanager
def reporting(stream: TextIO) -> Iterator[Reporter]:
    """Yield a reporter that draws progress bars on a terminal and prints lines elsewhere."""
    if not stream.isatty():
        yield ProgressLines(stream)
        return
    columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=stream)) as progress:
        yield ProgressBars(progress)


def table(tallies: dict[str, Tally]) -> str:
    """Return the figures as a table with one line for each file."""
    heads = ("read", "imported", "existing", "ignored", "rejected")
    lines = [f"{'file':<18}" + "".join(f"{head:>17}" for head in heads)]
    for name, tally in tallies.items():
        figures = (tally.read, tally.imported, tally.existing, tally.ignored, tally.rejected)
        lines.append(f"{name + '.csv':<18}" + "".join(f"{figure:>17,}" for figure in figures))
    return "\n".join(lines)

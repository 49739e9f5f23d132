"""Progress of the seeder: a bar on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0


class Advance(Protocol):
    def __call__(self, records: int) -> None: ...


class _RateColumn(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "–/s", style="progress.data.speed")


@contextmanager
def progress_of(total: int, output: OutputWrapper | None) -> Iterator[Advance]:
    """Display how many of `total` records are stored, the rate and the remaining time; nothing if `output` is None.

    The block calls the yielded function with the number of records that it has stored since the last call.
    """
    if output is None:
        yield lambda records: None
        return
    if not output.isatty():
        yield _ProgressLines(total, output).advance
        return
    columns = (
        TextColumn("Seeding"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} records"),
        TextColumn("{task.percentage:>3.0f} %"),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console()) as bar:
        task = bar.add_task("", total=total)
        yield lambda records: bar.advance(task, records)


class _ProgressLines:
    def __init__(self, total: int, output: OutputWrapper) -> None:
        self.total = total
        self.done = 0
        self.output = output
        self.started = self.last = time.monotonic()

    def advance(self, records: int) -> None:
        self.done += records
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES or self.done >= self.total:
            return
        self.last = now
        rate = self.done / (now - self.started)
        self.output.write(
            f"{self.done:,} of {self.total:,} records ({self.done / self.total:.0%}), {rate:,.0f}/s, "
            f"{(self.total - self.done) / rate:.0f} s left"
        )
        self.output.flush()

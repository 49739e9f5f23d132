"""Runs the checks, reports their progress, and formats the table of results."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from operations.consistency import bills, charts, claims, events, references
from operations.consistency.inconsistencies import Check, CheckCounts, Inconsistency

SECONDS_BETWEEN_LINES = 10

#: Events come before bills, because delivering an event may create a missing bill.
CHECKS = (
    Check("references", "records that name a record which does not exist", references.find),
    Check("charts", "the chart in each patient against the collections", charts.find),
    Check("claims", "the claims on time that scheduled visits hold", claims.find),
    Check("events", "events that are not delivered", events.find),
    Check("bills", "completed visits and their bills", bills.find),
)
NAMES = tuple(check.name for check in CHECKS)


class Reporter(Protocol):
    """Reports the progress of a check and its inconsistencies."""

    def start(self, check: Check) -> None: ...

    def update(self, counts: CheckCounts) -> None: ...

    def finish(self, counts: CheckCounts) -> None: ...

    def print_line(self, text: str) -> None: ...


class TerminalReporter:
    """Shows a line with live counts for each check."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, check: Check) -> None:
        self._task = self._progress.add_task(check.name, total=1, compared=0, differences=0)

    def update(self, counts: CheckCounts) -> None:
        self._progress.update(self._task, compared=counts.compared, differences=counts.differences)

    def finish(self, counts: CheckCounts) -> None:
        self._progress.update(self._task, compared=counts.compared, differences=counts.differences, completed=1)

    def print_line(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LogReporter:
    """Writes a line for each check and another every SECONDS_BETWEEN_LINES."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._printed_at = time.monotonic()

    def start(self, check: Check) -> None:
        self.print_line(f"Checking {check.name}: {check.description}")
        self._printed_at = time.monotonic()

    def update(self, counts: CheckCounts) -> None:
        if time.monotonic() - self._printed_at >= SECONDS_BETWEEN_LINES:
            self._printed_at = time.monotonic()
            self.print_line(f"  {counts.compared:,} compared, {counts.differences:,} differences")

    def finish(self, counts: CheckCounts) -> None:
        """Write nothing, because the table at the end contains the counts."""

    def print_line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


@contextmanager
def open_reporter(stream: TextIO) -> Iterator[Reporter]:
    """Yield a reporter that suits a terminal or a log."""
    if not stream.isatty():
        yield LogReporter(stream)
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<12}"),
        TextColumn("{task.fields[compared]:>12,} compared"),
        TextColumn("{task.fields[differences]:>8,} differences"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as progress:
        yield TerminalReporter(progress)


def run(names: Collection[str], *, is_repairing: bool, limit: int, reporter: Reporter) -> dict[str, CheckCounts]:
    """Run the checks with these names. Print up to `limit` inconsistencies of each; repair all if asked to."""
    results: dict[str, CheckCounts] = {}
    for check in CHECKS:
        if check.name in names:
            results[check.name] = _run_one(check, is_repairing=is_repairing, limit=limit, reporter=reporter)
    return results


def _run_one(check: Check, *, is_repairing: bool, limit: int, reporter: Reporter) -> CheckCounts:
    counts = CheckCounts(on_change=reporter.update)
    reporter.start(check)
    for inconsistency in check.find(counts):
        counts.differences += 1
        outcome = _repair(inconsistency, counts) if is_repairing else None
        if counts.differences <= limit:
            reporter.print_line(f"{check.name}: {inconsistency.sentence}{f' {outcome}' if outcome else ''}")
        elif counts.differences == limit + 1:
            reporter.print_line(f"{check.name}: further differences are counted but not printed (see --limit).")
    reporter.finish(counts)
    return counts


def _repair(inconsistency: Inconsistency, counts: CheckCounts) -> str:
    """Repair an inconsistency and return a sentence about the outcome."""
    if inconsistency.repair is None:
        return "Not repaired: a person must decide."
    reason = inconsistency.repair()
    if reason:
        return f"Not repaired: {reason}."
    counts.repaired += 1
    return "Repaired."


def table(results: dict[str, CheckCounts]) -> str:
    """Return the table of results, one line for each check."""
    heads = ("compared", "differences", "repaired", "left")
    lines = [f"{'check':<12}" + "".join(f"{head:>14}" for head in heads)]
    for name, counts in results.items():
        figures = (counts.compared, counts.differences, counts.repaired, counts.remaining)
        lines.append(f"{name:<12}" + "".join(f"{figure:>14,}" for figure in figures))
    return "\n".join(lines)

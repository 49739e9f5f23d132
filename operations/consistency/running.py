"""Running the checks: which there are, how far they are, and the table at the end."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from operations.consistency import bills, charts, claims, references, waiting
from operations.consistency.findings import Check, Finding, Tally

SECONDS_BETWEEN_LINES = 10

#: Events before bills: what waits there may be the bill that is missing here.
CHECKS = (
    Check("references", "what names a record that is not there", references.find),
    Check("charts", "the chart in each patient against the collections", charts.find),
    Check("claims", "the times that scheduled visits hold", claims.find),
    Check("events", "events that nobody delivers", waiting.find),
    Check("bills", "completed visits and their bills", bills.find),
)
NAMES = tuple(check.name for check in CHECKS)


class Reporter(Protocol):
    """Tells how far a check is, and what it finds."""

    def begin(self, check: Check) -> None: ...

    def update(self, tally: Tally) -> None: ...

    def end(self, tally: Tally) -> None: ...

    def tell(self, text: str) -> None: ...


class Bars:
    """A line for each check that counts, for a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def begin(self, check: Check) -> None:
        self._task = self._progress.add_task(check.name, total=1, compared=0, differences=0)

    def update(self, tally: Tally) -> None:
        self._progress.update(self._task, compared=tally.compared, differences=tally.differences)

    def end(self, tally: Tally) -> None:
        self._progress.update(self._task, compared=tally.compared, differences=tally.differences, completed=1)

    def tell(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """A line for each check, and now and then one of how far it is, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told_at = time.monotonic()

    def begin(self, check: Check) -> None:
        self.tell(f"Checking {check.name}: {check.about}")
        self._told_at = time.monotonic()

    def update(self, tally: Tally) -> None:
        if time.monotonic() - self._told_at >= SECONDS_BETWEEN_LINES:
            self._told_at = time.monotonic()
            self.tell(f"  {tally.compared:,} compared, {tally.differences:,} differences")

    def end(self, tally: Tally) -> None:
        """The table tells."""

    def tell(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


@contextmanager
def reporting(stream: TextIO) -> Iterator[Reporter]:
    """Counting lines on a terminal, lines now and then elsewhere."""
    if not stream.isatty():
        yield Lines(stream)
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<12}"),
        TextColumn("{task.fields[compared]:>12,} compared"),
        TextColumn("{task.fields[differences]:>8,} differences"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as progress:
        yield Bars(progress)


def run(names: Collection[str], *, is_repairing: bool, shown: int, reporter: Reporter) -> dict[str, Tally]:
    """Run the checks of these names; tell up to `shown` findings of each, and repair what can be."""
    tallies: dict[str, Tally] = {}
    for check in CHECKS:
        if check.name in names:
            tallies[check.name] = _run_one(check, is_repairing=is_repairing, shown=shown, reporter=reporter)
    return tallies


def _run_one(check: Check, *, is_repairing: bool, shown: int, reporter: Reporter) -> Tally:
    tally = Tally(on_growth=reporter.update)
    reporter.begin(check)
    for finding in check.find(tally):
        tally.differences += 1
        outcome = _outcome(finding, tally) if is_repairing else None
        if tally.differences <= shown:
            reporter.tell(f"{check.name}: {finding.sentence}{f' {outcome}' if outcome else ''}")
        elif tally.differences == shown + 1:
            reporter.tell(f"{check.name}: more are counted and not shown (--limit).")
    reporter.end(tally)
    return tally


def _outcome(finding: Finding, tally: Tally) -> str:
    """Repair a finding and say what came of it."""
    if finding.repair is None:
        return "Not repaired: this takes a person."
    reason = finding.repair()
    if reason:
        return f"Not repaired: {reason}."
    tally.repaired += 1
    return "Repaired."


def table(tallies: dict[str, Tally]) -> str:
    """The figures, one line a check."""
    heads = ("compared", "differences", "repaired", "left")
    lines = [f"{'check':<12}" + "".join(f"{head:>14}" for head in heads)]
    for name, tally in tallies.items():
        figures = (tally.compared, tally.differences, tally.repaired, tally.left)
        lines.append(f"{name:<12}" + "".join(f"{figure:>14,}" for figure in figures))
    return "\n".join(lines)

"""Each hot query with and without its index, on copies of the data."""

import signal
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from benchmarks.indexes import cases, copies, measuring, output
from benchmarks.indexes.measuring import Result
from healthcare.audit_log import recorder

DEFAULT_RUNS = 50
MOST_RUNS = 10_000
LEAST_SIZE, MOST_SIZE = 100, 20_000_000


class Command(BaseCommand):
    help = (
        "Times each hot query with its index and without, on a copy of the data in collections of its own: the live "
        "ones and their indexes stay as they are. With --size it invents the data."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--size", type=int, metavar="N", help="invent N appointments, N/10 patients and the rest")
        parser.add_argument(
            "--runs", type=int, default=DEFAULT_RUNS, metavar="N", help=f"of each query ({DEFAULT_RUNS})"
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
        parser.add_argument(
            "--chart", type=Path, metavar="FILE", help="draw them there (PNG, SVG or PDF by its ending)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        size, runs, json_file, chart = (options[name] for name in ("size", "runs", "json", "chart"))
        if size is not None and not LEAST_SIZE <= size <= MOST_SIZE:
            raise CommandError(f"--size is a number from {LEAST_SIZE:,} to {MOST_SIZE:,}.")
        if not measuring.LEAST_RUNS <= runs <= MOST_RUNS:
            raise CommandError(f"--runs is a number from {measuring.LEAST_RUNS} to {MOST_RUNS:,}.")
        for file in (json_file, chart):
            if file is not None and not file.parent.is_dir():
                raise CommandError(f"There is no folder {file.parent}.")
        if chart is not None and chart.suffix not in (".png", ".svg", ".pdf"):
            raise CommandError("--chart is a file that ends in .png, .svg or .pdf.")
        # A polite request to end is answered as Ctrl-C is, so that nothing is left behind.
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            results, sizes = self._measure(size, runs)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. The copies are gone, the data are as they were.", returncode=130) from None
        except DatabaseError as error:
            raise CommandError(f"Stopped by a database: {type(error.__cause__ or error).__name__}.") from error
        output.show(results, sizes, cast(TextIO, self.stdout._out))
        if json_file:
            output.write_json(results, sizes, json_file)
        if chart:
            output.draw(results, sizes, chart)

    def _measure(self, size: int | None, runs: int) -> tuple[list[Result], dict[str, int]]:
        self.stderr.write("Copying the data …" if size is None else f"Inventing {size:,} appointments …")
        with copies.made(appointments=size) as made:
            if size is None:
                recorder.record_read("patient.copied")
            sizes = {source: made.count(source) for source in copies.SOURCES}
            if not sizes["appointments"]:
                raise CommandError("There are no appointments to ask for: `manage.py seed`, or --size.")
            results = []
            for case in cases.cases(made):
                self.stderr.write(f"{case.name} …")
                results.append(measuring.measure(case, runs=runs))
        return results, sizes


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt

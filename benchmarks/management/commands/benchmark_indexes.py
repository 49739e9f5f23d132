"""`manage.py benchmark_indexes` measures each hot query with and without its index, on copies of the data."""

from argparse import ArgumentParser
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from benchmarks import options as file_options
from benchmarks.indexes import cases, copies, measuring, output
from benchmarks.indexes.measuring import Result
from healthcare.audit_log import recorder
from operations import interruption

DEFAULT_RUNS = 50
MAX_RUNS = 10_000
MIN_SIZE, MAX_SIZE = 100, 20_000_000


class Command(BaseCommand):
    help = (
        "Measures each hot query with and without its index, on temporary copies of the collections. The collections "
        "and their indexes are not changed. With --size the command generates the data."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--size", type=int, metavar="N", help="generate N appointments, N/10 patients and the rest")
        parser.add_argument(
            "--runs", type=int, default=DEFAULT_RUNS, metavar="N", help=f"runs of each query ({DEFAULT_RUNS})"
        )
        file_options.add_file_options(parser)

    def handle(self, *args: object, **options: Any) -> None:
        size, runs, json_file, chart = (options[name] for name in ("size", "runs", "json", "chart"))
        if size is not None and not MIN_SIZE <= size <= MAX_SIZE:
            raise CommandError(f"--size must be a number from {MIN_SIZE:,} to {MAX_SIZE:,}.")
        if not measuring.MIN_RUNS <= runs <= MAX_RUNS:
            raise CommandError(f"--runs must be a number from {measuring.MIN_RUNS} to {MAX_RUNS:,}.")
        file_options.require_writable_files(json_file, chart)
        interruption.install_handlers()
        try:
            results, sizes = self._measure(size, runs)
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. The copies were removed; the data are unchanged.", returncode=130
            ) from None
        except DatabaseError as error:
            raise CommandError(f"Stopped by a database: {type(error.__cause__ or error).__name__}.") from error
        output.print_results(results, sizes, cast(TextIO, self.stdout._out))
        if json_file:
            output.write_json(results, sizes, json_file)
        if chart:
            output.draw_chart(results, sizes, chart)

    def _measure(self, size: int | None, runs: int) -> tuple[list[Result], dict[str, int]]:
        self.stderr.write("Copying the data …" if size is None else f"Generating {size:,} appointments …")
        with copies.temporary_copies(appointments=size) as made:
            if size is None:
                recorder.record_read("patient.copied")
            sizes = {source: made.count(source) for source in copies.SOURCES}
            if not sizes["appointments"]:
                raise CommandError("There are no appointments. Run `manage.py seed` first, or use --size.")
            results = []
            for case in cases.cases(made):
                self.stderr.write(f"{case.name} …")
                results.append(measuring.measure(case, runs=runs))
        return results, sizes

"""What write and read concerns cost, on a replica set of its own."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from pymongo.errors import PyMongoError

from benchmarks.concerns import measuring, output
from benchmarks.concerns.measuring import Result
from devstack import DevStackError
from devstack.fault_injection import FaultInjectionStack
from operations import interruption

DEFAULT_SECONDS = 3.0
LEAST_SECONDS, MOST_SECONDS = 0.3, 300.0


class Command(BaseCommand):
    help = (
        "Times writes with w=1, majority and majority+journal, and reads with local, majority and linearizable, each "
        "with each, on three members of its own. Your data are not touched, and nothing is left behind."
    )
    # The user's databases are not looked at.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seconds", type=float, default=DEFAULT_SECONDS, metavar="N", help=f"for each pair ({DEFAULT_SECONDS:g})"
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
        parser.add_argument(
            "--chart", type=Path, metavar="FILE", help="draw them there (PNG, SVG or PDF by its ending)"
        )

    def handle(self, *args: Any, seconds: float, **options: Any) -> None:
        json_file, chart = options["json"], options["chart"]
        if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            raise CommandError(f"--seconds is a number from {LEAST_SECONDS:g} to {MOST_SECONDS:g}.")
        for file in (json_file, chart):
            if file is not None and not file.parent.is_dir():
                raise CommandError(f"There is no folder {file.parent}.")
        if chart is not None and chart.suffix not in (".png", ".svg", ".pdf"):
            raise CommandError("--chart is a file that ends in .png, .svg or .pdf.")
        interruption.install_handlers()
        try:
            results, mongod = self._measure(seconds)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. The servers are gone, and so is their data.", returncode=130) from None
        except DevStackError as reason:
            raise CommandError(str(reason)) from reason
        except PyMongoError as error:
            raise CommandError(f"Stopped by a server: {type(error).__name__}. Try again.") from error
        output.show(results, cast(TextIO, self.stdout._out))
        if json_file:
            output.write_json(results, mongod, json_file)
        if chart:
            output.draw(results, chart)

    def _measure(self, seconds: float) -> tuple[list[Result], str]:
        stack = FaultInjectionStack()
        try:
            self.stderr.write("Starting three members of their own …")
            stack.up(postgresql=False)
            with stack.clients() as client:
                mongod = client.admin.command("buildInfo")["version"]
                return measuring.measure(client, seconds=seconds, tell=self.stderr.write), mongod
        finally:
            with interruption.signals_ignored():
                stack.reset()

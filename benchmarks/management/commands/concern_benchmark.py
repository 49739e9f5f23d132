"""`manage.py concern_benchmark` measures write and read concerns on a temporary replica set."""

from argparse import ArgumentParser
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from pymongo.errors import PyMongoError

from benchmarks import options as file_options
from benchmarks.concerns import measuring, output
from benchmarks.concerns.measuring import Result
from devstack import DevStackError
from devstack.fault_injection import FaultInjectionStack
from operations import interruption

DEFAULT_SECONDS = 3.0
MIN_SECONDS, MAX_SECONDS = 0.3, 300.0


class Command(BaseCommand):
    help = (
        "Measures each combination of the write concerns w=1, majority and majority+journal with the read concerns "
        "local, majority and linearizable, on a replica set of three members. Your data are not touched, and the "
        "servers are removed afterwards."
    )
    # The command does not use the user's databases.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seconds",
            type=float,
            default=DEFAULT_SECONDS,
            metavar="N",
            help=f"seconds for each combination ({DEFAULT_SECONDS:g})",
        )
        file_options.add_file_options(parser)

    def handle(self, *args: object, seconds: float, **options: Any) -> None:
        json_file, chart = options["json"], options["chart"]
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise CommandError(f"--seconds must be a number from {MIN_SECONDS:g} to {MAX_SECONDS:g}.")
        file_options.require_writable_files(json_file, chart)
        interruption.install_handlers()
        try:
            results, mongod = self._measure(seconds)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. The servers and their data were removed.", returncode=130) from None
        except DevStackError as error:
            raise CommandError(str(error)) from error
        except PyMongoError as error:
            raise CommandError(f"Stopped by a server: {type(error).__name__}. Run the command again.") from error
        output.print_results(results, cast(TextIO, self.stdout._out))
        if json_file:
            output.write_json(results, mongod, json_file)
        if chart:
            output.draw_chart(results, chart)

    def _measure(self, seconds: float) -> tuple[list[Result], str]:
        stack = FaultInjectionStack()
        try:
            self.stderr.write("Starting three members …")
            stack.up(postgresql=False)
            with stack.clients() as client:
                mongod = client.admin.command("buildInfo")["version"]
                return measuring.measure(client, seconds=seconds, report_progress=self.stderr.write), mongod
        finally:
            with interruption.signals_ignored():
                stack.reset()

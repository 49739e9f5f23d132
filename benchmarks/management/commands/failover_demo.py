"""`manage.py failover_demo` injects a fault into a replica set under load and reports lost and doubled writes."""

from argparse import ArgumentParser
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError

from benchmarks import options as file_options
from benchmarks.failover import output
from benchmarks.failover.demonstration import FAULTS, KILL, Demonstration, DemonstrationFailed, FailoverRun
from devstack import DevStackError
from operations import interruption

DEFAULT_SECONDS = 20
MIN_SECONDS, MAX_SECONDS = 4, 600
DIFFERENT, INTERRUPTED = 1, 130


class Command(BaseCommand):
    help = (
        "Starts a replica set of three members and a PostgreSQL, writes to them through the services, injects a fault "
        "into the primary, and compares acknowledged with stored writes. Your data are not touched, and the servers "
        "are removed afterwards. Exits with 0 if no write is lost or stored twice and writes went on in time."
    )
    # The command does not use the user's databases, which need not run.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fault",
            choices=FAULTS,
            default=KILL,
            help="fault of the primary: kill (SIGKILL, the default), freeze (SIGSTOP), step-down, or partition, which "
            "shows the writes that w=1 loses and w=majority refuses",
        )
        parser.add_argument(
            "--seconds",
            type=float,
            default=DEFAULT_SECONDS,
            metavar="N",
            help=f"seconds under load ({DEFAULT_SECONDS})",
        )
        file_options.add_file_options(parser, chart="draw the timeline")

    def handle(self, *args: object, fault: str, seconds: float, **options: Any) -> None:
        json_file, chart = options["json"], options["chart"]
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise CommandError(f"--seconds must be a number from {MIN_SECONDS} to {MAX_SECONDS}.")
        file_options.require_writable_files(json_file, chart)
        interruption.install_handlers()
        # The display needs the stream behind Django's wrapper, which ends every write with a line break.
        stream = cast(TextIO, self.stdout._out)
        run = FailoverRun(fault, seconds)
        try:
            with output.live_display(stream) as (update_display, print_event):
                Demonstration(run, update_display=update_display, print_event=print_event).execute()
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. The servers and their data were removed.", returncode=INTERRUPTED
            ) from None
        except (DemonstrationFailed, DevStackError) as error:
            raise CommandError(str(error)) from error
        output.print_report(run, stream)
        if json_file:
            output.write_json(run, json_file)
        if chart:
            output.draw_chart(run, chart)
        if failures := run.failures():
            raise CommandError(" ".join(failures), returncode=DIFFERENT)

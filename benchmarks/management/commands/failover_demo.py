"""A replica set of its own, broken under load."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError

from benchmarks.failover import output
from benchmarks.failover.running import FAULTS, KILL, DemonstrationFailed, Stage, Story
from devstack import DevStackError
from operations import interruption

DEFAULT_SECONDS = 20
LEAST_SECONDS, MOST_SECONDS = 4, 600
DIFFERENT, INTERRUPTED = 1, 130


class Command(BaseCommand):
    help = (
        "Starts three members of a replica set and a PostgreSQL of its own, works on them through the services, breaks "
        "the primary, and compares what was acknowledged with what is there. Your data are not touched, and nothing is "
        "left behind. Exits with 0 when nothing is lost or doubled and writes went on in time."
    )
    # The user's databases are not looked at; they need not even run.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fault",
            choices=FAULTS,
            default=KILL,
            help="what happens to the primary: kill -9 (the default), SIGSTOP, being asked to step down, or being cut "
            "off, which shows what w=1 loses and majority refuses",
        )
        parser.add_argument(
            "--seconds", type=float, default=DEFAULT_SECONDS, metavar="N", help=f"under load ({DEFAULT_SECONDS})"
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
        parser.add_argument(
            "--chart", type=Path, metavar="FILE", help="draw the timeline there (PNG, SVG or PDF by its ending)"
        )

    def handle(self, *args: Any, fault: str, seconds: float, **options: Any) -> None:
        json_file, chart = options["json"], options["chart"]
        if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            raise CommandError(f"--seconds is a number from {LEAST_SECONDS} to {MOST_SECONDS}.")
        for file in (json_file, chart):
            if file is not None and not file.parent.is_dir():
                raise CommandError(f"There is no folder {file.parent}.")
        if chart is not None and chart.suffix not in (".png", ".svg", ".pdf"):
            raise CommandError("--chart is a file that ends in .png, .svg or .pdf.")
        interruption.install_handlers()
        # Without Django's wrapper, which ends every write with a new line.
        stream = cast(TextIO, self.stdout._out)
        story = Story(fault, seconds)
        try:
            with output.live(stream) as (show, say):
                Stage(story, show=show, say=say).play()
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. The servers are gone, and so is their data.", returncode=INTERRUPTED
            ) from None
        except (DemonstrationFailed, DevStackError) as reason:
            raise CommandError(str(reason)) from reason
        output.report(story, stream)
        if json_file:
            output.write_json(story, json_file)
        if chart:
            output.draw(story, chart)
        if failures := story.failures():
            raise CommandError(" ".join(failures), returncode=DIFFERENT)

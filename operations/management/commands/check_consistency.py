from argparse import ArgumentParser
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from datasets.seed import writing as seeding
from healthcare.audit_log import recorder
from operations.consistency import running

#: Exit codes. A check that could not be made is not one that found nothing.
DIFFERENT = 1
NOT_CHECKED = 2
DEFAULT_LIMIT = 20


class Command(BaseCommand):
    help = (
        "Compare collections, charts, claims, events, bills and references with one another, while the system runs. "
        "Exits with 0 when they agree, with 1 when a difference is left (with --repair: one that was not repaired), "
        "with 2 when they could not be compared."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="mend what the data themselves can mend: charts, claims, undelivered events, missing bills, ties to "
            "accounts that are not there; what names a missing record is left for a person",
        )
        parser.add_argument(
            "--only",
            action="append",
            choices=running.NAMES,
            metavar="CHECK",
            help=f"run this check alone, again for another: {', '.join(running.NAMES)}",
        )
        parser.add_argument(
            "--limit",
            type=int,
            default=DEFAULT_LIMIT,
            metavar="N",
            help=f"how many differences of each check are shown; all are counted; default: {DEFAULT_LIMIT}",
        )

    def handle(self, *, repair: bool, only: list[str] | None, limit: int, **options: Any) -> None:
        if limit < 0:
            raise CommandError("--limit must be 0 or more.", returncode=NOT_CHECKED)
        try:
            if seeding.is_unfinished():
                message = (
                    "A run of `manage.py seed` is under way or was interrupted, so that the data are not whole: let it "
                    "end, or begin anew with `manage.py seed --flush`."
                )
                raise CommandError(message, returncode=NOT_CHECKED)
            # It reads everybody's records and says whose are not whole, also when it does not come to its end.
            recorder.record_read(f"patient.{'mended' if repair else 'checked'}")
            # Without Django's wrapper, which ends every write with a new line.
            with running.reporting(cast(TextIO, self.stdout._out)) as reporter:
                tallies = running.run(only or running.NAMES, is_repairing=repair, shown=limit, reporter=reporter)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What was repaired so far stays repaired.", returncode=130) from None
        except DatabaseError as error:
            # The driver's text may quote a document; its kind does not.
            message = f"Stopped by a database: {type(error.__cause__ or error).__name__}. Run the check again."
            raise CommandError(message, returncode=NOT_CHECKED) from error
        self.stdout.write(running.table(tallies))
        left = sum(tally.left for tally in tallies.values())
        if left:
            several = "s are" if left != 1 else " is"
            raise CommandError(f"{left:,} difference{several} left.", returncode=DIFFERENT)

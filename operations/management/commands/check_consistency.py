"""`manage.py check_consistency` compares the data of both databases and repairs what can be repaired."""

from argparse import ArgumentParser
from typing import TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from datasets.seed import writing as seeding
from healthcare.audit_log import recorder
from operations.consistency import runner
from operations.consistency.inconsistencies import pluralize

#: Exit codes. A check that could not run must not look like one that found nothing.
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
            help="repair charts, claims, undelivered events, missing bills and links to accounts that do not exist; a "
            "person must decide about a record that names a missing record",
        )
        parser.add_argument(
            "--only",
            action="append",
            choices=runner.NAMES,
            metavar="CHECK",
            help=f"run only this check; repeat the option for several: {', '.join(runner.NAMES)}",
        )
        parser.add_argument(
            "--limit",
            type=int,
            default=DEFAULT_LIMIT,
            metavar="N",
            help=f"print up to N differences of each check; all are counted; default: {DEFAULT_LIMIT}",
        )

    def handle(self, *, repair: bool, only: list[str] | None, limit: int, **options: object) -> None:
        if limit < 0:
            raise CommandError("--limit must be 0 or more.", returncode=NOT_CHECKED)
        try:
            if seeding.is_unfinished():
                message = (
                    "`manage.py seed` is running or was interrupted, so the data are incomplete. Wait until it ends, "
                    "or start again with `manage.py seed --flush`."
                )
                raise CommandError(message, returncode=NOT_CHECKED)
            # The access is recorded before the checks, because even interrupted checks have read patients' records.
            recorder.record_read(f"patient.{'mended' if repair else 'checked'}")
            # The reporter needs the stream behind Django's wrapper, which ends every write with a line break.
            with runner.open_reporter(cast(TextIO, self.stdout._out)) as reporter:
                results = runner.run(only or runner.NAMES, is_repairing=repair, limit=limit, reporter=reporter)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Repairs that were made stay.", returncode=130) from None
        except DatabaseError as error:
            # The driver's message may quote a document, so only its class is printed.
            message = f"Stopped by a database: {type(error.__cause__ or error).__name__}. Run the check again."
            raise CommandError(message, returncode=NOT_CHECKED) from error
        self.stdout.write(runner.table(results))
        remaining = sum(counts.remaining for counts in results.values())
        if remaining:
            is_or_are = "is" if remaining == 1 else "are"
            raise CommandError(f"{pluralize(remaining, 'difference')} {is_or_are} left.", returncode=DIFFERENT)

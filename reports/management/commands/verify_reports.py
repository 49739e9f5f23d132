"""Compare the rollups of the reports with the records."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from healthcare.audit_log import recorder
from reports import services

DEFAULT_LIMIT = 20
NOT_COMPARED = 2


class Command(BaseCommand):
    help = (
        "Counts everything anew and compares it with the rollups that the reports read, while the system runs. Ends "
        "with 1 when something differs; `rebuild_reports` mends it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--limit", type=int, default=DEFAULT_LIMIT, metavar="N", help=f"differences shown ({DEFAULT_LIMIT})"
        )

    def handle(self, *args: Any, limit: int, **options: Any) -> None:
        if limit < 0:
            raise CommandError("--limit must be 0 or more.", returncode=NOT_COMPARED)
        found = 0
        try:
            # It reads everybody's records, also when it does not come to its end.
            recorder.record_read("report.verified")
            for sentence in services.find_differences():
                found += 1
                if found <= limit:
                    self.stderr.write(sentence)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Not everything was compared.", returncode=130) from None
        except DatabaseError as error:
            message = f"Stopped by a database: {type(error.__cause__ or error).__name__}. Run the command again."
            raise CommandError(message, returncode=NOT_COMPARED) from error
        if found:
            raise CommandError(f"{found:,} figures of the reports are not what the records say.")
        self.stdout.write("The reports are what the records say.")

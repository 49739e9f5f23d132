"""`manage.py verify_reports` compares the rollups of the reports with the records."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from healthcare.audit_log import recorder
from reports import services

DEFAULT_LIMIT = 20
NOT_COMPARED = 2


class Command(BaseCommand):
    help = (
        "Count all records and compare the result with the rollups that the reports read, while the system runs. Exit "
        "with 1 if there is a difference, which `rebuild_reports` corrects, and with 2 if the comparison failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--limit",
            type=int,
            default=DEFAULT_LIMIT,
            metavar="N",
            help=f"print at most N differences; default: {DEFAULT_LIMIT}",
        )

    def handle(self, *args: object, limit: int, **options: object) -> None:
        if limit < 0:
            raise CommandError("--limit must be 0 or more.", returncode=NOT_COMPARED)
        found = 0
        try:
            # The access is recorded first, because even an interrupted command has read patients' records.
            recorder.record_read("report.verified")
            for sentence in services.find_differences():
                found += 1
                if found <= limit:
                    self.stderr.write(sentence)
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. Only a part was compared; run the command again.", returncode=130
            ) from None
        except DatabaseError as error:
            message = f"A database failed ({type(error.__cause__ or error).__name__}). Run the command again."
            raise CommandError(message, returncode=NOT_COMPARED) from error
        if found:
            raise CommandError(f"{found:,} figures of the reports differ from the records. Run rebuild_reports.")
        self.stdout.write("The reports agree with the records.")

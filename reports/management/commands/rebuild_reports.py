"""`manage.py rebuild_reports` rebuilds the rollups of the reports from the records."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from healthcare.audit_log import recorder
from reports import services


class Command(BaseCommand):
    help = "Rebuild the rollups that the reports read from the records, while the system runs. Repeated runs are safe."

    def handle(self, *args: object, **options: Any) -> None:
        checked = corrected = 0
        try:
            recorder.record("report.rebuilt", actor=None)
            for checked, corrected in services.rebuild():
                if options["verbosity"] > 1:
                    self.stdout.write(f"{checked:,} patients checked, {corrected:,} figures corrected")
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. The corrections so far are stored; run the command again.", returncode=130
            ) from None
        except DatabaseError as error:
            message = f"A database failed ({type(error.__cause__ or error).__name__}). Run the command again."
            raise CommandError(message) from error
        if options["verbosity"] > 0:
            self.stdout.write(f"{checked:,} patients checked, {corrected:,} figures corrected.")

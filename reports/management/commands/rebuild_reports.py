"""Make the rollups of the reports anew."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from healthcare.audit_log import recorder
from reports import services


class Command(BaseCommand):
    help = "Makes the rollups that the reports read what the records say, while the system runs. Safe to run again."

    def handle(self, *args: Any, **options: Any) -> None:
        looked_at = mended = 0
        try:
            recorder.record("report.rebuilt", actor=None)
            for looked_at, mended in services.rebuild():
                if options["verbosity"] > 1:
                    self.stdout.write(f"{looked_at:,} patients, {mended:,} figures mended")
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What was mended stays so; run the command again.", returncode=130
            ) from None
        except DatabaseError as error:
            message = f"Stopped by a database: {type(error.__cause__ or error).__name__}. Run the command again."
            raise CommandError(message) from error
        if options["verbosity"] > 0:
            self.stdout.write(f"{looked_at:,} patients looked at, {mended:,} figures mended.")

"""`manage.py restore` restores a backup into two empty databases and checks the result."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from healthcare.outbox import events
from operations.backups import files, restore


class Command(BaseCommand):
    help = (
        "Restores the backup in DIR into the databases of MONGODB_URI, MONGODB_DB and DATABASE_URL, which must be empty"
        " and unused. Migrates and fills both, delivers the events whose results the backup lacks, and runs"
        " check_consistency, verify_reports and verify_audit."
    )
    # The database checks would look for tables that do not exist yet.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *args: object, directory: Path, **options: Any) -> None:
        report_progress = self.stdout.write if options["verbosity"] > 0 else lambda _: None
        try:
            restore.restore(directory, report_progress=report_progress)
        except (files.InvalidBackup, restore.CannotRestore, restore.InconsistentRestore) as error:
            raise CommandError(str(error)) from error
        except events.ConsumerOutage as error:
            raise CommandError("A database became unavailable. Run relay_events, then check_consistency.") from error
        except DatabaseError as error:
            raise CommandError(f"Stopped by a database: {type(error.__cause__ or error).__name__}.") from error
        except OSError as error:
            raise CommandError(f"{error.strerror}: {error.filename}") from error
        self.stdout.write("Restored. Everybody must log in again.")

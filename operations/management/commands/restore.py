"""Put a backup into two empty databases, and check what comes of it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from healthcare.outbox import events
from operations.backups import files, restore


class Command(BaseCommand):
    help = (
        "Puts the backup in DIR into the databases of MONGODB_URI, MONGODB_DB and DATABASE_URL, which have to be empty"
        " and used by nobody: migrates them, fills them, delivers the events whose consequences the backup lacks, and"
        " runs check_consistency, verify_reports and verify_audit."
    )
    # The checks of a database tag would look for tables that are not there yet.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        tell = self.stdout.write if options["verbosity"] > 0 else lambda _: None
        try:
            restore.restore(directory, tell=tell)
        except (files.NoBackup, restore.CannotRestore, restore.NotWhole) as error:
            raise CommandError(str(error)) from error
        except events.ConsumerOutage as error:
            raise CommandError("A database went away; run relay_events, then check_consistency.") from error
        except DatabaseError as error:
            raise CommandError(f"Stopped by a database: {type(error.__cause__ or error).__name__}.") from error
        except OSError as error:
            raise CommandError(f"{error.strerror}: {error.filename}") from error
        self.stdout.write("Restored. Everybody has to log in again.")

"""Write both databases into a folder, while the system runs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from operations.backups import backup, files
from operations.backups.mongodb import SnapshotTooOld


class Command(BaseCommand):
    help = (
        "Writes a backup of MongoDB and PostgreSQL into an empty or new folder DIR while others read and write. It"
        " holds everybody's data: the folder is for its owner alone, and is to be encrypted before it goes elsewhere"
        " (docs/backups.md)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        tell = self.stdout.write if options["verbosity"] > 0 else lambda _: None
        try:
            digest = backup.make(directory, tell=tell)
        except (backup.CannotBackUp, files.NoBackup) as error:
            raise CommandError(str(error)) from error
        except SnapshotTooOld as error:
            message = (
                "MongoDB no longer remembers the moment of this backup. For one that takes longer than five minutes,"
                " raise minSnapshotHistoryWindowInSeconds (docs/backups.md)."
            )
            raise CommandError(message) from error
        except DatabaseError as error:
            # The driver's text may quote a document; its kind does not.
            raise CommandError(f"Stopped by a database: {type(error.__cause__ or error).__name__}.") from error
        except OSError as error:
            raise CommandError(f"{error.strerror}: {error.filename}") from error
        self.stdout.write(f"The backup is in {directory}. Its manifest has the SHA-256 {digest}")

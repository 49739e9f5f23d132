"""`manage.py backup` writes a backup of both databases while the system runs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from operations.backups import backup, files
from operations.backups.mongodb import SnapshotTooOld


class Command(BaseCommand):
    help = (
        "Writes a backup of MongoDB and PostgreSQL into an empty or new folder DIR while others read and write. The"
        " folder contains the data of every patient and is readable by its owner only. Encrypt it before you copy it"
        " to another machine (docs/backups.md)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *args: object, directory: Path, **options: Any) -> None:
        report_progress = self.stdout.write if options["verbosity"] > 0 else lambda _: None
        try:
            digest = backup.create_backup(directory, report_progress=report_progress)
        except (backup.CannotBackUp, files.InvalidBackup) as error:
            raise CommandError(str(error)) from error
        except SnapshotTooOld as error:
            message = (
                "MongoDB no longer keeps the snapshot of this backup. If a backup takes longer than five minutes, raise"
                " minSnapshotHistoryWindowInSeconds (docs/backups.md)."
            )
            raise CommandError(message) from error
        except DatabaseError as error:
            # The driver's message may quote a document, so only its class is printed.
            raise CommandError(f"Stopped by a database: {type(error.__cause__ or error).__name__}.") from error
        except OSError as error:
            raise CommandError(f"{error.strerror}: {error.filename}") from error
        self.stdout.write(f"The backup is in {directory}. The SHA-256 of its manifest is {digest}")

"""Move old months of the audit log into files."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import date
from pathlib import Path

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit import services


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a date such as 2026-01-01") from error


class Command(BaseCommand):
    help = (
        "Write whole months of the audit log that ended before DATE to files, which verify_audit can verify, and drop "
        "them from PostgreSQL with the role of ARCHIVE_DATABASE_URL."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR", help="the folder for the files")
        parser.add_argument(
            "--before",
            type=day,
            required=True,
            metavar="DATE",
            help="archive the months that end on or before this day",
        )

    def handle(self, *args: object, before: date, directory: Path, **options: object) -> None:
        try:
            for archived in services.archive(before=before, directory=directory):
                self.stdout.write(f"{archived.month}: {archived.entries} entries in {archived.file}")
        except services.MonthNotArchived as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, psycopg.Error) as error:
            message = f"A database failed ({type(error.__cause__ or error).__name__}). Run the command again."
            raise CommandError(message) from error
        except OSError as error:
            raise CommandError(f"{error.strerror}: {error.filename}") from error

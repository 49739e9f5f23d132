"""`manage.py import_synthea` imports a Synthea CSV export into both databases."""

from argparse import ArgumentParser
from pathlib import Path
from typing import TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from datasets.synthea.files import COLUMNS, UnusableExport, open_export
from datasets.synthea.importing import Import
from datasets.synthea.results import Rejections, reporting, table
from datasets.synthea.writing import Databases, DryRun
from healthcare import clock


class Command(BaseCommand):
    help = "Import a Synthea CSV export into both databases. Repeated runs are safe: existing records are not changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", metavar="DIR", type=Path, help="the csv folder of the export")
        parser.add_argument("--dry-run", action="store_true", help="print what an import would do, and write nothing")
        parser.add_argument(
            "--rejected", metavar="FILE", type=Path, help="write the rejected rows and the reasons to this CSV file"
        )
        parser.add_argument("--strict", action="store_true", help="exit with 1 if a row was rejected")

    def handle(self, *, directory: Path, dry_run: bool, rejected: Path | None, strict: bool, **options: object) -> None:
        try:
            files = open_export(directory)
            if rejected is not None and rejected.resolve() in {file.path.resolve() for file in files.values()}:
                raise CommandError(f"{rejected} is a file of the export. Name another file for the rejected rows.")
            rejections = Rejections(rejected)
        except (UnusableExport, OSError) as reason:
            raise CommandError(str(reason)) from reason
        for name in COLUMNS.keys() - files.keys():
            self.stdout.write(f"There is no {name}.csv. The import continues without it.")
        try:
            # Not through Django's wrapper, because it ends every write with a line break.
            with reporting(cast(TextIO, self.stdout._out)) as reporter:
                run = Import(files, DryRun() if dry_run else Databases(), rejections, reporter, clock.now())
                run.run()
        except DatabaseError as error:
            # The message of the driver may quote a document. The class of the error does not.
            kind = type(error.__cause__ or error).__name__
            message = (
                f"A database failed ({kind}). The records that are written stay; run the import again for the rest."
            )
            raise CommandError(message) from error
        finally:
            rejections.close()
        self.stdout.write(table(run.tallies))
        self.stdout.write(f"bills: {run.bills.created:,} created, {run.bills.existing:,} existing")
        if dry_run:
            self.stdout.write("This was a dry run: nothing was written.")
        if strict and run.rejected:
            raise CommandError(f"{run.rejected:,} rows were rejected.")

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from datasets.synthea.files import COLUMNS, UnusableExport, open_export
from datasets.synthea.importing import Import
from datasets.synthea.results import Rejections, reporting, table
from datasets.synthea.writing import Databases, Rehearsal
from healthcare import clock


class Command(BaseCommand):
    help = "Read a Synthea CSV export into both databases. Safe to run again: what is there stays as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", metavar="DIR", type=Path, help="the csv folder of the export")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, and write nothing")
        parser.add_argument(
            "--rejected", metavar="FILE", type=Path, help="a CSV for the rows that cannot be taken, with the reasons"
        )
        parser.add_argument("--strict", action="store_true", help="exit with 1 when a row was rejected")

    def handle(self, *, directory: Path, dry_run: bool, rejected: Path | None, strict: bool, **options: Any) -> None:
        try:
            files = open_export(directory)
            if rejected is not None and rejected.resolve() in {file.path.resolve() for file in files.values()}:
                raise CommandError(f"{rejected} is a file of the export: name another one for the rejected rows.")
            rejections = Rejections(rejected)
        except (UnusableExport, OSError) as reason:
            raise CommandError(str(reason)) from reason
        for name in COLUMNS.keys() - files.keys():
            self.stdout.write(f"There is no {name}.csv: going on without it.")
        try:
            # Without Django's wrapper, which ends every write with a new line.
            with reporting(cast(TextIO, self.stdout._out)) as reporter:
                run = Import(files, Rehearsal() if dry_run else Databases(), rejections, reporter, clock.now())
                run.run()
        except DatabaseError as error:
            # The driver's text may quote a document; its kind does not.
            kind = type(error.__cause__ or error).__name__
            message = f"Stopped by a database ({kind}). What was written stays; run the import again for the rest."
            raise CommandError(message) from error
        finally:
            rejections.close()
        self.stdout.write(table(run.tallies))
        self.stdout.write(f"bills: {run.bills.made:,} made, {run.bills.there:,} already there")
        if dry_run:
            self.stdout.write("A dry run: nothing was written.")
        if strict and run.rejected:
            raise CommandError(f"{run.rejected:,} rows were rejected.")

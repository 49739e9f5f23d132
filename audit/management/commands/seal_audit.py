"""Append the hashes of new audit log entries to the chain of seals in MongoDB."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit import services


class Command(BaseCommand):
    help = (
        "Seal the audit log entries that have arrived since the last seal. Keep the hash that the command prints on "
        "another machine or on paper: with `verify_audit --head` it shows whether the chain was cut."
    )

    def handle(self, *args: object, **options: Any) -> None:
        try:
            months = services.make_months()
            sealed = services.seal()
        except services.TransactionStillOpen as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(
                "A database cannot be reached. The seals that are in the chain are complete; run the command again."
            ) from error
        if options["verbosity"] > 0:
            for month in months:
                self.stdout.write(f"The audit log has a new partition for {month}.")
            self.stdout.write(f"{sealed.entries} entries sealed. Seal {sealed.number} has the hash {sealed.hash}")

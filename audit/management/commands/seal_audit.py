"""Chain the hashes of the audit trail's new entries into MongoDB."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit import services


class Command(BaseCommand):
    help = (
        "Seals the entries of the audit trail that came since the last time. Note the hash that it prints somewhere "
        "else: `verify_audit --head` finds a chain that was cut off behind it."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            months = services.make_months()
            sealed = services.seal()
        except services.StillWriting as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError("A database cannot be reached; nothing was sealed that is not in the chain.") from error
        if options["verbosity"] > 0:
            for month in months:
                self.stdout.write(f"The trail has a partition for {month}.")
            self.stdout.write(f"{sealed.entries} entries sealed. Seal {sealed.number} has the hash {sealed.hash}")

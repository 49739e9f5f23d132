"""`manage.py rotate_phi_key` changes the master key that encrypts the data keys."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from healthcare.audit_log import recorder
from healthcare.mongodb import encryption


class Command(BaseCommand):
    help = (
        "Encrypts the data keys with PHI_MASTER_KEY instead of PHI_MASTER_KEY_PREVIOUS. First restart the servers with"
        " both keys, then run this command, then remove the previous key. The encrypted fields are not changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="count the data keys that would be rewrapped and change nothing"
        )

    def handle(self, *args: object, dry_run: bool, **options: object) -> None:
        if not encryption.is_on():
            raise CommandError("PHI_MASTER_KEY is not set. Set it to the new key.")
        number = encryption.rewrap(is_dry_run=dry_run)
        provider = encryption.configuration()["provider"]
        if dry_run:
            self.stdout.write(f"{number} data keys would be wrapped by {provider}.")
            return
        if number:
            recorder.record("phi_key.rotated", actor=None)
        self.stdout.write(f"{number} data keys were rewrapped; all are wrapped by {provider}.")

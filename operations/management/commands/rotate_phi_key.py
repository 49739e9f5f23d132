"""Change the master key under which the data keys are encrypted."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from healthcare.audit_log import recorder
from healthcare.mongodb import encryption


class Command(BaseCommand):
    help = (
        "Wraps the data keys by PHI_MASTER_KEY, where PHI_MASTER_KEY_PREVIOUS has wrapped them. First restart the"
        " servers with both, then run this, then take the previous one away. The data themselves stay as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be rewrapped, change nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if not encryption.is_on():
            raise CommandError("PHI_MASTER_KEY is not set: there is no key to change to.")
        number = encryption.rewrap(is_dry_run=dry_run)
        provider = encryption.configuration()["provider"]
        if dry_run:
            self.stdout.write(f"{number} data keys would be wrapped by {provider}.")
            return
        if number:
            recorder.record("phi_key.rotated", actor=None)
        self.stdout.write(f"{number} data keys were rewrapped; all are wrapped by {provider}.")

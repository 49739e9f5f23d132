"""Verify the audit log by its seals."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from audit import verification


class Command(BaseCommand):
    help = (
        "Report whether entries of the audit log were altered, removed or inserted after they were sealed, and whether "
        "the seals are whole. Exit with 1 if there is a difference."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--head", help="a hash that seal_audit printed; the chain must contain it")
        parser.add_argument("--archive", type=Path, metavar="DIR", help="verify the files of archived months as well")

    def handle(self, *args: object, head: str | None, archive: Path | None, **options: object) -> None:
        if archive is not None and not archive.is_dir():
            raise CommandError(f"{archive} is not a folder.")
        found = verification.verify(head=head, directory=archive)
        for kind in verification.KINDS:
            if difference := found.differences.get(kind):
                more = f" ({difference.count} in all)" if difference.count > 1 else ""
                self.stderr.write(f"{kind}: {difference.first}{more}")
        self.stdout.write(
            f"{found.seal_count} seals and {found.entries} entries compared; {found.archived} are archived, "
            f"{found.unsealed} not sealed yet. The head is {found.head}"
        )
        if found.differences:
            raise CommandError("The audit log is not what was sealed.")

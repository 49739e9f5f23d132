"""Compare the audit trail with its seals."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import verification


class Command(BaseCommand):
    help = (
        "Says whether entries of the audit trail were altered, removed or inserted since they were sealed, and whether "
        "the seals were. Ends with 1 when something was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--head", help="a hash that seal_audit printed: the chain has to contain it")
        parser.add_argument("--archive", type=Path, metavar="DIR", help="check the files of archived months, too")

    def handle(self, *args: Any, head: str | None, archive: Path | None, **options: Any) -> None:
        if archive is not None and not archive.is_dir():
            raise CommandError(f"{archive} is no folder.")
        found = verification.verify(head=head, directory=archive)
        for kind in verification.KINDS:
            if finding := found.findings.get(kind):
                more = f" ({finding.count} in all)" if finding.count > 1 else ""
                self.stderr.write(f"{kind}: {finding.first}{more}")
        self.stdout.write(
            f"{found.links} seals and {found.entries} entries compared; {found.archived} are archived, "
            f"{found.unsealed} not sealed yet. The head is {found.head}"
        )
        if found.findings:
            raise CommandError("The audit trail is not what was sealed.")

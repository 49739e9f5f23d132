"""`manage.py dbshell`, recorded in the audit log.

The audit entry states that the shell was opened, but not which data were read in it.
"""

from typing import Any

from django.core.management.commands import dbshell

from healthcare.audit_log import recorder


class Command(dbshell.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        recorder.record_read("database.opened", subject=options["database"])
        super().handle(*args, **options)

"""`manage.py shell`, recorded in the audit log.

The audit entry states that the shell was opened, but not which data were read in it.
"""

from typing import Any

from django.core.management.commands import shell

from healthcare.audit_log import recorder


class Command(shell.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        recorder.record_read("database.opened")
        super().handle(*args, **options)

"""Django's shell, in which everything can be read: that it was opened is on record, what is read in it is not."""

from typing import Any

from django.core.management.commands import shell

from healthcare.audit_log import recorder


class Command(shell.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        recorder.record_read("database.opened")
        super().handle(*args, **options)

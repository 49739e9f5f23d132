"""Django's dbshell, in which everything can be read: that it was opened is on record, what is read in it is not."""

from typing import Any

from django.core.management.commands import dbshell

from healthcare.audit_log import recorder


class Command(dbshell.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        recorder.record_read("database.opened", subject=options["database"])
        super().handle(*args, **options)

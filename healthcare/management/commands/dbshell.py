"""Django's dbshell, in which everything can be read: that it was opened is on record, what is read in it is not."""

from typing import Any

from django.core.management.commands import dbshell

from healthcare import audit


class Command(dbshell.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        audit.record_reading("database.opened", subject=options["database"])
        super().handle(*args, **options)

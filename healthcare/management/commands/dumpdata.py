"""Django's dumpdata, which writes out whole tables: on record."""

from typing import Any

from django.core.management.commands import dumpdata

from healthcare import audit


class Command(dumpdata.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        audit.record_reading("database.dumped", subject=options["database"])
        super().handle(*args, **options)

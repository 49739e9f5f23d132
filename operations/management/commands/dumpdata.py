"""`manage.py dumpdata`, recorded in the audit log because its output contains whole tables."""

from typing import Any

from django.core.management.commands import dumpdata

from healthcare.audit_log import recorder


class Command(dumpdata.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        recorder.record_read("database.dumped", subject=options["database"])
        super().handle(*args, **options)

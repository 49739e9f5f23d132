"""Entries of the audit log, for tests to compare and to delete."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from healthcare.audit_log.models import AuditEntry


class Recorded:
    """The entries that arrived while a block ran. The tables also hold the entries of other tests."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def said(self) -> list[tuple[Any, ...]]:
        """Return action, outcome, role, account and patients of each entry, in order."""
        return [
            (entry.action, entry.outcome, entry.role, entry.actor_id, sorted(entry.patient_ids))
            for entry in self.entries
        ]


@contextmanager
def recording() -> Iterator[Recorded]:
    recorded = Recorded()
    with connection.cursor() as cursor:
        cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_entry_id")
        (before,) = cursor.fetchone()
    yield recorded
    recorded.entries = list(AuditEntry.objects.filter(id__gt=before).order_by("id"))


def wipe() -> None:
    """Delete the entries and the stored heads. The seals in MongoDB are deleted with its other documents."""
    with connection.cursor() as cursor:
        # Triggers refuse to delete entries. The superuser of the embedded server can switch them off.
        cursor.execute("SET session_replication_role = replica")
        for table in ("audit_patients", "audit_entries", "audit_heads"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - one of these
        cursor.execute("SET session_replication_role = DEFAULT")

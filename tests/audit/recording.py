"""The audit entries that a block of a test leaves, and how a test deletes all entries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from healthcare.audit_log.models import AuditEntry


class Recorded:
    """The audit entries that were inserted while a block ran.

    The table may hold entries of earlier tests as well, because nobody can delete entries.
    """

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def said(self) -> list[tuple[Any, ...]]:
        """Return the action, outcome, role, account and patients of each entry, in order."""
        return [
            (entry.action, entry.outcome, entry.role, entry.actor_id, sorted(entry.patient_ids))
            for entry in self.entries
        ]


@contextmanager
def recording() -> Iterator[Recorded]:
    """Collect the audit entries that the block inserts."""
    recorded = Recorded()
    with connection.cursor() as cursor:
        cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_entry_id")
        (before,) = cursor.fetchone()
    yield recorded
    recorded.entries = list(AuditEntry.objects.filter(id__gt=before).order_by("id"))


def wipe() -> None:
    """Delete all entries and heads from PostgreSQL; the seals in MongoDB are emptied with its other documents."""
    with connection.cursor() as cursor:
        # The role of the tests is a superuser, which can switch off the triggers that refuse it.
        cursor.execute("SET session_replication_role = replica")
        for table in ("audit_patients", "audit_entries", "audit_heads"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - one of these
        cursor.execute("SET session_replication_role = DEFAULT")

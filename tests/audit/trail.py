"""What is on record, for tests to compare, and to wipe as nobody else can."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from healthcare.audit_log.models import AuditEntry


class Recorded:
    """The entries that came while a block ran. (Tables of tests hold those of other tests, too: nobody can delete.)"""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def said(self) -> list[tuple[Any, ...]]:
        """Action, outcome, role, account and patients of each entry, in order."""
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
    """Delete the entries and the notes of their seals; those in MongoDB go with its other documents."""
    with connection.cursor() as cursor:
        # The superuser of the embedded server can switch all triggers off.
        cursor.execute("SET session_replication_role = replica")
        for table in ("audit_patients", "audit_entries", "audit_heads"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - one of these
        cursor.execute("SET session_replication_role = DEFAULT")

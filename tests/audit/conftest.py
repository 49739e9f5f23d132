"""A trail that a test may alter: its own months of it, wiped as nobody else can."""

from collections.abc import Iterator

import pytest
from django.db import connection


@pytest.fixture
def own_trail(transactional_db: None) -> Iterator[None]:
    """An empty trail before and after the test, whose entries are committed."""
    wipe()
    yield
    wipe()


def wipe() -> None:
    with connection.cursor() as cursor:
        # The superuser of the embedded server can switch all triggers off.
        cursor.execute("SET session_replication_role = replica")
        for table in ("audit_patients", "audit_entries", "audit_heads"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - one of these
        cursor.execute("SET session_replication_role = DEFAULT")

"""Statements that every request sends to PostgreSQL: prepared once in each connection, past Django's cursor.

They take part in the open transaction and raise Django's database errors, as all others do.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connections

from healthcare.routers import DEFAULT


def execute(statement: str, parameters: Sequence[Any]) -> Any:
    """Run one of the few statements that are constants; a cursor with its rows. Raises: DatabaseError."""
    connection = connections[DEFAULT]
    if connection.vendor != "postgresql" or connection.queries_logged:
        cursor = connection.cursor()
        cursor.execute(statement, parameters)
        return cursor
    from psycopg import Cursor

    # As Django's cursor does: the first statement of a request may meet a connection that has died since the last one.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        return Cursor(connection.connection).execute(statement, parameters, prepare=True)

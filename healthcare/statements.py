"""Statements that every request sends to PostgreSQL: prepared once in each connection, past Django's cursor.

They take part in the open transaction and raise Django's database errors, as all others do.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connections

from healthcare.routers import DEFAULT


def execute(statement: str, parameters: Sequence[Any]) -> Any:
    """Run one of the few statements that are constants; a cursor with its rows, until it is run again.

    Raises: DatabaseError.
    """
    connection = connections[DEFAULT]
    if connection.vendor != "postgresql" or connection.queries_logged:
        cursor = connection.cursor()
        cursor.execute(statement, parameters)
        return cursor
    # As Django's cursor does: the first statement of a request may meet a connection that has died since the last one.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        return _cursor_for(statement, connection.connection).execute(statement, parameters, prepare=True)


def _cursor_for(statement: str, driver: Any) -> Any:
    """The connection's own cursor for the statement: it knows how to send such parameters and read such rows."""
    from psycopg import Cursor

    cursors = vars(driver).setdefault("cursors_of_statements", {})
    if statement not in cursors:
        cursors[statement] = Cursor(driver)
    return cursors[statement]

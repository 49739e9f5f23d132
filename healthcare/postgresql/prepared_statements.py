"""Statements that every request sends to PostgreSQL: prepared once in each connection, past Django's cursor.

They take part in the open transaction and raise Django's database errors, as all others do.
"""

import time
from collections.abc import Sequence
from typing import Any

from django.db import InterfaceError, OperationalError, connections

from healthcare.routers import DEFAULT

#: A server that answers with an error this soon is there, or has been started again.
RECONNECT_WITHIN_SECONDS = 1.0


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


def execute_first(statement: str, parameters: Sequence[Any]) -> Any:
    """The same of the first statement of a request, which may be sent twice: its connection may have died by now.

    Django would ask a connection whether it is still good before it is used; this statement tells.
    Raises: DatabaseError.
    """
    connection = connections[DEFAULT]
    was_open, began = connection.connection is not None, time.monotonic()
    connection.health_check_done = True  # type: ignore[attr-defined]
    try:
        return execute(statement, parameters)
    except (OperationalError, InterfaceError):
        is_frozen = time.monotonic() - began > RECONNECT_WITHIN_SECONDS
        if not was_open or is_frozen or connection.in_atomic_block:
            raise
        connection.close()
        return execute(statement, parameters)


def _cursor_for(statement: str, driver: Any) -> Any:
    """The connection's own cursor for the statement: it knows how to send such parameters and read such rows."""
    from psycopg import Cursor

    cursors = vars(driver).setdefault("cursors_of_statements", {})
    if statement not in cursors:
        cursors[statement] = Cursor(driver)
    return cursors[statement]

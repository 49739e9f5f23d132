"""Prepared statements: the statements that every request sends to PostgreSQL, planned once for each connection.

They bypass Django's cursor, which sends every statement as one text with its values and so cannot prepare it. They run
in the open transaction and raise Django's database errors, as every other statement does.
"""

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from healthcare.routers import DEFAULT

#: A server that answers with an error within this time is reachable, or has just been restarted: reconnecting is worth
#: a try. A server that takes longer is frozen.
RECONNECT_WITHIN_SECONDS = 1.0


def set_health_check_done(connection: BaseDatabaseWrapper, *, is_done: bool) -> None:
    """Set whether the next statement may be sent without a check that the connection is still usable."""
    connection.health_check_done = is_done  # type: ignore[attr-defined]  # the stubs lack Django's attribute


def execute(statement: str, parameters: Sequence[Any]) -> Any:
    """Run a constant statement as a prepared one and return its cursor. Raises: DatabaseError."""
    connection = connections[DEFAULT]
    if connection.vendor != "postgresql" or connection.queries_logged:
        cursor = connection.cursor()
        cursor.execute(statement, parameters)
        return cursor
    # Django's cursor takes the same three steps: the connection may have died since the last request.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        return psycopg.Cursor(connection.connection).execute(statement, parameters, prepare=True)


def execute_first(statement: str, parameters: Sequence[object]) -> Any:
    """Run the first statement of a request, and once more on a new connection if the old one has died meanwhile.

    The statement must be one that may be sent twice. Django would send `SELECT 1` first to check the connection; this
    statement is the check. Raises: DatabaseError.
    """
    connection = connections[DEFAULT]
    was_connected, began = connection.connection is not None, time.monotonic()
    set_health_check_done(connection, is_done=True)
    try:
        return execute(statement, parameters)
    except (OperationalError, InterfaceError):
        is_frozen = time.monotonic() - began > RECONNECT_WITHIN_SECONDS
        if not was_connected or is_frozen or connection.in_atomic_block:
            raise
        connection.close()
        return execute(statement, parameters)

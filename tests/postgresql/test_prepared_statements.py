"""Prepared statements survive a connection that died between two requests, as Django's own cursor does."""

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from healthcare.postgresql import prepared_statements

pytestmark = pytest.mark.django_db(transaction=True)


def terminate_connection() -> None:
    """End this connection from another one, as a restart of the server does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    finally:
        other.close()


def test_first_statement_of_a_request_takes_a_new_connection_for_a_dead_one() -> None:
    terminate_connection()
    # Django resets this at the start of a request.
    prepared_statements.set_health_check_done(connection, is_done=False)
    assert prepared_statements.execute("SELECT 1", []).fetchone() == (1,)


def test_later_statement_of_a_request_fails() -> None:
    """Statements before it on the lost connection may have been half of an operation."""
    terminate_connection()
    prepared_statements.set_health_check_done(connection, is_done=True)
    with pytest.raises(DatabaseError):
        prepared_statements.execute("SELECT 1", [])
    connection.close()


def test_execute_first_reconnects_without_a_check_before() -> None:
    terminate_connection()
    prepared_statements.set_health_check_done(connection, is_done=True)
    assert prepared_statements.execute_first("SELECT 1", []).fetchone() == (1,)
    with CaptureQueriesContext(connection) as captured:
        prepared_statements.execute_first("SELECT 1", [])
    assert len(captured) == 1


def test_execute_first_does_not_reconnect_inside_a_transaction() -> None:

    @transaction.atomic(using="default")
    def service() -> None:
        terminate_connection()
        prepared_statements.execute_first("SELECT 1", [])

    with pytest.raises(OperationalError):
        service()
    connection.close()


def test_statement_is_planned_once_in_a_connection() -> None:
    """The settings set `prepare_threshold`; without one, as in Django's default, psycopg ignores `prepare=True`."""
    for _ in range(3):
        assert prepared_statements.execute("SELECT 40 + %s", [2]).fetchone() == (42,)
    with connection.cursor() as cursor:
        cursor.execute("SELECT calls FROM (SELECT generic_plans + custom_plans AS calls, statement "
                       "FROM pg_prepared_statements) AS s WHERE statement LIKE 'SELECT 40 +%%'")  # fmt: skip
        assert cursor.fetchall() == [(3,)]

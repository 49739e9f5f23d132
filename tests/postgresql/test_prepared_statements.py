"""Statements past Django's cursor are as patient with a connection that died between two requests as it is."""

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from healthcare.postgresql import prepared_statements

pytestmark = pytest.mark.django_db(transaction=True)


def end_from_elsewhere() -> None:
    """As a server that was started again has ended all connections that processes keep."""
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
    end_from_elsewhere()
    # Where a request begins.
    connection.health_check_done = False
    assert prepared_statements.execute("SELECT 1", []).fetchone() == (1,)


def test_later_statement_does_not() -> None:
    """What came before it on the lost connection may have been the half of something."""
    end_from_elsewhere()
    connection.health_check_done = True
    with pytest.raises(DatabaseError):
        prepared_statements.execute("SELECT 1", [])
    connection.close()


def test_what_may_be_sent_twice_takes_a_new_connection_without_asking_before() -> None:
    end_from_elsewhere()
    connection.health_check_done = True
    assert prepared_statements.execute_first("SELECT 1", []).fetchone() == (1,)
    with CaptureQueriesContext(connection) as captured:
        prepared_statements.execute_first("SELECT 1", [])
    assert len(captured) == 1


def test_what_may_be_sent_twice_is_not_within_a_transaction() -> None:
    """Which says itself what it died of."""

    @transaction.atomic
    def service() -> None:
        end_from_elsewhere()
        prepared_statements.execute_first("SELECT 1", [])

    with pytest.raises(OperationalError):
        service()
    connection.close()


def test_statement_is_planned_once_in_a_connection() -> None:
    """psycopg prepares nothing, whatever it is asked for, on a connection without a threshold: Django's default."""
    for _ in range(3):
        assert prepared_statements.execute("SELECT 40 + %s", [2]).fetchone() == (42,)
    with connection.cursor() as cursor:
        cursor.execute("SELECT calls FROM (SELECT generic_plans + custom_plans AS calls, statement "
                       "FROM pg_prepared_statements) AS s WHERE statement LIKE 'SELECT 40 +%%'")  # fmt: skip
        assert cursor.fetchall() == [(3,)]

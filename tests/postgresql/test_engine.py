"""The PostgreSQL engine is Django's, except that a server process gives up on a statement that is not answered."""

import time

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from healthcare.postgresql.base import Connection, limit_answer_time
from healthcare.postgresql.circuit_breaker import ANSWER_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


def sleep(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


def test_settings_use_the_engine() -> None:
    assert settings.DATABASES["default"]["ENGINE"] == "healthcare.postgresql"
    assert connection.vendor == "postgresql"
    connection.ensure_connection()
    assert isinstance(connection.connection, Connection)


def test_unanswered_statement_is_given_up_and_its_connection_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep(0)
    first = connection.connection
    with monkeypatch.context() as server_process:
        server_process.setattr(Connection, "answer_seconds", 0.3)
        began = time.monotonic()
        with pytest.raises(OperationalError):
            sleep(20)
        assert time.monotonic() - began < 5
    # The late answer can reach nobody; the next request connects anew.
    assert first.closed
    connection.close_if_unusable_or_obsolete()
    sleep(0)
    assert connection.connection is not first


def test_error_of_the_server_leaves_the_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "answer_seconds", 30.0)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '50ms'")
    with pytest.raises(OperationalError, match="statement timeout"):
        sleep(20)
    assert not connection.connection.closed
    connection.close()


def test_only_server_processes_have_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Connection.answer_seconds is None
    monkeypatch.setattr(Connection, "answer_seconds", None)
    limit_answer_time()
    assert Connection.answer_seconds == ANSWER_SECONDS

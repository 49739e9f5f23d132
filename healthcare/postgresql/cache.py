"""Django cache backend in PostgreSQL, shared by all processes: counters of rate limits, and codes that work once.

django-ratelimit and allauth need an atomic `add` and `incr` from Django's cache. None of Django's own backends is both
shared and atomic without a further server. With `REDIS_URL` set, Redis is that server and this module is unused.
"""

import json
import os
import random
import threading
import time
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from healthcare.postgresql import circuit_breaker, prepared_statements
from healthcare.routers import DEFAULT

_ADD = """
    INSERT INTO healthcare_counter (key, value, expires_at) VALUES (%s, %s, %s)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
    WHERE healthcare_counter.expires_at <= %s RETURNING value
"""
_SET = """
    INSERT INTO healthcare_counter (key, value, expires_at) VALUES (%s, %s, %s)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at RETURNING value
"""
_INCREASE = """
    UPDATE healthcare_counter SET value = CAST(CAST(value AS BIGINT) + %s AS TEXT)
    WHERE key = %s AND expires_at > %s RETURNING value
"""
_TOUCH = "UPDATE healthcare_counter SET expires_at = %s WHERE key = %s AND expires_at > %s RETURNING value"
_GET = "SELECT value FROM healthcare_counter WHERE key = %s AND expires_at > %s"
_DELETE = "DELETE FROM healthcare_counter WHERE key = %s RETURNING value"
_CLEAR = "DELETE FROM healthcare_counter WHERE expires_at <= %s"

#: On average, one of this many calls of `add` also deletes the expired keys.
CLEAR_EVERY = 200
FOREVER_SECONDS = 10 * 366 * 86_400.0

_lock = threading.Lock()
_connections: dict[int, BaseDatabaseWrapper] = {}


class PostgreSQLCache(BaseCache):
    """Django's cache interface over one table; each operation is one statement in a transaction of its own.

    The cache has its own connection, one for each process, so that a counted attempt stays counted when the request's
    transaction is rolled back. Values are JSON. Raises: OperationalError while PostgreSQL is out.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, key: object, value: object, timeout: object = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, now = self.make_and_validate_key(key, version=version), time.time()
        if random.randrange(CLEAR_EVERY) == 0:  # noqa: S311 - housekeeping, no secret
            _run(_CLEAR, now)
        return _run(_ADD, name, json.dumps(value), self._expiry(timeout), now) is not None

    def get(self, key: object, default: object = None, version: int | None = None) -> Any:
        value = _run(_GET, self.make_and_validate_key(key, version=version), time.time())
        return default if value is None else json.loads(value)

    def set(self, key: object, value: object, timeout: object = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        name = self.make_and_validate_key(key, version=version)
        _run(_SET, name, json.dumps(value), self._expiry(timeout))

    def touch(self, key: object, timeout: object = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name = self.make_and_validate_key(key, version=version)
        return _run(_TOUCH, self._expiry(timeout), name, time.time()) is not None

    def delete(self, key: object, version: int | None = None) -> bool:
        return _run(_DELETE, self.make_and_validate_key(key, version=version)) is not None

    def incr(self, key: object, delta: int = 1, version: int | None = None) -> int:
        """Increase a counter. Raises: ValueError if there is no such counter, as Django's caches do."""
        value = _run(_INCREASE, delta, self.make_and_validate_key(key, version=version), time.time())
        if value is None:
            raise ValueError(f"There is no counter {key!r}.")
        return int(value)

    def clear(self) -> None:
        _run(_CLEAR, time.time() + 2 * FOREVER_SECONDS)

    def _expiry(self, timeout: Any) -> float:
        expires_at = self.get_backend_timeout(timeout)
        return time.time() + FOREVER_SECONDS if expires_at is None else expires_at


def close() -> None:
    """Close this process's connection; the next operation opens another."""
    with _lock:
        connection = _connections.pop(os.getpid(), None)
        if connection is not None:
            connection.close()


def _run(statement: str, *values: Any) -> str | None:
    """Run a statement; return the value of the row that it returns, if any. Raises: OperationalError and others."""
    if not circuit_breaker.postgresql.allows_request():
        raise OperationalError("PostgreSQL could not be reached a moment ago.")
    try:
        with _lock:
            connection = _own_connection()
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement, values)
                    row = cursor.fetchone() if cursor.description else None
            except DatabaseError:
                connection.close_if_unusable_or_obsolete()
                raise
    except (OperationalError, InterfaceError):
        circuit_breaker.postgresql.record_failure()
        raise
    circuit_breaker.postgresql.record_success()
    return row[0] if row else None


def _own_connection() -> BaseDatabaseWrapper:
    """Return the cache's connection of this process. A forked child opens its own, and so does a test's database."""
    settings = connections[DEFAULT].settings_dict
    connection = _connections.get(os.getpid())
    if connection is None or connection.settings_dict["NAME"] != settings["NAME"]:
        connection = connections[DEFAULT].copy()
        connection.inc_thread_sharing()
        # This only drops the reference; a connection of the parent process stays open there.
        _connections.clear()
        _connections[os.getpid()] = connection
    else:
        # Check the connection, as Django does at the start of a request, because PostgreSQL may have closed it.
        prepared_statements.set_health_check_done(connection, is_done=False)
    return connection

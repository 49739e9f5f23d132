"""What keeps an outage of a database from taking every thread with it.

A server that is gone refuses at once. One that is frozen, or behind a network that swallows packets, answers never:
each request would wait for its time limit, and those that do not need that server behind them. So a request waits for
PostgreSQL for some seconds only, and while it is out one request at a time finds out whether it is back. (MongoDB's
driver watches its servers itself; see `healthcare.mongodb.base`.)
"""

import threading
import time
from collections.abc import Generator
from typing import Any

from django.db.backends.signals import connection_created

#: How long a request waits for the answer to one statement. Commands wait as long as it takes.
ANSWER_SECONDS = 5.0
#: How long nobody asks a database that was out a moment ago, but who goes to see.
PAUSE_SECONDS = 1.0


class CircuitBreaker:
    """What this process last saw of a database: whether it answered."""

    def __init__(self) -> None:
        self._try_at: float | None = None
        self._lock = threading.Lock()

    def is_up(self) -> bool:
        """Whether it answered when this process asked it last."""
        return self._try_at is None

    def allows_request(self) -> bool:
        """Whether to ask the database; while it is out one caller each PAUSE_SECONDS is told so."""
        with self._lock:
            if self._try_at is None:
                return True
            if time.monotonic() < self._try_at:
                return False
            self._try_at = time.monotonic() + ANSWER_SECONDS
            return True

    def record_failure(self) -> None:
        with self._lock:
            self._try_at = time.monotonic() + PAUSE_SECONDS

    def record_success(self) -> None:
        with self._lock:
            self._try_at = None


postgresql = CircuitBreaker()


def limit_wait_for_answers() -> None:
    """Have each new connection to PostgreSQL of this process give up on a statement after ANSWER_SECONDS.

    `statement_timeout` does not help with a server that has stopped itself, nor do the kernel's keepalives, which a
    frozen process's kernel answers.
    """
    connection_created.connect(_bound, dispatch_uid="healthcare.postgresql.circuit_breaker")


def _bound(connection: Any, **_: Any) -> None:
    if connection.vendor != "postgresql":
        return
    driver = connection.connection
    wait = driver.wait

    def wait_for_a_while(generator: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        from psycopg import OperationalError

        began = time.monotonic()
        try:
            return wait(generator, *args, **{"timeout": ANSWER_SECONDS, **options})
        except OperationalError:
            if time.monotonic() - began >= ANSWER_SECONDS:
                # Its answer may still come, to the next statement.
                driver.pgconn.finish()
            raise

    driver.wait = wait_for_a_while

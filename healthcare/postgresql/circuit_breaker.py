"""Circuit breaker: while PostgreSQL is out, requests fail at once instead of waiting for it.

A server that has stopped refuses a connection at once, but a frozen one never answers. Each request would wait for its
time limit, and requests that do not need PostgreSQL would queue behind those that do. So a request waits for a few
seconds only (`healthcare.postgresql.base`), and after a failure one request at a time tries the server again. MongoDB
needs no circuit breaker here: its driver monitors the servers (`healthcare.mongodb.base`).
"""

import threading
import time

#: How long a server process waits for the answer to one statement. Commands wait as long as a statement takes.
ANSWER_SECONDS = 5.0
#: How long the circuit stays open after a failure, before one request tries the database again.
OPEN_SECONDS = 1.0


class CircuitBreaker:
    """State of a database: closed if the database answered the last request of this process, open if not."""

    def __init__(self) -> None:
        #: When the next request may try the database; None while the circuit is closed.
        self._try_at: float | None = None
        self._lock = threading.Lock()

    def is_closed(self) -> bool:
        """Return whether the database answered the last request."""
        return self._try_at is None

    def allows_request(self) -> bool:
        """Return whether the caller may ask the database. While the circuit is open, one caller at a time may."""
        with self._lock:
            if self._try_at is None:
                return True
            if time.monotonic() < self._try_at:
                return False
            self._try_at = time.monotonic() + ANSWER_SECONDS
            return True

    def record_failure(self) -> None:
        with self._lock:
            self._try_at = time.monotonic() + OPEN_SECONDS

    def record_success(self) -> None:
        with self._lock:
            self._try_at = None


postgresql = CircuitBreaker()

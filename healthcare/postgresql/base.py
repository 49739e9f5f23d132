"""Django's PostgreSQL engine, with a limit on how long a server process waits for the answer to a statement.

A frozen PostgreSQL, or one behind a network that drops packets, never answers. `statement_timeout` does not help,
because the server itself enforces it, nor do TCP keepalives, because the kernel of a frozen server answers them.
"""

import time
from types import SimpleNamespace
from typing import Any, ClassVar

import psycopg
from django.db.backends.postgresql import base

from healthcare.postgresql.circuit_breaker import ANSWER_SECONDS


class Connection(psycopg.Connection[Any]):
    """A psycopg connection that closes itself if a statement is not answered within `answer_seconds`."""

    #: The limit for all connections of this process; with None they wait as long as the statement takes.
    answer_seconds: ClassVar[float | None] = None

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for the server, as every statement does. Raises: OperationalError when the time is up."""
        began = time.monotonic()
        try:
            return super().wait(gen, *args, **{"timeout": self.answer_seconds, **options})
        except psycopg.OperationalError:
            if self.answer_seconds is not None and time.monotonic() - began >= self.answer_seconds:
                # Close the connection: the late answer must not be taken for the answer to the next statement.
                self.pgconn.finish()
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    # Django connects by `Database.connect`, and has no setting for the class of the connection.
    Database: Any = SimpleNamespace(**{**vars(psycopg), "connect": Connection.connect})


def limit_answer_time() -> None:
    """Give up on each statement after ANSWER_SECONDS, in this process; server processes call this once.

    Management commands do not call it, because a migration or a backup may take longer.
    """
    Connection.answer_seconds = ANSWER_SECONDS

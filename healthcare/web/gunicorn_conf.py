"""How gunicorn serves, here and in production: `gunicorn --config python:healthcare.web.gunicorn_conf healthcare.wsgi`.

gunicorn reads the names below as its settings; options on its command line and in GUNICORN_CMD_ARGS come before them.
On SIGTERM it takes no new connection, answers the requests that it has, and ends; each request delivers its own events
before it is answered, so none is lost.
"""

import atexit
import gc
import os
import select
import shutil
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

#: How long a process lets others take a new caller first, for each that it has, and how many it counts.
YIELD_SECONDS = 0.0002
MOST_YIELDS = 8
#: How long a thread stays with a caller for the next request, when nobody else waits for one.
STAY_MS = 3


class Worker(ThreadWorker):
    """gunicorn's worker with threads, in three things different.

    - **Stopping** it hears the last callers out. The stock one stops accepting and keeps its sockets open for as long
      as it still answers, seconds on end: whoever connects meanwhile is taken in by the kernel, waits, and is cut off.
      This one takes in who is waiting and closes the door, so that the next one is refused at once and tries elsewhere.
    - **Callers are shared out** among the processes. Whoever wakes first takes one, so that a client that opens eight
      connections at once often had them all in one process and the other idle.
    - **A thread stays with its caller** for the next request, a moment, rather than hand it back to the thread that
      watches all of them and be handed it again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Connections that no thread has taken up yet. Threads take from it, one adds.
        self._waiting: deque[TConn] = deque()

    def accept(self, listener: Any) -> None:
        if self.alive and self.nr_conns:
            time.sleep(YIELD_SECONDS * min(self.nr_conns, MOST_YIELDS))
        # Says nothing when somebody else was faster.
        super().accept(listener)

    def enqueue_req(self, conn: TConn) -> None:
        self._waiting.append(conn)
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        self._waiting.popleft()
        result = super().handle(conn)
        # True: answered, and the connection is kept.
        while result is True and self.alive and not self._waiting and self._asks_again(conn):
            result = super().handle(conn)
        return result

    @staticmethod
    def _asks_again(conn: TConn) -> bool:
        if conn.parser.unreader.buf.getvalue():
            # It has been read already.
            return True
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return bool(poll.poll(STAY_MS))

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                self._accept_all(listener)
                listener.close()

    def _accept_all(self, listener: Any) -> None:
        """What `accept` does, until nobody waits any more."""
        listener.setblocking(False)
        before = -1
        while before != self.nr_conns:
            before = self.nr_conns
            self.accept(listener)


class Log(Logger):
    """gunicorn's own lines, and none about requests: it would look up thirty facts of each, to write none of them."""

    def access(self, *_: Any) -> None:
        """healthcare.observability.metrics counts requests and writes their lines."""


worker_class = "healthcare.web.gunicorn_conf.Worker"
logger_class = "healthcare.web.gunicorn_conf.Log"
threads = 4
graceful_timeout = 30
# It lies in a folder that two checkouts would share.
control_socket_disable = True

# --- Logs (healthcare.observability.logs): its own lines are of the same form as the application's --------------------------------

_form = "text" if os.environ.get("LOG_FORMAT") == "text" else "json"
_formatter = {
    "text": "healthcare.observability.logs.TextFormatter",
    "json": "healthcare.observability.logs.JsonFormatter",
}[_form]
_own = {"handlers": ["stderr"], "propagate": False}
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": _formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {**_own, "level": "INFO"}, "gunicorn.access": {"handlers": [], "propagate": False}},
}

# --- Metrics (healthcare.observability.metrics) ------------------------------------------------------------------------------------

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
if _METRICS not in os.environ:
    # Before anything imports prometheus_client, which looks at it once.
    os.environ[_METRICS] = tempfile.mkdtemp(prefix="healthcare-metrics-")

    def _remove(folder: str, made_by: int) -> None:
        # Workers are copies of the process that made it, and end before it does.
        if os.getpid() == made_by:
            shutil.rmtree(folder, ignore_errors=True)

    # Also of a process that only checks its settings, for which gunicorn has no hook.
    atexit.register(_remove, os.environ[_METRICS], os.getpid())


def on_starting(server: Any) -> None:
    """Begin to count at zero."""
    folder = Path(os.environ[_METRICS])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink()


def post_worker_init(worker: Any) -> None:
    """Leave what the application is made of alone.

    A third of a million objects stay as long as the process does; the collector of cycles went through them all after
    some requests, for a tenth of a second, and through what each request makes many times over.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

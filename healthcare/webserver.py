"""How gunicorn serves, here and in production: `gunicorn --config python:healthcare.webserver healthcare.wsgi`.

gunicorn reads the names below as its settings; options on its command line and in GUNICORN_CMD_ARGS come before them.
On SIGTERM it takes no new connection, answers the requests that it has, and ends; each request delivers its own events
before it is answered, so none is lost.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):
    """gunicorn's worker with threads, which hears the last callers out when it is stopped.

    The stock one stops accepting and keeps its sockets open for as long as it still answers, seconds on end: whoever
    connects meanwhile is taken in by the kernel, waits, and is cut off. This one takes in who is waiting and closes the
    door, so that the next one is refused at once and tries elsewhere.
    """

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
            # Says nothing when nobody waits.
            self.accept(listener)


worker_class = "healthcare.webserver.Worker"
threads = 4
graceful_timeout = 30
# It lies in a folder that two checkouts would share.
control_socket_disable = True

# --- Logs (healthcare.logs): its own lines are of the same form as the application's --------------------------------

_form = "text" if os.environ.get("LOG_FORMAT") == "text" else "json"
_formatter = {"text": "healthcare.logs.TextFormatter", "json": "healthcare.logs.JsonFormatter"}[_form]
_own = {"handlers": ["stderr"], "propagate": False}
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": _formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {**_own, "level": "INFO"}, "gunicorn.access": {"handlers": [], "propagate": False}},
}

# --- Metrics (healthcare.metrics) ------------------------------------------------------------------------------------

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

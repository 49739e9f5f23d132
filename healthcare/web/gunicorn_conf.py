"""gunicorn's settings: `gunicorn --config python:healthcare.web.gunicorn_conf healthcare.wsgi`.

gunicorn reads the module's names as settings; its command line and GUNICORN_CMD_ARGS override them. On SIGTERM a worker
stops accepting, answers the requests that it has, and ends. Each request delivers its own outbox events before it is
answered, so a stop loses none (docs/decisions/0022-gunicorn-settings-and-worker.md).
"""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):
    """gunicorn's threaded worker, which refuses new connections as soon as it stops.

    The stock worker stops accepting and keeps its listening sockets open while it answers its last requests, for up to
    `graceful_timeout` seconds. The kernel goes on accepting connections in that time, and cuts them off at the end.
    This worker accepts the clients that are already waiting and closes the sockets, so that the next client is refused
    at once and can try another server (tests/live/test_stop.py).
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                self._accept_all(listener)
                listener.close()

    def _accept_all(self, listener: Any) -> None:
        """Accept connections until none is waiting."""
        listener.setblocking(False)
        before = -1
        while before != self.nr_conns:
            before = self.nr_conns
            self.accept(listener)


class Log(Logger):
    """gunicorn's own log without access lines, for each of which gunicorn would collect thirty values."""

    def access(self, *_: object) -> None:
        """Do nothing: healthcare.observability.metrics counts requests and writes their lines."""


worker_class = "healthcare.web.gunicorn_conf.Worker"
logger_class = "healthcare.web.gunicorn_conf.Log"
threads = 4
graceful_timeout = 30
# gunicorn would put the control socket into a folder that two checkouts share.
control_socket_disable = True

# --- Logs: gunicorn's lines have the form of the application's (healthcare.observability.logs) ----------------------

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

# --- Metrics (healthcare.observability.metrics) ----------------------------------------------------------------------

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
if _METRICS not in os.environ:
    # Set before anything imports prometheus_client, which reads the variable once.
    os.environ[_METRICS] = tempfile.mkdtemp(prefix="healthcare-metrics-")

    def _remove(folder: str, made_by: int) -> None:
        # Workers are forks of the process that made the folder and end before it, so they must not remove it.
        if os.getpid() == made_by:
            shutil.rmtree(folder, ignore_errors=True)

    # This uses atexit because gunicorn has no hook for a process that only checks its settings.
    atexit.register(_remove, os.environ[_METRICS], os.getpid())


def on_starting(server: object) -> None:
    """Delete the counts of an earlier run."""
    folder = Path(os.environ[_METRICS])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink()


def post_worker_init(worker: object) -> None:
    """Exclude the application's own objects from garbage collection.

    About 330,000 objects live as long as the process. A full collection visited all of them every few requests, which
    took 0.1 s. The higher thresholds keep young collections from visiting one request's objects several times.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

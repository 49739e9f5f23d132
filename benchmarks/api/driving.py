"""Starts servers to measure, and clients that drive them, all on this machine."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
#: A request: method, path, body.
Request = tuple[str, str, Any]


@dataclass
class Run:
    """The response times and statuses of the requests of a run."""

    seconds: float
    times: list[float] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.times)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run_command(environment: Mapping[str, str], *arguments: str) -> None:
    """Run a command of manage.py. Raises: CalledProcessError if it fails."""
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env={**os.environ, **environment}, check=True
    )


def migrate(environment: Mapping[str, str]) -> None:
    """Migrate both databases."""
    run_command(environment, "migrate", "--verbosity", "0")
    run_command(environment, "migrate", "--database", "clinical", "--verbosity", "0")


@contextmanager
def serving(application: str, environment: Mapping[str, str], *, workers: int = 2, threads: int = 4) -> Iterator[int]:
    """Run gunicorn with a WSGI application such as "benchmarks.api.floor", and yield its port."""
    command = [
        sys.executable, "-m", "gunicorn", application, "--workers", str(workers), "--worker-class", "gthread",
        "--threads", str(threads), "--no-control-socket", "--log-level", "warning", "--access-logfile", os.devnull,
    ]  # fmt: skip
    port = free_port()
    with running([*command, "--bind", f"{HOST}:{port}"], port, environment):
        yield port


@contextmanager
def running(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block, and yield once it listens on the port."""
    server = subprocess.Popen(  # noqa: S603 - our own command
        command,
        cwd=ROOT,
        env={**os.environ, **environment, "DEBUG": "0", "HTTPS_ONLY": "0"},
        start_new_session=True,
    )
    try:
        _wait_for(port, server)
        yield server
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit("The server ended before it accepted connections.")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("The server did not answer within a minute.")


def drive(
    port: int, requests: Callable[[int], Iterator[Request]], *, seconds: float, clients: int, token: str = ""
) -> Run:
    """Send `requests(client)` sequentially from each client until the time is over."""
    run = Run(seconds)
    ends_at = time.perf_counter() + seconds
    threads = [
        threading.Thread(target=_send, args=[port, requests(number), ends_at, token, run]) for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return run


def _send(port: int, requests: Iterator[Request], ends_at: float, token: str, run: Run) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    for method, path, body in requests:
        began = time.perf_counter()
        if began >= ends_at:
            break
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {**headers, "Content-Type": "application/json"} if text else headers)
        response = connection.getresponse()
        response.read()
        run.times.append(time.perf_counter() - began)
        run.statuses.add(response.status)
    connection.close()


def print_line(text: str) -> None:
    print(text, flush=True)


def send(port: int, method: str, path: str, body: object = None, *, token: str = "") -> Any:
    """Send a request and return the response's JSON. Raises: RuntimeError for an error status."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    text = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {text[:300]!r}")
    return json.loads(text) if text else None

"""Runs the production server like `make serve`, with several processes, on a free port of the loopback address."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Self

import psutil

from operations.serving import HOST, production_server
from tests.live.client import Client, NoAnswer, at_once

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 40


class LiveServer:
    """gunicorn with `workers` processes of four threads each, on the databases that `environment` names."""

    def __init__(self, environment: Mapping[str, str], log: Path, *, workers: int = 3) -> None:
        self.environment = {**os.environ, **environment}
        self.log = log
        self.workers = workers
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = production_server(self.port, workers=self.workers)
        with self.log.open("wb") as log:
            self._master = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_for_all_workers(self._master)
        except BaseException:
            # `with` does not call __exit__ when __enter__ fails.
            self.__exit__()
            raise
        return self

    def _wait_for_all_workers(self, master: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        reached: set[int] = set()
        while len(reached) < self.workers:
            assert master.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            reached |= self._reached_at_once()
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        assert self._master is not None
        family = psutil.Process(self._master.pid).children(recursive=True) if self._master.poll() is None else []
        self._master.send_signal(signal.SIGTERM)
        try:
            self._master.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
            for process in family:
                if process.is_running():
                    process.kill()

    def terminate(self) -> None:
        """Send SIGTERM, as a supervisor does."""
        assert self._master is not None
        self._master.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the end and return the exit status."""
        assert self._master is not None
        return self._master.wait(STOP_SECONDS)

    def client(self, token: str | None = None) -> Client:
        return Client(self.port, token)

    def worker_pids(self) -> set[int]:
        """Return the pids of the workers, including those that are starting."""
        assert self._master is not None
        return {child.pid for child in psutil.Process(self._master.pid).children()}

    def connections(self) -> dict[int, set[int]]:
        """Return by pid the clients' ports of each worker's connections."""
        found: dict[int, set[int]] = {}
        for pid in self.worker_pids():
            try:
                ends = psutil.Process(pid).net_connections("tcp")
            except psutil.NoSuchProcess:
                continue
            found[pid] = {end.raddr.port for end in ends if end.raddr and end.laddr.port == self.port}
        return found

    def manage(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run manage.py on the same databases, and check that it succeeds."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    def _reached_at_once(self) -> set[int]:
        """Return the pids that answer several simultaneous clients. The workers finish loading at different times."""
        clients = [self.client() for _ in range(4 * self.workers)]
        try:
            at_once([partial(client.get, "") for client in clients])
            ports = {client.local_port for client in clients}
        except NoAnswer:
            return set()
        reached = {pid for pid, found in self.connections().items() if ports & found}
        for client in clients:
            client.close()
        return reached

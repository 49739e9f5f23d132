"""Functions that start, find and stop the server processes, and no other processes."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devstack.errors import DevStackError

if TYPE_CHECKING:
    import psutil

LOG_ERROR = re.compile(r'"s":"[EF]"|FATAL|PANIC|ERROR')
START_SECONDS = 60
STOP_SECONDS = 30
POLL_SECONDS = 0.02
# psutil computes the start time from the boot time, which changes when the clock is adjusted.
START_TIME_TOLERANCE_SECONDS = 2


@dataclass(frozen=True)
class Program:
    """A server process of one folder, with everything that is needed to start, find and stop it."""

    name: str
    command: Sequence[str]
    data: Path
    lock_files: Sequence[Path]
    log: Path
    pid_file: Path
    stop_signal: signal.Signals
    discard_signal: signal.Signals  # stops it before its data is deleted
    environment: Mapping[str, str] | None = None
    run_as: tuple[int, int] | None = None

    def find(self) -> "psutil.Process | None":
        """Return the running process, identified by pid, start time and data folder.

        The pid is not sufficient: another process may have it by now, and a pid file may be part of a copied folder.
        """
        return self._recorded() or self._unrecorded()

    def _recorded(self) -> "psutil.Process | None":
        try:
            record = json.loads(self.pid_file.read_text(encoding="ascii"))
            pid, started_at = int(record["pid"]), float(record["started_at"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        process = self._own(pid)
        if process is None or abs(process.create_time() - started_at) > START_TIME_TOLERANCE_SECONDS:
            return None
        return process

    def _unrecorded(self) -> "psutil.Process | None":
        """Return a process whose `up` was killed before it wrote the pid file. The server's lock file has the pid."""
        pid = _first_line_pid(self.lock_files[0])
        process = self._own(pid) if pid else None
        if process is not None:
            self._record(process)
        return process

    def _own(self, pid: int) -> "psutil.Process | None":
        import psutil

        process = find_process(pid)
        try:
            return process if process and str(self.data) in process.cmdline() else None
        except psutil.Error:
            return None

    def _record(self, process: "psutil.Process") -> None:
        draft = self.pid_file.with_suffix(".new")
        draft.write_text(json.dumps({"pid": process.pid, "started_at": process.create_time()}), encoding="ascii")
        draft.replace(self.pid_file)

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the process in its own session, so that Ctrl-C in the terminal does not reach it."""
        import psutil

        self._remove_stale_locks()
        identity: dict[str, Any] = {}
        if self.run_as:
            identity = {"user": self.run_as[0], "group": self.run_as[1], "extra_groups": []}
        with self.log.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our own command
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env=self.environment,
                **identity,
            )
        with suppress(psutil.NoSuchProcess):  # the process ended at once; `wait_until` reports that
            process = psutil.Process(child.pid)
            self._record(process)
            while not process.cmdline():  # empty during exec, and `find` needs it
                time.sleep(POLL_SECONDS)
        return child

    def _remove_stale_locks(self) -> None:
        """Remove lock files with the pid of another process, which PostgreSQL would mistake for a postmaster."""
        if self.find() is None:
            for lock_file in self.lock_files:
                if (pid := _first_line_pid(lock_file)) and find_process(pid):
                    lock_file.unlink()


def find_process(pid: int) -> "psutil.Process | None":
    """Return the process if it is alive. A zombie is not alive; some init processes never reap zombies."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except (psutil.NoSuchProcess, ValueError):
        return None


def wait_until(ready: Callable[[], bool], program: Program, *, problem: str) -> None:
    """Wait for a starting server. Raises: DevStackError, with the errors of its log, if it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if program.find() is None and not ready():
            raise DevStackError(f"{program.name} ended while starting. {log_errors(program.log)}")
        if time.monotonic() > deadline:
            raise DevStackError(f"{program.name} {problem} within {START_SECONDS} s. {log_errors(program.log)}")
        time.sleep(POLL_SECONDS)


def stop_all(programs: Sequence[Program], *, discard: bool = False) -> None:
    """Signal all programs at once, because a replica set stops fastest if all members stop; kill the rest."""
    import psutil

    running = []
    for program in programs:
        if process := program.find():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(program.discard_signal if discard else program.stop_signal)
                running.append(process)
    _, alive = psutil.wait_procs(running, timeout=STOP_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    for program in programs:
        program.pid_file.unlink(missing_ok=True)


def log_tail(log: Path, *, lines: int) -> str:
    """Return the last lines of a log, with a heading."""
    try:
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return f"There is no log at {log}."
    return "\n".join([f"The end of {log}:", *last])


def log_errors(log: Path) -> str:
    """Return the errors at the end of a log, without the many lines that mongod writes while it shuts down."""
    heading, *last = log_tail(log, lines=100).splitlines()
    errors = [line for line in last if LOG_ERROR.search(line)]
    return "\n".join([heading, *(errors[-3:] or last[-5:])])


def _first_line_pid(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii").split("\n", 1)[0])
    except (OSError, ValueError):
        return None

"""The demonstration: starts the servers, injects the fault under load, and removes the servers."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import IO, Any, cast

import bson
from django.conf import settings

from benchmarks.failover.monitor import ReplicaSetMonitor
from devstack.fault_injection import FaultInjectionStack
from devstack.layout import DATABASE
from devstack.processes import log_tail
from operations import interruption

KILL, FREEZE, STEP_DOWN, PARTITION = "kill", "freeze", "step-down", "partition"
FAULTS = (KILL, FREEZE, STEP_DOWN, PARTITION)
#: The longest acceptable time without an acknowledged write. A killed process closes its connections, which is detected
#: at once. A process that does not answer is detected by timeouts.
ALLOWED_SECONDS = {KILL: 5.0, FREEZE: 10.0, STEP_DOWN: 5.0, PARTITION: 10.0}
#: When the fault begins and ends, as parts of the time under load.
FAULT_AT, RECOVERY_AT = 0.25, 0.6
#: How long the demonstration waits for an expected event.
EVENT_TIMEOUT_SECONDS = 45.0
TICK_SECONDS = 0.1
START_SECONDS = 180.0
MAIN = "main"
#: The value of `ledger.BILLED`, which cannot be imported without a database.
BILLED = "billed"
CLEARED_SETTINGS = (
    "ARCHIVE_DATABASE_URL",
    "JWT_SECRET_KEY",
    "PHI_MASTER_KEY",
    "PHI_MASTER_KEY_PREVIOUS",
    "REDIS_URL",
    "SECRET_KEY",
)

#: Sentences about the beginning and the end of each fault.
FAULT_MESSAGES = {
    KILL: ("Killed {0} with SIGKILL", "Started {0} again"),
    FREEZE: ("Froze {0} with SIGSTOP", "Resumed {0}"),
    STEP_DOWN: ("Asked {0} to step down", ""),
    PARTITION: ("Cut the connections of {0}", "Restored the connections of {0}"),
}


class DemonstrationFailed(Exception):
    """The demonstration produced no figures; the message says why."""


@dataclass(frozen=True)
class Write:
    """The result of a write. `error` is the error's class; `is_expected` says whether the API would answer 503."""

    at: float
    took: float
    client: str
    operation: str
    error: str | None
    is_expected: bool


@dataclass
class FailoverRun:
    """The course and the results of a demonstration, with times of `time.monotonic()`."""

    fault: str
    seconds: float
    writers: int = 0
    began: float = 0.0
    ended: float = 0.0
    member: int | None = None
    fault_at: float | None = None
    recovered_at: float | None = None
    caught_up_at: float | None = None
    events: list[tuple[float, str]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    changes: list[tuple[float, int, str]] = field(default_factory=list)
    #: Client → operation → figures of `ledger.WriteCounts`.
    rows: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    charts: int = 0
    differing_charts: int = 0
    rolled_back: int = 0
    mongod: str = ""

    def acknowledged(self, client: str = MAIN) -> list[float]:
        """Return the times of the acknowledged writes of a client."""
        return sorted(write.at for write in list(self.writes) if write.client == client and write.error is None)

    def errors(self, client: str = MAIN) -> Counter[str]:
        """Count the errors of a client by class."""
        return Counter(write.error for write in list(self.writes) if write.client == client and write.error)

    def unexpected(self) -> Counter[str]:
        """Count the errors that the API would answer with 500."""
        return Counter(write.error for write in list(self.writes) if write.error and not write.is_expected)

    def window(self, until: float | None = None) -> tuple[float, float] | None:
        """Return beginning and end of the longest time without an acknowledged write since the fault."""
        if self.fault_at is None:
            return None
        moments = self.acknowledged()
        before = [at for at in moments if at <= self.fault_at]
        # The gap may begin before the fault, because a write that was in progress is acknowledged after the fault.
        around = [*before[-1:], *(at for at in moments if at > self.fault_at), *([until] if until else [])]
        return max(pairwise(around), key=lambda gap: gap[1] - gap[0], default=None)

    @property
    def window_seconds(self) -> float | None:
        window = self.window()
        return window and window[1] - window[0]

    @property
    def catch_up_seconds(self) -> float | None:
        if self.caught_up_at is None or self.recovered_at is None:
            return None
        return self.caught_up_at - self.recovered_at

    def rate_before(self) -> float:
        """Return the acknowledged writes per second before the fault, without the first second, which warms up."""
        if self.fault_at is None:
            return 0.0
        since = self.began + min(1.0, (self.fault_at - self.began) / 2)
        return sum(1 for at in self.acknowledged() if since < at <= self.fault_at) / (self.fault_at - since)

    def total(self, name: str, client: str = MAIN) -> int:
        """Sum a figure over all operations. Bills count only as lost or doubled, because no client requests them."""
        excludes_bills = name in ("acknowledged", "present")
        rows = self.rows.get(client, {})
        return sum(row[name] for operation, row in rows.items() if not (excludes_bills and operation == BILLED))

    def failures(self) -> list[str]:
        """Return a sentence for each violated expectation: no write lost or doubled, and recovery in time."""
        failures = []
        if lost := self.total("lost"):
            failures.append(f"{lost} acknowledged writes are lost.")
        if doubled := sum(self.total("doubled", client) for client in self.rows):
            failures.append(f"{doubled} writes are stored twice.")
        if self.differing_charts:
            failures.append(f"{self.differing_charts} charts differ from their collections.")
        if unexpected := self.unexpected():
            failures.append(f"The API would have answered 500: {', '.join(unexpected)}.")
        if self.total("acknowledged", "w=majority"):
            failures.append("An isolated member acknowledged a write with w=majority.")
        window = self.window_seconds
        if window is None or not any(at > (self.fault_at or 0) + window for at in self.acknowledged()):
            failures.append("No write was acknowledged after the fault.")
        elif window > ALLOWED_SECONDS[self.fault]:
            failures.append(f"{window:.1f} s passed without a write, more than {ALLOWED_SECONDS[self.fault]:.0f} s.")
        if self.caught_up_at is None:
            failures.append("The member did not catch up.")
        return failures


class LoadProcess:
    """Starts and controls the process of `load`, which uses only the databases of the demonstration."""

    def __init__(self, stack: FaultInjectionStack, run: FailoverRun) -> None:
        self.run = run
        self.log = stack.layout.logs / "load.log"
        self._messages: dict[str, dict[str, Any]] = {}
        self._received = threading.Condition()
        environment = {
            **os.environ,
            **stack.addresses,
            # The user's other settings belong to other data.
            "ENV_FILE": os.devnull,
            "DEVSTACK_DIR": str(stack.directory),
            "MONGODB_DB": DATABASE,
            "LOCAL_SECRETS": "1",
            **dict.fromkeys(CLEARED_SETTINGS, ""),
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.failover.load"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
                cwd=settings.BASE_DIR, start_new_session=True,
            )  # fmt: skip
        self._input = cast(IO[str], self._process.stdin)
        self._output = cast(IO[str], self._process.stdout)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, line: str) -> None:
        try:
            self._input.write(f"{line}\n")
            self._input.flush()
        except BrokenPipeError:
            self._raise_ended()

    def wait(self, kind: str, tick: Callable[[], None], seconds: float = START_SECONDS) -> dict[str, Any]:
        """Wait for a message of that kind and return it. Raises: DemonstrationFailed."""
        deadline = time.monotonic() + seconds
        while kind not in self._messages:
            if not self._reader.is_alive() and kind not in self._messages:
                self._raise_ended()
            if time.monotonic() > deadline:
                raise DemonstrationFailed(f"The load did not report {kind!r} within {seconds:.0f} s.")
            tick()
            with self._received:
                self._received.wait(TICK_SECONDS)
        return self._messages[kind]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _raise_ended(self) -> None:
        raise DemonstrationFailed(f"The load has ended. {log_tail(self.log, lines=8)}")

    def _read(self) -> None:
        for line in self._output:
            message = json.loads(line)
            kind = message.pop("kind")
            if kind == "write":
                self.run.writes.append(
                    Write(
                        message["at"],
                        message["took"],
                        message["client"],
                        message["operation"],
                        message["error"],
                        message["expected"],
                    )
                )
                continue
            with self._received:
                self._messages[kind] = message
                self._received.notify_all()


class Demonstration:
    """Runs a demonstration. `update_display` is called several times a second, `print_event` with each event."""

    def __init__(
        self, run: FailoverRun, *, update_display: Callable[["Demonstration"], None], print_event: Callable[[str], None]
    ) -> None:
        self.run = run
        self.stack = FaultInjectionStack(with_relays=run.fault == PARTITION)
        self.monitor = ReplicaSetMonitor(self.stack)
        self._update_display, self._print_event = update_display, print_event

    def execute(self) -> None:
        """Run the demonstration, and always remove its servers. Raises: DemonstrationFailed, DevStackError."""
        run, load = self.run, None
        try:
            self.report_event("Starting three members and a PostgreSQL …")
            self.stack.up()
            with self.stack.client(0) as client:
                run.mongod = client.admin.command("buildInfo")["version"]
            self.report_event("Migrating, and creating patients and doctors …")
            load = LoadProcess(self.stack, run)
            with self._monitoring():
                run.writers = load.wait("ready", self.tick)["writers"]
                self._inject_fault(load)
                load.send("stop")
                load.wait("stopped", self.tick)
            run.ended = max((write.at for write in run.writes), default=time.monotonic())
            self.report_event("Comparing acknowledged with stored writes …")
            load.send("compare")
            found = load.wait("compared", self.tick)
            run.rows, run.charts = found["rows"], found["charts"]
            run.differing_charts = found["differing_charts"]
            run.rolled_back = self._count_rolled_back()
        finally:
            with interruption.signals_ignored():
                if load is not None:
                    load.close()
                self.stack.reset()

    def report_event(self, text: str) -> None:
        self.run.events.append((time.monotonic(), text))
        self._print_event(text)

    def tick(self) -> None:
        self._update_display(self)

    def name(self, node: int) -> str:
        return f"node {node}"

    def _inject_fault(self, load: LoadProcess) -> None:
        run, monitor = self.run, self.monitor
        run.began = time.monotonic()
        load.send("start")
        self.report_event(f"{run.writers} writers book, cancel, complete and prescribe")
        self._run_until(run.began + FAULT_AT * run.seconds)
        self._wait_for(lambda: bool(run.acknowledged()), "the first write")
        run.member = member = self.stack.primary()
        run.fault_at = time.monotonic()
        self._start_fault(member, load)
        self.report_event(FAULT_MESSAGES[run.fault][0].format(self.name(member)))
        self._wait_for(lambda: monitor.primary() not in (None, member), "another primary")
        self.report_event(f"{self.name(monitor.primary() or 0)} was elected")
        elected_at = time.monotonic()
        self._wait_for(lambda: any(at > elected_at for at in run.acknowledged()[-1:]), "a write after the fault")
        window = run.window()
        self.report_event(f"Writes go on after a gap of {window[1] - window[0]:.1f} s" if window else "Writes go on")
        if run.fault == STEP_DOWN:
            run.recovered_at = run.fault_at
        else:
            self._run_until(run.began + RECOVERY_AT * run.seconds)
            self._end_fault(member, load)
            # The monitor must poll the member after its return.
            time.sleep(2 * TICK_SECONDS)
        self._wait_for(lambda: monitor.follows(member), f"{self.name(member)} to catch up")
        run.caught_up_at = time.monotonic()
        self.report_event(f"{self.name(member)} has caught up, {run.catch_up_seconds:.1f} s later")
        self._run_until(max(run.began + run.seconds, time.monotonic() + 1))

    def _start_fault(self, member: int, load: LoadProcess) -> None:
        match self.run.fault:
            case "kill":
                self.stack.kill(member)
            case "freeze":
                self.stack.freeze(member)
            case "step-down":
                self.stack.step_down(member)
            case "partition":
                self.stack.isolate(member)
                load.send(f"start-isolated {self.stack.layout.mongodb_socket(member)}")

    def _end_fault(self, member: int, load: LoadProcess) -> None:
        self.run.recovered_at = time.monotonic()
        self.report_event(FAULT_MESSAGES[self.run.fault][1].format(self.name(member)))
        match self.run.fault:
            case "kill":
                self.stack.restart(member)
            case "freeze":
                self.stack.resume(member)
            case "partition":
                load.send("stop-isolated")
                self.stack.heal()

    def _count_rolled_back(self) -> int:
        """Count the documents that the member rolled back on its return, because no other member had them."""
        if self.run.member is None:
            return 0
        folder = self.stack.layout.mongodb_data(self.run.member) / "rollback"
        return sum(
            sum(1 for _ in bson.decode_iter(file.read_bytes())) for file in folder.rglob("*.bson") if file.is_file()
        )

    def _run_until(self, end: float) -> None:
        while time.monotonic() < end:
            self.tick()
            time.sleep(TICK_SECONDS)

    def _wait_for(self, condition: Callable[[], bool], description: str) -> None:
        deadline = time.monotonic() + EVENT_TIMEOUT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise DemonstrationFailed(f"Waited {EVENT_TIMEOUT_SECONDS:.0f} s for {description}.")
            self.tick()
            time.sleep(TICK_SECONDS / 2)

    @contextmanager
    def _monitoring(self) -> Iterator[None]:
        self.monitor.start()
        try:
            yield
        finally:
            self.monitor.stop()
            self.run.changes = self.monitor.changes

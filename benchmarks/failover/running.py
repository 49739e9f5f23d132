"""The demonstration from the start of its servers to their removal."""

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

from benchmarks.failover.watching import Watch
from devstack.fault_injection import FaultInjectionStack
from devstack.layout import DATABASE
from devstack.processes import log_tail
from operations import interruption

KILL, FREEZE, STEP_DOWN, PARTITION = "kill", "freeze", "step-down", "partition"
FAULTS = (KILL, FREEZE, STEP_DOWN, PARTITION)
#: The longest time without an acknowledged write that passes. A dead process hangs up and is missed at once; one that
#: answers nothing is missed when somebody's patience ends.
ALLOWED_SECONDS = {KILL: 5.0, FREEZE: 10.0, STEP_DOWN: 5.0, PARTITION: 10.0}
#: When the fault happens and when it is mended, as parts of the time under load.
FAULT_AT, RETURN_AT = 0.25, 0.6
#: How long the demonstration waits for what it is about, beyond the time that was asked for.
PATIENCE_SECONDS = 45.0
TICK_SECONDS = 0.1
START_SECONDS = 180.0
MAIN = "main"
#: `ledger.BILLED`, which cannot be imported where no database is.
BILLED = "billed"
FOREIGN_SETTINGS = (
    "ARCHIVE_DATABASE_URL",
    "JWT_SECRET_KEY",
    "PHI_MASTER_KEY",
    "PHI_MASTER_KEY_PREVIOUS",
    "REDIS_URL",
    "SECRET_KEY",
)

WORDS = {
    KILL: ("Killed {0} with SIGKILL", "Started {0} again"),
    FREEZE: ("Froze {0} with SIGSTOP", "{0} goes on"),
    STEP_DOWN: ("Asked {0} to step down", ""),
    PARTITION: ("Cut {0} off: it is alive and alone", "Put the cables of {0} back"),
}


class DemonstrationFailed(Exception):
    """Why there are no figures, as a sentence."""


@dataclass(frozen=True)
class Write:
    """An answer that a writer got; `error` is its kind, and `is_expected` whether a client would be told 503."""

    at: float
    took: float
    client: str
    deed: str
    error: str | None
    is_expected: bool


@dataclass
class Story:
    """What happened, in moments of `time.monotonic()`."""

    fault: str
    seconds: float
    writers: int = 0
    began: float = 0.0
    ended: float = 0.0
    member: int | None = None
    fault_at: float | None = None
    returned_at: float | None = None
    caught_up_at: float | None = None
    notes: list[tuple[float, str]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    changes: list[tuple[float, int, str]] = field(default_factory=list)
    #: Client → deed → figures, of `ledger.Row`.
    rows: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    charts: int = 0
    differing_charts: int = 0
    rolled_back: int = 0
    mongod: str = ""

    def acknowledged(self, client: str = MAIN) -> list[float]:
        return sorted(write.at for write in list(self.writes) if write.client == client and write.error is None)

    def errors(self, client: str = MAIN) -> Counter[str]:
        return Counter(write.error for write in list(self.writes) if write.client == client and write.error)

    def unexpected(self) -> Counter[str]:
        """What no client should be told: an error that the API would answer with 500."""
        return Counter(write.error for write in list(self.writes) if write.error and not write.is_expected)

    def window(self, until: float | None = None) -> tuple[float, float] | None:
        """The longest time without an acknowledged write since the fault: from when, to when."""
        if self.fault_at is None:
            return None
        moments = self.acknowledged()
        before = [at for at in moments if at <= self.fault_at]
        # A write that was under way at the fault may be answered a moment after it.
        around = [*before[-1:], *(at for at in moments if at > self.fault_at), *([until] if until else [])]
        return max(pairwise(around), key=lambda gap: gap[1] - gap[0], default=None)

    @property
    def window_seconds(self) -> float | None:
        found = self.window()
        return found and found[1] - found[0]

    @property
    def catch_up_seconds(self) -> float | None:
        if self.caught_up_at is None or self.returned_at is None:
            return None
        return self.caught_up_at - self.returned_at

    def rate_before(self) -> float:
        """Acknowledged writes a second before the fault, the first second left out: it warms up."""
        if self.fault_at is None:
            return 0.0
        since = self.began + min(1.0, (self.fault_at - self.began) / 2)
        return sum(1 for at in self.acknowledged() if since < at <= self.fault_at) / (self.fault_at - since)

    def total(self, name: str, client: str = MAIN) -> int:
        """Over all kinds of writes; bills are counted among what is lost or doubled, as they are nobody's request."""
        is_answer = name in ("acknowledged", "present")
        return sum(row[name] for deed, row in self.rows.get(client, {}).items() if not (is_answer and deed == BILLED))

    def failures(self) -> list[str]:
        """What did not come true of: nothing lost, nothing doubled, back in time. Each a sentence."""
        found = []
        if lost := self.total("lost"):
            found.append(f"{lost} acknowledged writes are lost.")
        if doubled := sum(self.total("doubled", client) for client in self.rows):
            found.append(f"{doubled} writes are there twice.")
        if self.differing_charts:
            found.append(f"{self.differing_charts} charts differ from their collections.")
        if unexpected := self.unexpected():
            found.append(f"A client would have been told 500: {', '.join(unexpected)}.")
        if self.total("acknowledged", "w=majority"):
            found.append("A majority was claimed by a member that was alone.")
        window = self.window_seconds
        if window is None or not any(at > (self.fault_at or 0) + window for at in self.acknowledged()):
            found.append("No write was acknowledged after the fault.")
        elif window > ALLOWED_SECONDS[self.fault]:
            found.append(f"{window:.1f} s passed without a write, more than {ALLOWED_SECONDS[self.fault]:.0f} s.")
        if self.caught_up_at is None:
            found.append("The member did not catch up.")
        return found


class Load:
    """The process of `load`, on the databases of the demonstration alone."""

    def __init__(self, stack: FaultInjectionStack, story: Story) -> None:
        self.story = story
        self.log = stack.layout.logs / "load.log"
        self._said: dict[str, dict[str, Any]] = {}
        self._heard = threading.Condition()
        environment = {
            **os.environ,
            **stack.addresses,
            # Whatever else the user's settings say is about other data than this.
            "ENV_FILE": os.devnull,
            "DEVSTACK_DIR": str(stack.directory),
            "MONGODB_DB": DATABASE,
            "LOCAL_SECRETS": "1",
            **dict.fromkeys(FOREIGN_SETTINGS, ""),
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

    def say(self, line: str) -> None:
        try:
            self._input.write(f"{line}\n")
            self._input.flush()
        except BrokenPipeError:
            self._has_ended()

    def wait(self, word: str, tick: Callable[[], None], seconds: float = START_SECONDS) -> dict[str, Any]:
        """What the process says under that word, once it does."""
        deadline = time.monotonic() + seconds
        while word not in self._said:
            if not self._reader.is_alive() and word not in self._said:
                self._has_ended()
            if time.monotonic() > deadline:
                raise DemonstrationFailed(f"The load did not say {word!r} within {seconds:.0f} s.")
            tick()
            with self._heard:
                self._heard.wait(TICK_SECONDS)
        return self._said[word]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _has_ended(self) -> None:
        raise DemonstrationFailed(f"The load has ended. {log_tail(self.log, lines=8)}")

    def _read(self) -> None:
        for line in self._output:
            said = json.loads(line)
            word = said.pop("say")
            if word == "write":
                self.story.writes.append(
                    Write(said["at"], said["took"], said["client"], said["deed"], said["error"], said["expected"])
                )
                continue
            with self._heard:
                self._said[word] = said
                self._heard.notify_all()


class Stage:
    """A demonstration under way. `show` is called several times a second, `say` with each thing that happens."""

    def __init__(self, story: Story, *, show: Callable[["Stage"], None], say: Callable[[str], None]) -> None:
        self.story = story
        self.stack = FaultInjectionStack(with_relays=story.fault == PARTITION)
        self.watch = Watch(self.stack)
        self._show, self._say = show, say

    def play(self) -> None:
        """Raises: DemonstrationFailed, DevStackError. Whatever happens, no server and no file is left."""
        story, load = self.story, None
        try:
            self.note("Starting three members and a PostgreSQL of their own …")
            self.stack.up()
            with self.stack.client(0) as client:
                story.mongod = client.admin.command("buildInfo")["version"]
            self.note("Migrating, and making patients and doctors …")
            load = Load(self.stack, story)
            with self._watching():
                story.writers = load.wait("ready", self.tick)["writers"]
                self._act(load)
                load.say("stop")
                load.wait("stopped", self.tick)
            story.ended = max((write.at for write in story.writes), default=time.monotonic())
            self.note("Comparing what was acknowledged with what is there …")
            load.say("compare")
            found = load.wait("compared", self.tick)
            story.rows, story.charts = found["rows"], found["charts"]
            story.differing_charts = found["differing_charts"]
            story.rolled_back = self._count_rolled_back()
        finally:
            with interruption.signals_ignored():
                if load is not None:
                    load.close()
                self.stack.reset()

    def note(self, words: str) -> None:
        self.story.notes.append((time.monotonic(), words))
        self._say(words)

    def tick(self) -> None:
        self._show(self)

    def name(self, node: int) -> str:
        return f"node {node}"

    def _act(self, load: Load) -> None:
        story, watch = self.story, self.watch
        story.began = time.monotonic()
        load.say("go")
        self.note(f"{story.writers} writers book, cancel, complete and prescribe")
        self._pass_until(story.began + FAULT_AT * story.seconds)
        self._wait_for(lambda: bool(story.acknowledged()), "the first write")
        story.member = member = self.stack.primary()
        story.fault_at = time.monotonic()
        self._break(member, load)
        self.note(WORDS[story.fault][0].format(self.name(member)))
        self._wait_for(lambda: watch.primary() not in (None, member), "another primary")
        self.note(f"{self.name(watch.primary() or 0)} was elected")
        elected_at = time.monotonic()
        self._wait_for(lambda: any(at > elected_at for at in story.acknowledged()[-1:]), "a write after the fault")
        window = story.window()
        self.note(f"Writes go on, after {window[1] - window[0]:.1f} s without" if window else "Writes go on")
        if story.fault == STEP_DOWN:
            story.returned_at = story.fault_at
        else:
            self._pass_until(story.began + RETURN_AT * story.seconds)
            self._mend(member, load)
            # As it is now nobody has looked at it.
            time.sleep(2 * TICK_SECONDS)
        self._wait_for(lambda: watch.follows(member), f"{self.name(member)} to catch up")
        story.caught_up_at = time.monotonic()
        self.note(f"{self.name(member)} has caught up, {story.catch_up_seconds:.1f} s later")
        self._pass_until(max(story.began + story.seconds, time.monotonic() + 1))

    def _break(self, member: int, load: Load) -> None:
        match self.story.fault:
            case "kill":
                self.stack.kill(member)
            case "freeze":
                self.stack.freeze(member)
            case "step-down":
                self.stack.step_down(member)
            case "partition":
                self.stack.isolate(member)
                load.say(f"beside {self.stack.layout.mongodb_socket(member)}")

    def _mend(self, member: int, load: Load) -> None:
        self.story.returned_at = time.monotonic()
        self.note(WORDS[self.story.fault][1].format(self.name(member)))
        match self.story.fault:
            case "kill":
                self.stack.restart(member)
            case "freeze":
                self.stack.resume(member)
            case "partition":
                load.say("together")
                self.stack.heal()

    def _count_rolled_back(self) -> int:
        """Documents that the member has put aside on its return, because nobody else had them."""
        if self.story.member is None:
            return 0
        folder = self.stack.layout.mongodb_data(self.story.member) / "rollback"
        return sum(
            sum(1 for _ in bson.decode_iter(file.read_bytes())) for file in folder.rglob("*.bson") if file.is_file()
        )

    def _pass_until(self, moment: float) -> None:
        while time.monotonic() < moment:
            self.tick()
            time.sleep(TICK_SECONDS)

    def _wait_for(self, is_there: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_there():
            if time.monotonic() > deadline:
                raise DemonstrationFailed(f"Waited {PATIENCE_SECONDS:.0f} s for {what}.")
            self.tick()
            time.sleep(TICK_SECONDS / 2)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        self.watch.start()
        try:
            yield
        finally:
            self.watch.stop()
            self.story.changes = self.watch.changes

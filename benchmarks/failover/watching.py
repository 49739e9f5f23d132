"""What each member of the set says it is, asked several times a second."""

import threading
import time
from dataclasses import dataclass, field

from pymongo.errors import PyMongoError

from devstack.fault_injection import NODES, FaultInjectionStack

SECONDS_BETWEEN_LOOKS = 0.1
PATIENCE_MS = 600
SILENT = "no answer"
STATES = {
    0: "starting", 1: "primary", 2: "secondary", 3: "recovering", 5: "starting", 7: "arbiter", 9: "rolling back",
    10: "removed",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A member at one moment; `applied` is the last write it has, as (seconds, number), and `term` whose."""

    at: float
    state: str
    applied: tuple[int, int] = (0, 0)
    term: int = 0


@dataclass
class Watch:
    """A thread for each member, since one that is frozen answers nobody."""

    stack: FaultInjectionStack
    now: dict[int, Look] = field(default_factory=dict)
    #: Every change of state, in order: (moment, member, state).
    changes: list[tuple[float, int, str]] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    #: What each had applied the time before: who has as much is behind by a look at most.
    _before: dict[int, tuple[int, int]] = field(default_factory=dict)

    def start(self) -> None:
        self.now = dict.fromkeys(range(NODES), Look(time.monotonic(), "starting"))
        self._before = dict.fromkeys(range(NODES), (0, 0))
        self._threads = [threading.Thread(target=self._watch, args=[node], daemon=True) for node in range(NODES)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def primary(self) -> int | None:
        """Who leads: of two that both believe it, the one of the later term."""
        leaders = [(look.term, node) for node, look in self.now.items() if look.state == "primary"]
        return max(leaders)[1] if leaders else None

    def follows(self, node: int) -> bool:
        """Whether the member has what the primary had when it was asked last, or leads itself."""
        primary = self.primary()
        look = self.now[node]
        if primary is None:
            return False
        return primary == node or (look.state == "secondary" and look.applied >= self._before[primary])

    def _watch(self, node: int) -> None:
        with self.stack.client(
            node,
            serverSelectionTimeoutMS=PATIENCE_MS,
            connectTimeoutMS=PATIENCE_MS,
            socketTimeoutMS=PATIENCE_MS,
            heartbeatFrequencyMS=500,
        ) as client:
            while not self._is_over.wait(SECONDS_BETWEEN_LOOKS):
                try:
                    status = client.admin.command("replSetGetStatus")
                    stamp = status["optimes"]["appliedOpTime"]["ts"]
                    state = STATES.get(status["myState"], "unknown")
                    look = Look(time.monotonic(), state, (stamp.time, stamp.inc), status["term"])
                except PyMongoError:
                    look = Look(time.monotonic(), SILENT)
                if look.state != self.now[node].state:
                    self.changes.append((look.at, node, look.state))
                self._before[node] = self.now[node].applied
                self.now[node] = look

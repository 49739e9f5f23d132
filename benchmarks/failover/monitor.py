"""Monitors the state of each member of a replica set, several times a second."""

import threading
import time
from dataclasses import dataclass, field

from pymongo.errors import PyMongoError

from devstack.fault_injection import NODES, FaultInjectionStack

POLL_SECONDS = 0.1
TIMEOUT_MS = 600
UNREACHABLE = "no answer"
STATES = {
    0: "starting", 1: "primary", 2: "secondary", 3: "recovering", 5: "starting", 7: "arbiter", 9: "rolling back",
    10: "removed",
}  # fmt: skip


@dataclass(frozen=True)
class MemberState:
    """A member at one time. `applied` is its last write as (seconds, number), `term` the election term."""

    at: float
    state: str
    applied: tuple[int, int] = (0, 0)
    term: int = 0


@dataclass
class ReplicaSetMonitor:
    """Polls each member in its own thread, because a frozen member blocks its thread until the timeout."""

    stack: FaultInjectionStack
    current: dict[int, MemberState] = field(default_factory=dict)
    #: Every change of state in order: (time, member, state).
    changes: list[tuple[float, int, str]] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    #: Each member's last write at the poll before. A member that has the primary's is at most one poll behind.
    _previous: dict[int, tuple[int, int]] = field(default_factory=dict)

    def start(self) -> None:
        self.current = dict.fromkeys(range(NODES), MemberState(time.monotonic(), "starting"))
        self._previous = dict.fromkeys(range(NODES), (0, 0))
        self._threads = [threading.Thread(target=self._poll, args=[node], daemon=True) for node in range(NODES)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def primary(self) -> int | None:
        """Return the primary. If several members claim to be primary, return the one with the latest term."""
        primaries = [(member.term, node) for node, member in self.current.items() if member.state == "primary"]
        return max(primaries)[1] if primaries else None

    def follows(self, node: int) -> bool:
        """Return whether the member has all writes that the primary had at its last poll, or is primary itself."""
        primary = self.primary()
        member = self.current[node]
        if primary is None:
            return False
        return primary == node or (member.state == "secondary" and member.applied >= self._previous[primary])

    def _poll(self, node: int) -> None:
        with self.stack.client(
            node,
            serverSelectionTimeoutMS=TIMEOUT_MS,
            connectTimeoutMS=TIMEOUT_MS,
            socketTimeoutMS=TIMEOUT_MS,
            heartbeatFrequencyMS=500,
        ) as client:
            while not self._stopped.wait(POLL_SECONDS):
                try:
                    status = client.admin.command("replSetGetStatus")
                    stamp = status["optimes"]["appliedOpTime"]["ts"]
                    state = STATES.get(status["myState"], "unknown")
                    member = MemberState(time.monotonic(), state, (stamp.time, stamp.inc), status["term"])
                except PyMongoError:
                    member = MemberState(time.monotonic(), UNREACHABLE)
                if member.state != self.current[node].state:
                    self.changes.append((member.at, node, member.state))
                self._previous[node] = self.current[node].applied
                self.current[node] = member

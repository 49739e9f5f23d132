"""A replica set of three members for fault injection: kill, freeze, step down or isolate a member."""

import signal
import time
from typing import TYPE_CHECKING, Any

from devstack import binaries, mongodb
from devstack.ephemeral import EphemeralStack
from devstack.errors import DevStackError
from devstack.layout import Layout
from devstack.processes import POLL_SECONDS, Program, wait_until
from devstack.relays import Relays, relay_socket

if TYPE_CHECKING:
    from pymongo import MongoClient

NODES = 3
#: MongoDB's default is 10 s.
ELECTION_TIMEOUT_MS = 2000
HEARTBEAT_TIMEOUT_SECONDS = 2
#: A member that has stepped down does not stand for election for this long.
STEP_DOWN_SECONDS = 30


class FaultInjectionStack(EphemeralStack):
    """Three members of equal priority and a PostgreSQL in a temp folder that is removed when the process ends.

    `with_relays`: the members, and clients of `addresses`, reach the members through relays that can cut connections.
    """

    def __init__(self, *, durable: bool = True, with_relays: bool = False) -> None:
        super().__init__(nodes=NODES, durable=durable)
        self.with_relays = with_relays
        self._relays: Relays | None = None

    @property
    def addresses(self) -> dict[str, str]:
        found = super().addresses
        if self.with_relays:
            places = self.layout
            for node in range(NODES):
                found["MONGODB_URI"] = found["MONGODB_URI"].replace(
                    places.mongodb_socket(node).name, relay_socket(places, node).name
                )
        return found

    def up(self, *, mongodb: bool = True, postgresql: bool = True) -> None:
        super().up(mongodb=mongodb, postgresql=postgresql)
        self._equalize_priorities()

    def reset(self) -> None:
        super().reset()
        if self._relays is not None:
            self._relays.stop()
            self._relays = None

    def client(self, node: int, **options: Any) -> "MongoClient[dict[str, Any]]":
        """Return a client that connects to this member directly, without a relay."""
        return mongodb.connect(self.layout, node, **options)

    def clients(self, **options: Any) -> "MongoClient[dict[str, Any]]":
        """Return a client of the set, which follows the primary."""
        from pymongo import MongoClient

        return MongoClient(self.addresses["MONGODB_URI"], **options)

    def primary(self) -> int:
        """Return the primary's node number; the latest term decides between several. Raises: DevStackError."""
        from pymongo.errors import PyMongoError

        primaries: list[tuple[int, int]] = []
        for node in range(NODES):
            try:
                with self.client(node, serverSelectionTimeoutMS=1000, socketTimeoutMS=1000) as client:
                    status = client.admin.command("replSetGetStatus")
            except PyMongoError:
                continue
            if status["myState"] == 1:
                primaries.append((status["term"], node))
        if not primaries:
            raise DevStackError("The replica set has no primary.")
        return max(primaries)[1]

    def kill(self, node: int) -> None:
        self._signal(node, signal.SIGKILL)
        for child in self._children:
            child.poll()

    def freeze(self, node: int) -> None:
        self._signal(node, signal.SIGSTOP)

    def resume(self, node: int) -> None:
        self._signal(node, signal.SIGCONT)

    def step_down(self, node: int) -> None:
        from pymongo.errors import ConnectionFailure

        with self.client(node) as client:
            try:
                client.admin.command("replSetStepDown", STEP_DOWN_SECONDS)
            except ConnectionFailure:  # the member closes all connections
                return

    def isolate(self, node: int) -> None:
        """Cut the member's connections to the others and to clients of `addresses`."""
        self._require_relays().cut(node)

    def heal(self) -> None:
        """End the isolation."""
        self._require_relays().heal()

    def restart(self, node: int) -> None:
        """Start a member that was killed. It rejoins the set."""
        places = self.layout
        mongod = binaries.find_mongod()
        environment = binaries.mongod_environment(mongod, self.directory / "lib", self.missing_libraries)
        program = mongodb.member(places, node, mongod=mongod, durable=self.durable, environment=environment)
        self._children.append(program.start())
        wait_until(lambda: mongodb.accepts_connections(places, node), program, problem="accepted no connection")

    def _require_relays(self) -> Relays:
        if self._relays is None:
            raise DevStackError("This set was started without relays.")
        return self._relays

    def _hosts(self, places: Layout) -> list[str]:
        if not self.with_relays:
            return super()._hosts(places)
        return [str(relay_socket(places, node)) for node in range(places.nodes)]

    def _await_mongodb(self, places: Layout, members: list[Program]) -> None:
        if self.with_relays and self._relays is None:
            self._relays = Relays(places)
        super()._await_mongodb(places, members)

    def _equalize_priorities(self) -> None:
        """Give all members the same priority. Otherwise the first primary would be primary again on its return."""
        with self.client(self.primary()) as client:
            config = client.admin.command("replSetGetConfig")["config"]
            for member in config["members"]:
                member["priority"] = 1
            config["settings"] |= {
                "electionTimeoutMillis": ELECTION_TIMEOUT_MS,
                "heartbeatTimeoutSecs": HEARTBEAT_TIMEOUT_SECONDS,
                # With chaining, the cost of a fault depends on which member copies from which.
                "chainingAllowed": False,
            }
            config["version"] += 1
            client.admin.command("replSetReconfig", config)

    def _signal(self, node: int, number: signal.Signals) -> None:
        program = mongodb.member(self.layout, node, mongod=binaries.find_mongod(), durable=self.durable)
        process = program.find()
        if process is None:
            raise DevStackError(f"{program.name} does not run.")
        process.send_signal(number)
        if number == signal.SIGKILL:
            deadline = time.monotonic() + 10
            while program.find() is not None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)

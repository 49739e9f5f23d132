"""A replica set of three to be broken on purpose: a member killed, frozen, asked to step down or cut off."""

import signal
import time
from typing import TYPE_CHECKING, Any

from devstack import binaries, mongodb
from devstack.ephemeral import EphemeralStack
from devstack.errors import DevStackError
from devstack.layout import Layout
from devstack.processes import POLL_SECONDS, Program, wait_until
from devstack.relays import Relays, link_socket

if TYPE_CHECKING:
    from pymongo import MongoClient

NODES = 3
#: Half a second more or less is noise on a machine that does other things; a server's default is 10 s.
ELECTION_TIMEOUT_MS = 2000
HEARTBEAT_TIMEOUT_SECONDS = 2
#: How long one that has stepped down does not stand again.
STEP_DOWN_SECONDS = 30


class BreakableStack(EphemeralStack):
    """Three members of equal rank and a PostgreSQL, in a temp folder, gone with whoever asked.

    `with_links`: the members, and whoever takes `addresses`, reach one another through cables that can be cut.
    """

    def __init__(self, *, durable: bool = True, with_links: bool = False) -> None:
        super().__init__(nodes=NODES, durable=durable)
        self.with_links = with_links
        self._relays: Relays | None = None

    @property
    def addresses(self) -> dict[str, str]:
        found = super().addresses
        if self.with_links:
            places = self.layout
            for node in range(NODES):
                found["MONGODB_URI"] = found["MONGODB_URI"].replace(
                    places.mongodb_socket(node).name, link_socket(places, node).name
                )
        return found

    def up(self, *, mongodb: bool = True, postgresql: bool = True) -> None:
        super().up(mongodb=mongodb, postgresql=postgresql)
        self._make_equal()

    def reset(self) -> None:
        super().reset()
        if self._relays is not None:
            self._relays.stop()
            self._relays = None

    def client(self, node: int, **options: Any) -> "MongoClient[dict[str, Any]]":
        """A client of this member alone, past every cable, for whoever sits beside it."""
        return mongodb.connect(self.layout, node, **options)

    def clients(self, **options: Any) -> "MongoClient[dict[str, Any]]":
        """A client of the whole set, that follows whoever leads."""
        from pymongo import MongoClient

        return MongoClient(self.addresses["MONGODB_URI"], **options)

    def primary(self) -> int:
        """The member that leads; of two that both believe it, the one of the later term. Raises: DevStackError."""
        from pymongo.errors import PyMongoError

        leaders: list[tuple[int, int]] = []
        for node in range(NODES):
            try:
                with self.client(node, serverSelectionTimeoutMS=1000, socketTimeoutMS=1000) as client:
                    status = client.admin.command("replSetGetStatus")
            except PyMongoError:
                continue
            if status["myState"] == 1:
                leaders.append((status["term"], node))
        if not leaders:
            raise DevStackError("The replica set has no primary.")
        return max(leaders)[1]

    def kill(self, node: int) -> None:
        self._signal(node, signal.SIGKILL)
        for child in self._children:
            child.poll()

    def freeze(self, node: int) -> None:
        self._signal(node, signal.SIGSTOP)

    def thaw(self, node: int) -> None:
        self._signal(node, signal.SIGCONT)

    def step_down(self, node: int) -> None:
        from pymongo.errors import ConnectionFailure

        with self.client(node) as client:
            try:
                client.admin.command("replSetStepDown", STEP_DOWN_SECONDS)
            except ConnectionFailure:  # it hangs up on everybody
                return

    def cut_off(self, node: int) -> None:
        """Pull the member's cables: it is alive, and alone."""
        self._cables().cut(node)

    def heal(self) -> None:
        self._cables().heal()

    def restart(self, node: int) -> None:
        """Start a member that was killed; it joins the others by itself."""
        places = self.layout
        mongod = binaries.find_mongod()
        environment = binaries.mongod_environment(mongod, self.directory / "lib", self.missing_libraries)
        program = mongodb.member(places, node, mongod=mongod, durable=self.durable, environment=environment)
        self._children.append(program.start())
        wait_until(lambda: mongodb.accepts_connections(places, node), program, what="took no connection")

    def _cables(self) -> Relays:
        if self._relays is None:
            raise DevStackError("This set has no cables to cut.")
        return self._relays

    def _hosts(self, places: Layout) -> list[str]:
        if not self.with_links:
            return super()._hosts(places)
        return [str(link_socket(places, node)) for node in range(places.nodes)]

    def _await_mongodb(self, places: Layout, members: list[Program]) -> None:
        if self.with_links and self._relays is None:
            self._relays = Relays(places)
        super()._await_mongodb(places, members)

    def _make_equal(self) -> None:
        """Let the set keep the primary that it elects: with ranks the first one would take over again on its return."""
        with self.client(self.primary()) as client:
            config = client.admin.command("replSetGetConfig")["config"]
            for member in config["members"]:
                member["priority"] = 1
            config["settings"] |= {
                "electionTimeoutMillis": ELECTION_TIMEOUT_MS,
                "heartbeatTimeoutSecs": HEARTBEAT_TIMEOUT_SECONDS,
                # Else chance says who copies from whom, and how much a fault costs.
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

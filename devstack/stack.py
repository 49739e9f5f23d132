"""The servers of one folder: `DevStack` starts, stops, lists and resets them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devstack import binaries, layout, mongodb, postgresql
from devstack.errors import DevStackError
from devstack.layout import Layout
from devstack.processes import Program, stop_all, wait_until


@dataclass(frozen=True)
class ServerStatus:
    """A server and its state."""

    name: str
    state: str  # "stopped", "starting", and then "running" or, of a replica set member, "primary" or "secondary"
    address: str
    pid: int | None = None
    version: str | None = None


class DevStack:
    """mongod and PostgreSQL of one folder.

    `durable=False` is for tests: writes are faster, a killed server may lose acknowledged writes, and mongod has fail
    points.
    """

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int | None = None,
        durable: bool = True,
        missing_libraries: Callable[[Path], set[str]] = binaries.missing_libraries,
    ) -> None:
        if nodes is not None and not 1 <= nodes <= layout.MAX_NODES:
            raise DevStackError(f"A replica set here has 1 to {layout.MAX_NODES} nodes, not {nodes}.")
        binaries.require_unix_sockets()
        binaries.require_psutil()
        self.directory = directory.resolve()
        self.nodes = nodes
        self.durable = durable
        self.missing_libraries = missing_libraries
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def layout(self) -> Layout:
        return layout.find_layout(self.directory, nodes=self.nodes)

    @property
    def addresses(self) -> dict[str, str]:
        places = self._agreed_layout()
        return {"MONGODB_URI": places.mongodb_uri, "DATABASE_URL": places.database_url}

    def up(self, *, mongodb: bool = True, postgresql: bool = True) -> None:
        """Start the servers that do not run, and wait until they accept connections. A concurrent call waits."""
        mongod = binaries.find_mongod() if mongodb else None
        if postgresql:
            binaries.find_postgresql()
        with self._locked():
            places = self._agreed_layout()
            layout.require_same_user(self.directory)
            places.record()
            for folder in (places.logs, places.run, places.mongodb_sockets):
                layout.make_private(folder)
            members = self._start_mongodb(places, mongod) if mongod else []
            if postgresql:
                self._start_postgresql(places)
            if members:
                self._await_mongodb(places, members)

    def down(self, *, mongodb: bool = True, postgresql: bool = True) -> None:
        """Stop the servers and keep the data."""
        if not self.directory.is_dir():
            return
        with self._locked():
            *members, sql = self._programs(self.layout)
            stop_all([*(members if mongodb else []), *([sql] if postgresql else [])])
            self._children = [child for child in self._children if child.poll() is None]

    def reset(self) -> None:
        """Stop the servers and remove data, logs and secrets, and the folder if it is empty then."""
        if not self.directory.is_dir():
            return
        with self._locked():
            places = self.layout
            stop_all(self._programs(places), discard=True)
            self._children = [child for child in self._children if child.poll() is None]
            for place in places.elsewhere:
                shutil.rmtree(place, ignore_errors=True)
            for name in ("mongodb", "postgresql", "run", "logs", "lib", layout.SECRETS_FOLDER):
                shutil.rmtree(self.directory / name, ignore_errors=True)
            (self.directory / layout.STATE_FILE).unlink(missing_ok=True)
            (self.directory / "lock").unlink()
        if not any(self.directory.iterdir()):
            with suppress(OSError):  # a concurrent `up` uses the folder again
                self.directory.rmdir()

    def logs(self) -> dict[str, Path]:
        """Return the log of each server by the server's name."""
        return {program.name: program.log for program in self._programs(self.layout)}

    def status(self) -> list[ServerStatus]:
        """Return the status of each server. A server that does not answer yet is "starting"."""
        places = self.layout
        *members, sql = self._programs(places)
        statuses = []
        for node, program in enumerate(members):
            address = str(places.mongodb_socket(node))
            process = program.find()
            if process is None:
                statuses.append(ServerStatus(program.name, "stopped", address))
            else:
                state, version = mongodb.describe(places, node)
                statuses.append(ServerStatus(program.name, state, address, process.pid, version))
        address = str(places.postgresql_sockets)
        process = sql.find()
        if process is None:
            statuses.append(ServerStatus(sql.name, "stopped", address))
        else:
            version = postgresql.find_version(places)
            state = "running" if version else "starting"
            statuses.append(ServerStatus(sql.name, state, address, process.pid, version))
        return statuses

    def _agreed_layout(self) -> Layout:
        """Return the layout. Raises: DevStackError if it has another number of nodes than requested."""
        places = self.layout
        if self.nodes not in {None, places.nodes}:
            raise DevStackError(
                f"{self.directory} holds a replica set of {places.nodes}, and {self.nodes} were requested. "
                "`manage.py devstack reset` deletes it with its data."
            )
        return places

    def _programs(self, places: Layout) -> list[Program]:
        """Return every server of this folder for finding and stopping, without the paths that starting needs."""
        unused = Path("/")
        members = [mongodb.member(places, node, mongod=unused, durable=self.durable) for node in range(places.nodes)]
        return [*members, postgresql.server(places, programs=unused, durable=self.durable)]

    def _start_mongodb(self, places: Layout, mongod: Path) -> list[Program]:
        environment = binaries.mongod_environment(mongod, self.directory / "lib", self.missing_libraries)
        members = [
            mongodb.member(places, node, mongod=mongod, durable=self.durable, environment=environment)
            for node in range(places.nodes)
        ]
        for program in members:
            if program.find() is None:
                program.data.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._children.append(program.start())
        return members

    def _await_mongodb(self, places: Layout, members: list[Program]) -> None:
        for node, program in enumerate(members):
            wait_until(partial(mongodb.accepts_connections, places, node), program, problem="accepted no connection")
        mongodb.form_replica_set(places, members, hosts=self._hosts(places), durable=self.durable)

    def _hosts(self, places: Layout) -> list[str]:
        """Return the members' addresses for the configuration of their set."""
        return [str(places.mongodb_socket(node)) for node in range(places.nodes)]

    def _start_postgresql(self, places: Layout) -> None:
        identity = postgresql.server_identity()
        for folder in {places.postgresql, places.postgresql_sockets}:
            layout.make_private(folder, owner=identity)
        programs = binaries.postgresql_for(identity, places.postgresql)
        program = postgresql.server(places, programs=programs, durable=self.durable)
        if program.find() is None:
            postgresql.make_data_folder(places, programs=programs, durable=self.durable)
            self._children.append(program.start())
        wait_until(partial(postgresql.accepts_connections, places), program, problem="accepted no connection")
        postgresql.make_database(places)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock. If a `reset` that held the lock before has removed the lock file, make it again."""
        import fcntl

        while True:
            path = layout.make_directory(self.directory) / "lock"
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except PermissionError as error:
                raise DevStackError(f"This user may not write in {self.directory}.") from error
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_file(path, descriptor):
                    yield
                    return
            finally:
                os.close(descriptor)


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

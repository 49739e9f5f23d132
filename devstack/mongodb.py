"""Functions that describe and configure the replica set and its members."""

import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from devstack.errors import DevStackError
from devstack.layout import REPLICA_SET, Layout
from devstack.processes import POLL_SECONDS, Program, log_errors

if TYPE_CHECKING:
    from pymongo import MongoClient

ELECTION_SECONDS = 60
#: How long the server keeps the open transaction of a killed process, whose documents stay locked meanwhile (MongoDB's
#: default is 60 s). docs/deployment.md requires the same of every deployment. Tests have a shorter limit, because
#: they kill processes often.
TRANSACTION_LIFETIME_SECONDS = 10
TRANSACTION_LIFETIME_SECONDS_IN_TESTS = 5
PREFERRED_PRIMARY_SECONDS = 10
ALREADY_INITIALIZED = 23
NOT_YET_INITIALIZED = 94


def member(
    layout: Layout, node: int, *, mongod: Path, durable: bool, environment: Mapping[str, str] | None = None
) -> Program:
    """Return the mongod process of a member."""
    data = layout.mongodb_data(node)
    log = layout.logs / f"mongodb-{node}.log"
    parameters = {
        # Every stop waits this long. The default of 15 s gives load balancers time to notice the stop.
        "shutdownTimeoutMillisForSignaledShutdown": "100",
        "diagnosticDataCollectionEnabled": "false",
        "transactionLifetimeLimitSeconds": str(
            TRANSACTION_LIFETIME_SECONDS if durable else TRANSACTION_LIFETIME_SECONDS_IN_TESTS
        ),
        # A secondary that copies from a frozen primary waits for it twice, for 1 s and 2 s plus this buffer each time.
        # The new primary has no majority meanwhile. With the default of 5 s no write succeeded for 14 s. (With a single
        # attempt, which ends before the election, the secondary asks the frozen member again: 22 s.)
        "oplogNetworkTimeoutBufferSeconds": "1",
    }
    command = [
        str(mongod),
        *("--dbpath", str(data)),
        *("--bind_ip", str(layout.mongodb_socket(node))),
        *("--filePermissions", "0600"),
        *("--replSet", REPLICA_SET),
        *("--logpath", str(log), "--logappend"),
        *("--wiredTigerCacheSizeGB", "0.25"),
        # The default oplog of 990 MB and journal files of 100 MB are too large for a trial.
        *("--oplogSize", "64"),
        *("--wiredTigerEngineConfigString", "log=(file_max=8MB,prealloc=false)"),
        # CVE-2025-14847 is in the decompression of messages, and version 6.0 receives no more fixes.
        *("--networkMessageCompressors", "disabled"),
        "--nounixsocket",  # else a second socket in /tmp, shared by all servers of the machine
        "--noscripting",
        "--quiet",  # otherwise four lines for each connection fill the log
    ]
    if not durable:
        parameters["enableTestCommands"] = "1"  # fail points, for tests of failing writes
        # Dropping a collection waits for the journal, by default up to 100 ms, and tests drop many collections.
        command += ["--journalCommitInterval", "5"]
    for name, value in parameters.items():
        command += ["--setParameter", f"{name}={value}"]
    return Program(
        name=f"mongodb-{node}",
        command=command,
        data=data,
        lock_files=(data / "mongod.lock",),
        log=log,
        pid_file=layout.run / f"mongodb-{node}.pid",
        stop_signal=signal.SIGTERM,
        discard_signal=signal.SIGKILL,  # an orderly stop takes a second
        environment=environment,
    )


def accepts_connections(layout: Layout, node: int) -> bool:
    """Return whether the member accepts connections. A driver would wait 0.5 s after each failed attempt."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(layout.mongodb_socket(node)))
        except OSError:
            return False
    return True


def connect(layout: Layout, node: int, **options: Any) -> "MongoClient[dict[str, Any]]":
    """Return a client that is connected to this member only."""
    from pymongo import MongoClient

    host = quote(str(layout.mongodb_socket(node)), safe="")
    timeouts = {"serverSelectionTimeoutMS": 5000, "socketTimeoutMS": 20000}
    return MongoClient(f"mongodb://{host}/?directConnection=true", **{**timeouts, **options})


def describe(layout: Layout, node: int) -> tuple[str, str | None]:
    """Return the member's role in its set, and its version."""
    from pymongo.errors import ConnectionFailure

    if not accepts_connections(layout, node):
        return "starting", None
    try:
        with connect(layout, node) as client:
            return _role(client), client.admin.command("buildInfo")["version"]
    except ConnectionFailure:
        return "starting", None


def form_replica_set(layout: Layout, programs: list[Program], *, hosts: Sequence[str], durable: bool) -> None:
    """Initiate the set, or update its members' addresses, and wait until the set accepts writes."""
    deadline = time.monotonic() + ELECTION_SECONDS
    with connect(layout, 0) as client:
        while not _is_configured(client, hosts, durable=durable):
            _raise_after(deadline, programs[0])
            time.sleep(POLL_SECONDS)
    _wait_for_members(layout, programs, deadline)


def _is_configured(client: "MongoClient[dict[str, Any]]", hosts: Sequence[str], *, durable: bool) -> bool:
    """Configure the set if necessary. Return False if the member is not ready or still reads its configuration."""
    from pymongo.errors import ConnectionFailure, OperationFailure

    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except ConnectionFailure:  # the machine is busy, or the member closes its connections while it rejoins the set
        return False
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        try:
            client.admin.command("replSetInitiate", _configuration(hosts, durable=durable))
        except OperationFailure as second_error:
            if second_error.code != ALREADY_INITIALIZED:
                raise
            return False
        return True
    if [entry["host"] for entry in config["members"]] != list(hosts):
        # The addresses are stored in the data. After the folder was moved, no member finds its own address there.
        for entry, host in zip(config["members"], hosts, strict=True):
            entry["host"] = host
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)
    return True


def _configuration(hosts: Sequence[str], *, durable: bool) -> dict[str, Any]:
    return {
        "_id": REPLICA_SET,
        # With equal priorities all members stand for election at once, and half of the elections need a second round.
        "members": [{"_id": node, "host": host, "priority": len(hosts) - node} for node, host in enumerate(hosts)],
        # With the defaults of 10 s and 2 s, three nodes need 13 s to elect their first primary.
        "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
        # A test may lose its data with the server, so a majority may acknowledge a write before the journal has it.
        "writeConcernMajorityJournalDefault": durable,
    }


def _wait_for_members(layout: Layout, programs: list[Program], deadline: float) -> None:
    """Wait until node 0, which has the highest priority, is primary, and the others are secondaries.

    Another primary would hand over to node 0 a second later, during the first writes. After
    PREFERRED_PRIMARY_SECONDS any primary is accepted, because node 0 may lag too far behind to be elected soon.
    """
    accept_any_primary_at = time.monotonic() + PREFERRED_PRIMARY_SECONDS
    clients = [connect(layout, node) for node in range(layout.nodes)]
    try:
        while True:
            roles = [_role(client) for client in clients]
            is_complete = "primary" in roles and "starting" not in roles
            if is_complete and (roles[0] == "primary" or time.monotonic() > accept_any_primary_at):
                return
            starting = next((node for node, role in enumerate(roles) if role == "starting"), 0)
            _raise_after(deadline, programs[starting])
            time.sleep(POLL_SECONDS)
    finally:
        for client in clients:
            client.close()


def _role(client: "MongoClient[dict[str, Any]]") -> str:
    from pymongo.errors import ConnectionFailure

    try:
        hello = client.admin.command("hello")
    except ConnectionFailure:  # a member that leaves or joins a set closes its connections
        return "starting"
    if hello["isWritablePrimary"]:
        return "primary"
    return "secondary" if hello["secondary"] else "starting"


def _raise_after(deadline: float, program: Program) -> None:
    if time.monotonic() > deadline:
        raise DevStackError(f"The replica set has no primary after {ELECTION_SECONDS} s. {log_errors(program.log)}")

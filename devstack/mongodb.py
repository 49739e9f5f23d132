"""The replica set: how its members are started, and made one."""

import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from devstack.errors import DevStackError
from devstack.layout import REPLICA_SET, Layout
from devstack.processes import POLL_SECONDS, Program, log_complaints

if TYPE_CHECKING:
    from pymongo import MongoClient

ELECTION_SECONDS = 60
#: How long the server keeps the open transaction of a killed process, whose writes stay locked meanwhile (MongoDB's
#: default is 60 s). docs/deployment.md asks the same of every deployment. Tests kill processes all the time.
TRANSACTION_LIFETIME_SECONDS = 30
TRANSACTION_LIFETIME_SECONDS_IN_TESTS = 5
SETTLE_SECONDS = 10
ALREADY_INITIALIZED = 23
NOT_YET_INITIALIZED = 94


def member(
    layout: Layout, node: int, *, mongod: Path, durable: bool, environment: Mapping[str, str] | None = None
) -> Program:
    data = layout.mongodb_data(node)
    log = layout.logs / f"mongodb-{node}.log"
    parameters = {
        # The default, 15 s, is for load balancers that have to notice; it is spent on every stop.
        "shutdownTimeoutMillisForSignaledShutdown": "100",
        "diagnosticDataCollectionEnabled": "false",
        "transactionLifetimeLimitSeconds": str(
            TRANSACTION_LIFETIME_SECONDS if durable else TRANSACTION_LIFETIME_SECONDS_IN_TESTS
        ),
        # A secondary that copies from a frozen primary waits for it twice, 1 and 2 s and this each time, and the new
        # primary has no majority meanwhile. With the default, 5 s, that was 14 s without a write. (Asking once only
        # would be over before the election, and the secondary then asks the frozen one anew: 22 s.)
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
        # An oplog of 990 MB and journal files of 100 MB are made for servers that do more than a trial.
        *("--oplogSize", "64"),
        *("--wiredTigerEngineConfigString", "log=(file_max=8MB,prealloc=false)"),
        # CVE-2025-14847 is in the decompression of messages, and 6.0 gets no more fixes.
        *("--networkMessageCompressors", "disabled"),
        "--nounixsocket",  # not ours, but a second one in /tmp that all servers of the machine would share
        "--noscripting",
        "--quiet",  # four lines for each connection would fill the log
    ]
    if not durable:
        parameters["enableTestCommands"] = "1"  # fail points, for tests of what happens when a write fails
        # Dropping a collection waits for the journal, by default up to 100 ms, and tests drop many.
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
    """Cheaper than a driver, which waits half a second after each refusal."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(layout.mongodb_socket(node)))
        except OSError:
            return False
    return True


def connect(layout: Layout, node: int, **options: Any) -> "MongoClient[dict[str, Any]]":
    from pymongo import MongoClient

    host = quote(str(layout.mongodb_socket(node)), safe="")
    patience = {"serverSelectionTimeoutMS": 5000, "socketTimeoutMS": 20000}
    return MongoClient(f"mongodb://{host}/?directConnection=true", **{**patience, **options})


def describe(layout: Layout, node: int) -> tuple[str, str | None]:
    """What the member is in its set, and its version."""
    from pymongo.errors import ConnectionFailure

    if not accepts_connections(layout, node):
        return "starting", None
    try:
        with connect(layout, node) as client:
            return _role(client), client.admin.command("buildInfo")["version"]
    except ConnectionFailure:
        return "starting", None


def form_replica_set(layout: Layout, programs: list[Program], *, hosts: Sequence[str], durable: bool) -> None:
    """Initiate the set, or give its members their present addresses, and wait until it takes writes."""
    deadline = time.monotonic() + ELECTION_SECONDS
    with connect(layout, 0) as client:
        while not _is_configured(client, hosts, durable=durable):
            _give_up_after(deadline, programs[0])
            time.sleep(POLL_SECONDS)
    _wait_for_members(layout, programs, deadline)


def _is_configured(client: "MongoClient[dict[str, Any]]", hosts: Sequence[str], *, durable: bool) -> bool:
    """Configure the set unless it is; False when the member is not ready, or still reading its configuration."""
    from pymongo.errors import ConnectionFailure, OperationFailure

    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except ConnectionFailure:  # a busy machine, or a member that closes its connections on its way back into the set
        return False
    except OperationFailure as refusal:
        if refusal.code != NOT_YET_INITIALIZED:
            raise
        try:
            client.admin.command("replSetInitiate", _configuration(hosts, durable=durable))
        except OperationFailure as second_refusal:
            if second_refusal.code != ALREADY_INITIALIZED:
                raise
            return False
        return True
    if [entry["host"] for entry in config["members"]] != list(hosts):
        # The addresses are part of the data: after a move the members find themselves in no set.
        for entry, host in zip(config["members"], hosts, strict=True):
            entry["host"] = host
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)
    return True


def _configuration(hosts: Sequence[str], *, durable: bool) -> dict[str, Any]:
    return {
        "_id": REPLICA_SET,
        # With equal priorities they all stand at once, and an election takes a second round as often as not.
        "members": [{"_id": node, "host": host, "priority": len(hosts) - node} for node, host in enumerate(hosts)],
        # With the defaults, 10 s and 2 s, three nodes take 13 s to elect their first primary.
        "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
        # A test's data may be lost with the server: majority then means in memory.
        "writeConcernMajorityJournalDefault": durable,
    }


def _wait_for_members(layout: Layout, programs: list[Program], deadline: float) -> None:
    """Wait until the set is settled: node 0, which has the highest priority, leads, and the others follow.

    Any other primary hands over to it a second later, under the first writes. It will do when node 0 lags
    too far behind to stand for election soon.
    """
    patience = time.monotonic() + SETTLE_SECONDS
    clients = [connect(layout, node) for node in range(layout.nodes)]
    try:
        while True:
            roles = [_role(client) for client in clients]
            is_complete = "primary" in roles and "starting" not in roles
            if is_complete and (roles[0] == "primary" or time.monotonic() > patience):
                return
            laggard = next((node for node, role in enumerate(roles) if role == "starting"), 0)
            _give_up_after(deadline, programs[laggard])
            time.sleep(POLL_SECONDS)
    finally:
        for client in clients:
            client.close()


def _role(client: "MongoClient[dict[str, Any]]") -> str:
    from pymongo.errors import ConnectionFailure

    try:
        answer = client.admin.command("hello")
    except ConnectionFailure:  # a member that finds itself in no set, or in one again, closes its connections
        return "starting"
    if answer["isWritablePrimary"]:
        return "primary"
    return "secondary" if answer["secondary"] else "starting"


def _give_up_after(deadline: float, program: Program) -> None:
    if time.monotonic() > deadline:
        raise DevStackError(f"The replica set has no primary after {ELECTION_SECONDS} s. {log_complaints(program.log)}")

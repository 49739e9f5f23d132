"""The replica set: how its members are started, and made one."""

import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from healthcare.devstack.errors import DevStackError
from healthcare.devstack.layout import REPLICA_SET, Layout
from healthcare.devstack.processes import POLL_SECONDS, Program, log_tail

if TYPE_CHECKING:
    from pymongo import MongoClient

ELECTION_SECONDS = 60
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
    }
    if not durable:
        parameters["enableTestCommands"] = "1"  # fail points, for tests of what happens when a write fails
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
        "--noscripting",
    ]
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


def connect(layout: Layout, node: int) -> "MongoClient[dict[str, Any]]":
    from pymongo import MongoClient

    host = quote(str(layout.mongodb_socket(node)), safe="")
    return MongoClient(
        f"mongodb://{host}/?directConnection=true", serverSelectionTimeoutMS=5000, socketTimeoutMS=20000
    )


def describe(layout: Layout, node: int) -> tuple[str, str | None]:
    """What the member is in its set, and its version."""
    from pymongo.errors import PyMongoError

    if not accepts_connections(layout, node):
        return "starting", None
    try:
        with connect(layout, node) as client:
            answer = client.admin.command("hello")
            version = client.admin.command("buildInfo")["version"]
    except PyMongoError:
        return "starting", None
    if answer["isWritablePrimary"]:
        return "primary", version
    return "secondary" if answer["secondary"] else "starting", version


def form_replica_set(layout: Layout, programs: list[Program], *, durable: bool) -> None:
    """Initiate the set, or give its members their present sockets, and wait until one of them takes writes.

    The members' addresses are in their data; after the folder was moved they find themselves in no set.
    """
    from pymongo.errors import OperationFailure

    with connect(layout, 0) as client:
        try:
            config = client.admin.command("replSetGetConfig")["config"]
        except OperationFailure as refusal:
            if refusal.code != NOT_YET_INITIALIZED:
                raise
            client.admin.command("replSetInitiate", _configuration(layout, durable=durable))
        else:
            hosts = [str(layout.mongodb_socket(node)) for node in range(layout.nodes)]
            if [entry["host"] for entry in config["members"]] != hosts:
                for entry, host in zip(config["members"], hosts, strict=True):
                    entry["host"] = host
                config["version"] += 1
                client.admin.command("replSetReconfig", config, force=True)
    _wait_for_members(layout, programs)


def _configuration(layout: Layout, *, durable: bool) -> dict[str, Any]:
    return {
        "_id": REPLICA_SET,
        "members": [
            {"_id": node, "host": str(layout.mongodb_socket(node)), "priority": layout.nodes - node}
            for node in range(layout.nodes)
        ],
        # With the defaults, 10 s and 2 s, three nodes take 13 s to elect their first primary.
        "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
        # A test's data may be lost with the machine: majority then means in memory.
        "writeConcernMajorityJournalDefault": durable,
    }


def _wait_for_members(layout: Layout, programs: list[Program]) -> None:
    """Wait for a primary and for the others to follow it, so that the first majority write finds its majority."""
    deadline = time.monotonic() + ELECTION_SECONDS
    clients = [connect(layout, node) for node in range(layout.nodes)]
    try:
        while True:
            answers = [client.admin.command("hello") for client in clients]
            ready = [answer["isWritablePrimary"] or answer["secondary"] for answer in answers]
            if all(ready) and any(answer["isWritablePrimary"] for answer in answers):
                return
            if time.monotonic() > deadline:
                laggard = programs[ready.index(False) if False in ready else 0]
                raise DevStackError(
                    f"The replica set elected no primary within {ELECTION_SECONDS} s. {log_tail(laggard.log)}"
                )
            time.sleep(POLL_SECONDS)
    finally:
        for client in clients:
            client.close()

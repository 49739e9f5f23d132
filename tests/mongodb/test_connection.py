"""Which servers and options the engine accepts, and that every process has a client of its own."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from pymongo.errors import InvalidOperation

from devstack import binaries
from healthcare.mongodb import raw
from healthcare.mongodb.base import DatabaseWrapper, clinical_connection
from healthcare.mongodb.transactions import clinical_transaction
from tests.databases import opened_connections
from tests.mongodb.models import Tally

Connect = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open a connection of another alias to a server, with the options of settings.py except for a shorter wait."""
    created: list[DatabaseWrapper] = []

    def connected(uri: str, **options: Any) -> DatabaseWrapper:
        usual = connections["clinical"].settings_dict
        connection = DatabaseWrapper(
            {
                **usual,
                "HOST": uri,
                "OPTIONS": {**usual["OPTIONS"], "serverSelectionTimeoutMS": 700, **options},
            },
            alias=f"connection{len(created)}",
        )
        created.append(connection)
        connection.connect()
        return connection

    yield connected
    for connection in created:
        connection._replicated.discard(connection.alias)
        if client := connection._connection_pools.pop(connection.alias, None):
            client.close()


@pytest.fixture(scope="module")
def start_mongod() -> Iterator[Callable[..., str]]:
    """Start a mongod with further arguments and return its URI."""
    mongod = binaries.find_mongod()
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="mongod-") as name:
        folder = Path(name)
        environment = binaries.mongod_environment(mongod, folder)

        def start(*arguments: str) -> str:
            data = folder / f"data{len(started)}"
            data.mkdir()
            socket = folder / f"{len(started)}.sock"
            command: list[str | Path] = [
                str(mongod),
                "--dbpath",
                str(data),
                "--bind_ip",
                socket,
                "--nounixsocket",
                "--wiredTigerCacheSizeGB",
                "0.25",
            ]
            started.append(subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, env=environment))
            uri = f"mongodb://{quote(str(socket), safe='')}/"
            with pymongo.MongoClient[dict[str, Any]](uri, directConnection=True) as client:
                client.admin.command("ping")
            return uri

        yield start
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def standalone(start_mongod: Callable[..., str]) -> str:
    return start_mongod()


def usual_uri(**options: str) -> str:
    uri = connections["clinical"].settings_dict["HOST"]
    asked = [f"{name}={value}" for name, value in options.items()]
    return uri.partition("?")[0] + "?" + "&".join(["replicaSet=rs0", *asked])


@pytest.mark.parametrize("options", ["", "?replicaSet=rs0", "?directConnection=true"])
def test_standalone_server_is_refused_with_what_to_do(connect: Connect, standalone: str, options: str) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        connect(standalone + options)
    for words in ("mongod --replSet rs0", "rs.initiate()", "unset MONGODB_URI", "embedded"):
        assert words in str(raised.value)


@pytest.mark.parametrize("options", ["?replicaSet=rs0", "?directConnection=true"])
def test_replica_set_that_was_never_initiated_is_refused(
    connect: Connect, start_mongod: Callable[..., str], options: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"rs\.initiate\(\)"):
        connect(start_mongod("--replSet", "rs0") + options)


def test_refused_server_is_refused_again(connect: Connect, standalone: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        connect(standalone)
    again = DatabaseWrapper({**connections["clinical"].settings_dict, "HOST": standalone}, alias="connection0")
    with pytest.raises(ImproperlyConfigured):
        again.connect()


def test_unreachable_server_is_not_called_standalone(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="No MongoDB server can be reached"):
        connect(f"mongodb://{quote(str(tmp_path / 'none.sock'), safe='')}/?replicaSet=rs0")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("w", "0"), ("w", "1"), ("journal", "false"), ("journal", "False"), ("readConcernLevel", "local"),
        ("readConcernLevel", "available"), ("readConcernLevel", "linearizable"), ("readConcernLevel", "snapshot"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("separator", ["&", ";"])
def test_option_that_loses_writes_is_refused(connect: Connect, name: str, value: str, separator: str) -> None:
    """The URI is checked too, although OPTIONS would override it, because the operator must learn of the mistake."""
    with pytest.raises(ImproperlyConfigured, match=rf"{name}={value} in MONGODB_URI .* Remove it"):
        connect(separator.join([usual_uri(), f"{name}={value}"]))


@pytest.mark.parametrize(("name", "value"), [("w", 1), ("w", 0), ("journal", False), ("readConcernLevel", "local")])
def test_option_that_loses_writes_is_refused_in_the_settings(connect: Connect, name: str, value: object) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"{name}={value} in MONGODB_URI .* Remove it"):
        connect(usual_uri(), **{name: value})


def test_a_server_process_does_not_start_with_such_a_uri() -> None:
    """gunicorn's workers import `healthcare.wsgi`."""
    ended = subprocess.run(
        [sys.executable, "-c", "import healthcare.wsgi"],
        env={**os.environ, "MONGODB_URI": usual_uri(w="1")}, cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "w=1 in MONGODB_URI" in ended.stderr.splitlines()[-1]


def test_majority_is_accepted(connect: Connect) -> None:
    client = connect(usual_uri(w="majority", journal="true", readConcernLevel="majority")).connection
    assert client.write_concern.document == {"w": "majority", "j": True, "wtimeout": 5000}
    assert client.read_concern.level == "majority"


def test_clinical_data_is_written_and_read_by_majorities_and_in_time(connect: Connect) -> None:
    client = connect(usual_uri()).connection
    assert client.write_concern.document == {"w": "majority", "wtimeout": 5000}
    assert client.read_concern.level == "majority"
    assert client.options.retry_writes
    assert client.options.retry_reads
    assert client.options.pool_options.socket_timeout == 30


def test_servers_are_asked_once_in_a_process(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    first = connect(usual_uri())
    monkeypatch.setattr(DatabaseWrapper, "_require_replica_set", lambda *_: pytest.fail("asked again"))
    second = DatabaseWrapper(first.settings_dict, alias=first.alias)
    second.connect()
    assert second.connection is first.connection


PREFERENCE = {
    "readPreference": "secondaryPreferred",
    "readPreferenceTags": "dc:ny",
    "maxStalenessSeconds": "120",
}


def test_reads_and_transactions_stay_on_the_primary(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction with the URI's own read preference fails, so the stock engine cannot use such a URI."""
    stock = connections["stock"]
    with pymongo.MongoClient[dict[str, Any]](usual_uri(**PREFERENCE)) as client, client.start_session() as session:
        session.start_transaction()
        with pytest.raises(InvalidOperation, match="must be primary"):
            client[stock.settings_dict["NAME"]].tallies.find_one(session=session)

    ours = connect(usual_uri(**PREFERENCE), readPreference="nearest")
    assert ours.connection.read_preference == pymongo.ReadPreference.PRIMARY

    @clinical_transaction
    def write() -> list[dict]:
        Tally.objects.create(name="T", total=1)
        raw.collection(Tally).update_one({"_id": "T"}, {"$inc": {"total": 1}})
        assert Tally.objects.get(name="T").total == 2
        return raw.aggregate(Tally, [{"$match": {"_id": "T"}}])

    with monkeypatch.context() as patch:
        patch.setattr(opened_connections(), "clinical", ours)
        assert write() == [{"_id": "T", "total": 2}]
    assert Tally.objects.get().total == 2


def test_threads_that_connect_at_once_share_one_client(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock engine makes a client for each thread and leaves all but one running unused."""
    first = connect(usual_uri())
    first._connection_pools.pop(first.alias).close()
    made = []

    def make_slowly(*args: Any, **kwargs: Any) -> pymongo.MongoClient:
        time.sleep(0.05)
        made.append(pymongo.MongoClient(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr("django_mongodb_backend.base.MongoClient", make_slowly)
    clients: list[Any] = []
    together = threading.Barrier(8)

    def open_one() -> None:
        connection = DatabaseWrapper(first.settings_dict, alias=first.alias)
        together.wait()
        connection.connect()
        clients.append(connection.connection)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clients == made * 8
    assert len(made) == 1


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_forked_child_has_a_client_of_its_own_and_no_transaction() -> None:
    """The child neither reads through the parent's sockets nor writes into the parent's open transaction."""
    connection = clinical_connection()
    inherited = connection.connection
    read_end, write_end = os.pipe()

    @clinical_transaction
    def fork_inside() -> None:
        Tally.objects.create(name="parent")
        pid = os.fork()
        if pid == 0:
            answer = b"failed"
            try:
                if connection.session is None and not connection.in_atomic_block_mongo:
                    Tally.objects.create(name="child")
                    if connection.connection is not inherited:
                        answer = b"own client"
            finally:
                os.write(write_end, answer)
                os._exit(0)
        os.waitpid(pid, 0)

    fork_inside()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"own client"
    assert connection.connection is inherited
    assert sorted(Tally.objects.values_list("name", flat=True)) == ["child", "parent"]


def test_importing_the_engine_connects_to_nothing() -> None:
    script = (
        "import django; from django.conf import settings; "
        "settings.configure(DATABASES={'clinical': {'ENGINE': 'healthcare.mongodb', 'NAME': 'x', "
        "'HOST': 'mongodb://127.0.0.1:9/'}, 'default': {}}); django.setup(); "
        "from django.db import connections; "
        "from healthcare.mongodb import base, compiler, explain, indexes, raw, schema, transactions; "
        "assert connections['clinical'].connection is None; "
        "assert not transactions.in_transaction(); "
        "assert base.DatabaseWrapper._connection_pools == {}"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

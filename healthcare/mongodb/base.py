"""The connection: one client for each process, the primary only, and transactions that end cleanly."""

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import pymongo
from bson.codec_options import CodecOptions
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from django.db.backends.utils import debug_transaction
from django.db.transaction import TransactionManagementError
from django_mongodb_backend import base
from django_mongodb_backend.query import wrap_database_errors
from pymongo import MongoClient, ReadPreference
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError
from pymongo.pool_shared import _PoolClosedError
from pymongo.server_selectors import writable_server_selector
from pymongo.uri_parser import split_options

from healthcare.mongodb import encryption
from healthcare.mongodb.introspection import DatabaseIntrospection
from healthcare.mongodb.operations import DatabaseOperations
from healthcare.mongodb.orphaned_transactions import end_orphans, process_name
from healthcare.mongodb.schema import DatabaseSchemaEditor

logger = logging.getLogger("healthcare.mongodb")

COMMIT_RETRY_PAUSE_SECONDS = 0.05
#: A little less than the driver waits for a primary (serverSelectionTimeoutMS), so that whoever has done so in vain and
#: begins again (`healthcare.lane`) does not wait a second time. Most elections are over by then.
PATIENCE_SECONDS = 4.0
#: What is not aborted by then ends on the server without us.
ABORT_SECONDS = 2.0
#: While no primary is known: waiting for one would keep the next try, or the answer, back. But the driver forgets the
#: primary when one connection to it breaks, and looks for it again half a second later; what is not aborted then makes
#: every next try conflict with it for as long as the server keeps it.
ABORT_IN_VAIN_SECONDS = 0.6

_NEEDS_REPLICA_SET = (
    "Start it with `mongod --replSet rs0` and run `rs.initiate()` in mongosh once, or unset MONGODB_URI to "
    "use the embedded servers."
)
_clients_lock = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    introspection_class = DatabaseIntrospection
    ops_class = DatabaseOperations

    # The stock engine adds `{$exists: true}` and `{$ne: null}` to both, so that null is not less than a value. In the
    # query language it never is: comparisons are among values of one type. And an index cannot answer the two,
    # so that the pages of a list that goes down fetched every document with the date at which a page begins.
    mongo_operators = {
        **base.DatabaseWrapper.mongo_operators,
        "lt": lambda field, value: {field: {"$lt": value}},
        "lte": lambda field, value: {field: {"$lte": value}},
    }

    # The clients of this process by alias, and the aliases whose servers were seen to be a replica set.
    _connection_pools: dict[str, MongoClient] = {}
    _replicated: set[str] = set()
    # The databases whose data keys were seen to be wrapped by our master key.
    _keys_checked: set[str] = set()
    # The aliases where this process has looked for the transactions of dead ones, and when a primary was missed first.
    _swept: set[str] = set()
    _no_primary_since: dict[str, float] = {}
    run_on_commit: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What a joined call raised in the transaction that is open now (healthcare.mongodb.transactions).
        self.raised_inside: BaseException | None = None
        # The driver's connection that the commands of the open transaction go by, and the loan of it.
        self._line: tuple[Any, Any] | None = None
        # The server that the last read was sent to, and the client that it belongs to.
        self._primary: tuple[Any, Any] = None, None

    # --- Connecting

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        for name, value in _asked_for(params):
            if reason := _why_refused(name, value):
                message = f'{name}={value} in MONGODB_URI (or in OPTIONS of DATABASES["{self.alias}"]) {reason}'
                raise ImproperlyConfigured(message)
        # A transaction refuses every other read preference, and a read from a secondary misses what was just
        # written. As a keyword it also overrides the tags and the staleness that come with one in the URI.
        params = {name: value for name, value in params.items() if name.lower() != "readpreference"}
        return {"appName": process_name(), **params, "read_preference": ReadPreference.PRIMARY}

    def get_new_connection(self, conn_params: dict[str, Any]) -> MongoClient:
        # The stock engine lets two threads that connect at once make two clients and leaves one running
        # unused.
        with _clients_lock:
            client = super().get_new_connection(conn_params)
        if self.alias not in self._replicated:
            self._require_replica_set(client)
            self._replicated.add(self.alias)
        if self.settings_dict["NAME"] not in self._keys_checked:
            # Before anything is read or written with the wrong key, or plain because there is none.
            encryption.check(client, self.settings_dict["NAME"])
            self._keys_checked.add(self.settings_dict["NAME"])
        if self.alias not in self._swept:
            # Once in a process, as the processes before it may have been killed.
            self._swept.add(self.alias)
            end_orphans(client)
        return client

    def get_collection(self, name: str, **kwargs: Any) -> Any:
        self._refuse_in_outage()
        return super().get_collection(name, **kwargs)

    def read_command(self, command: dict[str, Any], codec_options: CodecOptions[dict[str, Any]]) -> dict[str, Any]:
        """Run a command that reads, outside a transaction, once and without a session. Raises: PyMongoError.

        `Database.command` gets ready to try it again, and lends it a session. It takes internals, as the one below.
        """
        client = cast(Any, self.database.client)
        asked, server = self._primary
        # The driver's monitors change the description of a server that is there.
        if asked is not client or not server.description.is_writable:
            self._primary = None, None
            self._refuse_in_outage()
            server = client._select_server(writable_server_selector, None, next(iter(command)))
            self._no_primary_since.pop(self.alias, None)
            self._primary = client, server
        try:
            with client._checkout(server, None) as connection:
                return cast(
                    dict[str, Any],
                    connection.command(self.database.name, command, codec_options=codec_options, client=client),
                )
        except PyMongoError as error:
            # It may have left the set, and nobody changes its description any more.
            self._primary = None, None
            if isinstance(error, _PoolClosedError):
                raise AutoReconnect(str(error)) from error
            raise

    def _refuse_in_outage(self) -> None:
        """Answer at once what the driver would say after five seconds, when it has said so already.

        Its monitors look for a primary all the time. The first requests after one is lost wait for the next, as an
        election takes seconds; once that has been in vain everybody else's thread is better used, by a log-in.
        """
        if self._has_primary():
            self._no_primary_since.pop(self.alias, None)
            return
        since = self._no_primary_since.setdefault(self.alias, time.monotonic())
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise OperationalError("No MongoDB primary has been found for some seconds.") from AutoReconnect()

    def _has_primary(self) -> bool:
        # Making the connection asks the servers, so that the driver knows of them here.
        return bool(self.database.client.topology_description.has_writable_server())

    def _require_replica_set(self, client: MongoClient) -> None:
        """Ask the servers once in a process what they are: without a replica set there are no transactions.

        Raises: ImproperlyConfigured, saying what to do; OperationalError when no server answers.
        """
        try:
            # Any member knows, so that a process can start while the set elects a primary.
            hello = client.admin.command("hello", read_preference=ReadPreference.NEAREST)
        except ServerSelectionTimeoutError as error:
            servers = client.topology_description.server_descriptions().values()
            if any(server.server_type_name == "RSGhost" for server in servers):
                message = f"The MongoDB server is a replica set that was never initiated. {_NEEDS_REPLICA_SET}"
                raise ImproperlyConfigured(message) from error
            if not servers:
                # The driver forgets servers that answer but are not of the set that the URI names.
                name = client.topology_description.replica_set_name
                message = f"The MongoDB server is not a member of the replica set {name!r}. {_NEEDS_REPLICA_SET}"
                raise ImproperlyConfigured(message) from error
            raise OperationalError(f"No MongoDB server can be reached: {error}") from error
        except PyMongoError as error:
            raise OperationalError(f"The MongoDB server refused the connection: {error}") from error
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            message = f"The MongoDB server is standalone and has no transactions. {_NEEDS_REPLICA_SET}"
            raise ImproperlyConfigured(message)

    def forget_client(self) -> None:
        """Drop what a forked child inherited, without closing it: the sockets are the parent's."""
        self.connection = None
        self.__dict__.pop("database", None)
        self.session = self._line = None
        self._primary = None, None
        self._leave_block()
        self.run_on_commit = []

    # --- Transactions

    def begin(self) -> None:
        """Open a transaction, as the engine's own `atomic` does at its outermost.

        Raises: OperationalError while there is no primary.
        """
        self._refuse_in_outage()
        self.start_transaction_mongo()
        self.raised_inside = None
        self.in_atomic_block_mongo = True

    def transaction_command(
        self, command: dict[str, Any], codec_options: CodecOptions[dict[str, Any]]
    ) -> dict[str, Any]:
        """Run a command of the open transaction; all of them go by one connection. Raises: PyMongoError.

        `Database.command` looks for the server and borrows a connection for each, and gets ready to send it again,
        which in a transaction nothing but the whole is. It takes internals of the driver (pymongo 4.20).
        """
        client, session = cast(Any, self.connection), self.session
        if self._line is None:
            loan = client._conn_for_writes(session, next(iter(command)))
            self._line = loan, loan.__enter__()
        connection = self._line[1]
        try:
            return connection.command(
                self.database.name, command, codec_options=codec_options, session=session, client=client
            )
        except BaseException as error:
            # The driver says of a lost connection here that the transaction may be tried again.
            self._hang_up(error)
            raise

    def _hang_up(self, error: BaseException | None = None) -> None:
        line, self._line = self._line, None
        if line is not None:
            line[0].__exit__(type(error) if error else None, error, error.__traceback__ if error else None)

    def rollback_mongo(self) -> None:
        """Abort the open transaction and leave none of its state, even when the abort itself fails."""
        self._hang_up()
        session, self.session = self.session, None
        self.run_on_commit = []
        self._leave_block()
        if session:
            try:
                seconds = ABORT_SECONDS if self._has_primary() else ABORT_IN_VAIN_SECONDS
                with debug_transaction(self, "session.abort_transaction()"), pymongo.timeout(seconds):
                    session.abort_transaction()
            finally:
                session.end_session()

    def commit_mongo(self) -> None:
        self.commit_session()
        self.run_and_clear_commit_hooks()

    @wrap_database_errors
    def commit_session(self, *, give_up_at: float = 0.0) -> int:
        """Commit without running the on-commit callbacks; return how often the commit was sent again.

        While the driver cannot say whether the commit happened it is sent again, until `give_up_at`
        (`time.monotonic()`) and once at least, which is safe: the server commits a transaction once.

        Raises: DatabaseError, with the driver's error as its cause. The stock engine lets the driver's error
        through its `except DatabaseError`, and the thread went on writing into the dead transaction; here the
        session and the callbacks are gone whatever happens.
        """
        session, self.session = self.session, None
        self._leave_block()
        if session is None:
            return 0
        resent = 0
        try:
            while True:
                try:
                    with debug_transaction(self, "session.commit_transaction()"):
                        self._commit_by_line(session)
                    return resent
                except PyMongoError as error:
                    # Once in any case, as the driver does.
                    if not is_unknown_commit(error) or (resent and time.monotonic() >= give_up_at):
                        raise
                resent += 1
                time.sleep(random.uniform(0, COMMIT_RETRY_PAUSE_SECONDS))  # noqa: S311
        except BaseException:
            self.run_on_commit = []
            raise
        finally:
            session.end_session()

    def _commit_by_line(self, session: Any) -> None:
        """Have the driver commit, the first time by the connection that the commands went by. Raises: PyMongoError.

        It would look for the server and borrow a connection once more, 0.2 ms, to be ready to send it again, which is
        done above.
        """
        if self._line is None:
            session.commit_transaction()
            return
        session._finish_transaction_with_retry = partial(session._finish_transaction, self._line[1])
        try:
            session.commit_transaction()
        except BaseException as error:
            self._hang_up(error)
            raise
        finally:
            del session._finish_transaction_with_retry
            self._hang_up()

    def run_and_clear_commit_hooks(self) -> None:
        """Run the callbacks, also inside Django's own `atomic`, which does nothing on MongoDB.

        Django's method refuses that, and the admin wraps each of its views in `atomic(using="clinical")`:
        there a service committed and then failed with TransactionManagementError, its callbacks not run.
        """
        if self.in_atomic_block_mongo:
            raise TransactionManagementError("Callbacks run after the commit, and a transaction is open.")
        callbacks, self.run_on_commit = self.run_on_commit, []
        for _, callback, is_robust in callbacks:
            if not is_robust:
                callback()
                continue
            try:
                callback()
            except Exception:
                logger.exception("%s failed after the commit", callback.__qualname__)

    def _leave_block(self) -> None:
        self.in_atomic_block_mongo = False
        self.nested_atomics = 0
        self.raised_inside = None


def is_unknown_commit(error: PyMongoError) -> bool:
    """Whether the commit may or may not have happened; a commit that ran out of maxTimeMS (50) is not sent
    again.

    Source: the driver specification "Convenient API for Transactions", which excludes that code as well.
    """
    return error.has_error_label("UnknownTransactionCommitResult") and getattr(error, "code", None) != 50


def _asked_for(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each option by its name and value, in the URI or beside it; the driver would let the second one win."""
    query = urlsplit(params["host"] or "").query
    for name, value in [*(split_options(query, validate=False) if query else {}).items(), *params.items()]:
        # The driver makes the names of a URI lower case.
        yield {"readconcernlevel": "readConcernLevel", "j": "journal"}.get(name.lower(), name), str(value)


def _why_refused(name: str, value: str) -> str | None:
    """What an option would cost clinical data, and what to do; None for one that costs nothing."""
    match name.lower(), value.lower():
        case "w", "0" | "1":
            return (
                "loses acknowledged writes with the primary. Remove it: "
                "the writes of clinical data wait for a majority."
            )
        case "journal", "false":
            return (
                "loses acknowledged writes when the machines lose power together. Remove it: the writes of clinical "
                "data are in the journals of a majority before they are answered."
            )
        case "readconcernlevel", level if level != "majority":
            return (
                "is not what the rules of the data stand on: a local read sees writes that a failover undoes, and a "
                "transaction refuses a linearizable one. Remove it: the reads of clinical data are majority reads."
            )
    return None


def _after_fork_in_child() -> None:
    """Give a forked child clients of its own; the parent's share its sockets and its cluster time."""
    global _clients_lock
    _clients_lock = threading.Lock()
    _inherited.extend(DatabaseWrapper._connection_pools.values())
    DatabaseWrapper._connection_pools.clear()
    DatabaseWrapper._swept.clear()
    DatabaseWrapper._no_primary_since.clear()
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.forget_client()


# Kept so that the garbage collector of the child does not tell the parent's clients to warn or close.
_inherited: list[MongoClient] = []
os.register_at_fork(after_in_child=_after_fork_in_child)

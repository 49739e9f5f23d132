"""The database wrapper: one client for each process, reads from the primary only, transactions that end cleanly."""

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
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
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError
from pymongo.uri_parser import split_options

from healthcare.mongodb import encryption
from healthcare.mongodb.documents import Document
from healthcare.mongodb.introspection import DatabaseIntrospection
from healthcare.mongodb.operations import DatabaseOperations
from healthcare.mongodb.schema import DatabaseSchemaEditor
from healthcare.routers import CLINICAL

logger = logging.getLogger("healthcare.mongodb")

COMMIT_RETRY_PAUSE_SECONDS = 0.05
#: How long requests wait for a primary before they fail at once. This is a little less than the driver's own
#: serverSelectionTimeoutMS (5 s), so that a request that has waited once does not wait again. Most elections are over
#: by then.
PRIMARY_WAIT_SECONDS = 4.0
#: How long an abort may take. The server ends a transaction that is not aborted (`transactionLifetimeLimitSeconds`).
ABORT_SECONDS = 2.0
#: How long an abort may take while no primary is known. Waiting longer would only delay the retry or the error. The
#: driver forgets the primary when one connection to it breaks, and finds it again half a second later; without an abort
#: every retry would then conflict with the old transaction for as long as the server keeps it.
ABORT_WITHOUT_PRIMARY_SECONDS = 0.6

_NEEDS_REPLICA_SET = (
    "Start it with `mongod --replSet rs0` and run `rs.initiate()` in mongosh once, or unset MONGODB_URI to "
    "use the embedded servers."
)
_clients_lock = threading.Lock()


def clinical_connection() -> "DatabaseWrapper":
    """Return this thread's connection to the clinical database; `connections` has the type of any engine's."""
    return cast(DatabaseWrapper, connections[CLINICAL])


class DatabaseWrapper(base.DatabaseWrapper):
    """django-mongodb-backend's wrapper with safe options, fast failure in an outage, and transactions that end."""

    SchemaEditorClass = DatabaseSchemaEditor
    introspection_class = DatabaseIntrospection
    ops_class = DatabaseOperations

    # The stock engine adds `{$exists: true}` and `{$ne: null}` to both operators, so that null is not less than a
    # value. But null is never less than a value, because the query language compares values of one type only. An index
    # cannot answer the two added conditions: each page of a descending list then fetched every document of the date at
    # which it begins.
    mongo_operators = {
        **base.DatabaseWrapper.mongo_operators,
        "lt": lambda field, value: {field: {"$lt": value}},
        "lte": lambda field, value: {field: {"$lte": value}},
    }

    # The clients of this process by alias, and the aliases whose servers are known to be a replica set.
    _connection_pools: dict[str, MongoClient] = {}
    _replicated: set[str] = set()
    # The databases whose data keys are known to be wrapped by the configured master key.
    _keys_checked: set[str] = set()
    # By alias, the time since which this process has found no primary.
    _no_primary_since: dict[str, float] = {}
    connection: MongoClient[Document] | None
    database: Database[Document]
    session: ClientSession | None
    run_on_commit: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The error that a joined service raised in the open transaction (healthcare.mongodb.transactions).
        self.raised_inside: BaseException | None = None
        # The checkout of the driver's connection that carries the open transaction, and the connection itself.
        self._checkout: tuple[Any, Any] | None = None

    # --- Connecting

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        for name, value in _requested_options(params):
            if reason := _reason_against(name, value):
                message = f'{name}={value} in MONGODB_URI (or in OPTIONS of DATABASES["{self.alias}"]) {reason}'
                raise ImproperlyConfigured(message)
        # A transaction accepts no other read preference, and a read from a secondary misses what was just written. As
        # a keyword argument it also overrides the tags and the staleness in the URI.
        params = {name: value for name, value in params.items() if name.lower() != "readpreference"}
        return {"appName": "healthcare", **params, "read_preference": ReadPreference.PRIMARY}

    def get_new_connection(self, conn_params: dict[str, Any]) -> MongoClient:
        # Without the lock two threads that connect at once make two clients, and one of them keeps running unused.
        with _clients_lock:
            client = super().get_new_connection(conn_params)
        if self.alias not in self._replicated:
            self._require_replica_set(client)
            self._replicated.add(self.alias)
        if self.settings_dict["NAME"] not in self._keys_checked:
            # This check comes before anything is read or written with a wrong key, or unencrypted without a key.
            encryption.check(client, self.settings_dict["NAME"])
            self._keys_checked.add(self.settings_dict["NAME"])
        return client

    def get_collection(self, name: str, **kwargs: Any) -> Any:
        self._raise_in_outage()
        return super().get_collection(name, **kwargs)

    def _raise_in_outage(self) -> None:
        """Fail at once if no primary has been found for PRIMARY_WAIT_SECONDS. Raises: OperationalError.

        An election takes seconds, so the first requests after the loss of a primary wait for the next one. If that wait
        found none, later requests that wait would only occupy threads that log-ins need. The driver's monitors keep
        looking for a primary meanwhile.
        """
        if self._has_primary():
            self._no_primary_since.pop(self.alias, None)
            return
        since = self._no_primary_since.setdefault(self.alias, time.monotonic())
        if time.monotonic() - since > PRIMARY_WAIT_SECONDS:
            message = f"No MongoDB primary has been found for {PRIMARY_WAIT_SECONDS:.0f} s."
            raise OperationalError(message) from AutoReconnect()

    def _has_primary(self) -> bool:
        # `self.database` connects if there is no connection yet, and connecting asks the servers.
        return bool(self.database.client.topology_description.has_writable_server())

    def _require_replica_set(self, client: MongoClient) -> None:
        """Require a replica set, without which MongoDB has no transactions. Each process asks the servers once.

        Raises: ImproperlyConfigured, saying what to do; OperationalError when no server answers.
        """
        try:
            # Any member can answer, so a process can start while the set elects a primary.
            hello = client.admin.command("hello", read_preference=ReadPreference.NEAREST)
        except ServerSelectionTimeoutError as error:
            servers = client.topology_description.server_descriptions().values()
            if any(server.server_type_name == "RSGhost" for server in servers):
                message = f"The MongoDB server is a replica set that was never initiated. {_NEEDS_REPLICA_SET}"
                raise ImproperlyConfigured(message) from error
            if not servers:
                # The driver forgets servers that answer but do not belong to the set that the URI names.
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
        """Drop the client that a forked child inherited, without closing it, because the parent uses its sockets."""
        self.connection = None
        self.__dict__.pop("database", None)
        self.session = self._checkout = None
        self._leave_block()
        self.run_on_commit = []

    # --- Transactions

    def begin(self) -> None:
        """Open a transaction, as the outermost `atomic` of the stock engine does.

        Raises: OperationalError while there is no primary.
        """
        self._raise_in_outage()
        self.start_transaction_mongo()
        self.raised_inside = None
        self.in_atomic_block_mongo = True

    def transaction_command(self, command: Document, codec_options: CodecOptions[Document]) -> Document:
        """Run a command of the open transaction on the one connection that carries it. Raises: PyMongoError.

        `Database.command` selects the server, checks out a connection and prepares a retry for each command, although
        in a transaction only the whole can be retried. On one connection a booking's seven commands cost 1.1 ms of CPU
        time instead of 2.1 (development machine). The internals used are listed in docs/library-internals.md.
        """
        client, session = cast(Any, self.connection), self.session
        if self._checkout is None:
            checkout = client._conn_for_writes(session, next(iter(command)))
            self._checkout = checkout, checkout.__enter__()
        connection = self._checkout[1]
        try:
            return connection.command(
                self.database.name, command, codec_options=codec_options, session=session, client=client
            )
        except BaseException as error:
            # On the way out the driver labels a lost connection as an error after which the transaction can be retried.
            self._check_in(error)
            raise

    def _check_in(self, error: BaseException | None = None) -> None:
        """Return the transaction's connection to the driver's pool."""
        checkout, self._checkout = self._checkout, None
        if checkout is not None:
            checkout[0].__exit__(type(error) if error else None, error, error.__traceback__ if error else None)

    def rollback_mongo(self) -> None:
        """Abort the open transaction and clear its state, even if the abort itself fails."""
        self._check_in()
        session, self.session = self.session, None
        self.run_on_commit = []
        self._leave_block()
        if session:
            try:
                seconds = ABORT_SECONDS if self._has_primary() else ABORT_WITHOUT_PRIMARY_SECONDS
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

        While the driver cannot say whether the commit happened, the commit is sent again: at least once, and until
        `give_up_at` (`time.monotonic()`). That is safe because the server commits a transaction once.

        Raises: DatabaseError, with the driver's error as its cause. The session ends in any case, and the callbacks are
        dropped if the commit fails. The stock engine keeps both when a commit fails, and the thread goes on writing
        into the failed transaction.
        """
        self._check_in()
        session, self.session = self.session, None
        self._leave_block()
        if session is None:
            return 0
        resent = 0
        try:
            while True:
                try:
                    with debug_transaction(self, "session.commit_transaction()"):
                        session.commit_transaction()
                    return resent
                except PyMongoError as error:
                    # Send the commit again at least once, as the driver does.
                    if not is_unknown_commit(error) or (resent and time.monotonic() >= give_up_at):
                        raise
                resent += 1
                time.sleep(random.uniform(0, COMMIT_RETRY_PAUSE_SECONDS))  # noqa: S311
        except BaseException:
            self.run_on_commit = []
            raise
        finally:
            session.end_session()

    def run_and_clear_commit_hooks(self) -> None:
        """Run the callbacks, also inside Django's own `atomic`, which has no effect on MongoDB.

        Django's method forbids that, and the admin wraps each of its views in `atomic(using="clinical")`: a service
        there committed and then failed with TransactionManagementError, without running its callbacks.
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
    """Return whether the commit may or may not have happened. A commit that ran out of maxTimeMS (50) does not count.

    Source: the driver specification "Convenient API for Transactions", which excludes that code as well.
    """
    return error.has_error_label("UnknownTransactionCommitResult") and getattr(error, "code", None) != 50


def _requested_options(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each option, from the URI and from OPTIONS, although OPTIONS override the URI."""
    query = urlsplit(params["host"] or "").query
    for name, value in [*(split_options(query, validate=False) if query else {}).items(), *params.items()]:
        # The driver lower-cases the names in a URI.
        yield {"readconcernlevel": "readConcernLevel", "j": "journal"}.get(name.lower(), name), str(value)


def _reason_against(name: str, value: str) -> str | None:
    """Return what an option would cost clinical data and what to do about it; None for a harmless option."""
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
                "is not safe for clinical data: a local read sees writes that a failover undoes, and a transaction "
                "refuses a linearizable one. Remove it: the reads of clinical data are majority reads."
            )
    return None


def _after_fork_in_child() -> None:
    """Give a forked child clients of its own, because the inherited ones share the parent's sockets."""
    global _clients_lock
    _clients_lock = threading.Lock()
    _inherited.extend(DatabaseWrapper._connection_pools.values())
    DatabaseWrapper._connection_pools.clear()
    DatabaseWrapper._no_primary_since.clear()
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.forget_client()


# The parent's clients are kept so that garbage collection in the child does not make them warn or close.
_inherited: list[MongoClient] = []
os.register_at_fork(after_in_child=_after_fork_in_child)

"""Whole collections as the server stores them, BSON document after document: for backups, past every conversion."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from django.db import DatabaseError, connections
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from healthcare.routers import CLINICAL

#: Of no application: the server's own, copies of `benchmark_indexes`, and what `emptying` was about to put in place.
_NOT_OURS = ("system.", "benchmark_")
_SNAPSHOT_TOO_OLD = 239
_SERVERS_OWN = frozenset({"v", "ns", "background"})
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class SnapshotTooOld(DatabaseError):
    """The server no longer remembers the moment: reading took longer than its `minSnapshotHistoryWindowInSeconds`."""


def collection_names() -> list[str]:
    names = _database().list_collection_names()
    return sorted(name for name in names if not name.startswith(_NOT_OURS) and not name.endswith(".emptied"))


def indexes_of(name: str) -> list[dict[str, Any]]:
    """Its indexes but the one of `_id`, as `createIndexes` takes them."""
    return [
        {option: value for option, value in index.items() if option not in _SERVERS_OWN}
        for index in _database()[name].list_indexes()
        if index["name"] != "_id_"
    ]


class Moment:
    """All collections at one and the same moment, which is that of the first read."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @property
    def time(self) -> Timestamp | None:
        """The cluster's time of the moment; None before the first read."""
        return getattr(self._session, "_snapshot_time", None)

    def documents(self, name: str, where: dict[str, Any] | None = None) -> Iterator[RawBSONDocument]:
        """Raises: SnapshotTooOld, DatabaseError."""
        try:
            with _database().get_collection(name, _RAW).find(where or {}, session=self._session) as found:
                yield from found
        except OperationFailure as error:
            raise (SnapshotTooOld if error.code == _SNAPSHOT_TOO_OLD else DatabaseError) from error
        except PyMongoError as error:
            raise DatabaseError from error


@contextmanager
def at_one_moment() -> Iterator[Moment]:
    """Read while others write, and see nothing of it."""
    with _client().start_session(snapshot=True) as session:
        yield Moment(session)


def insert(name: str, documents: Sequence[RawBSONDocument]) -> None:
    """Store documents as they are. Raises: DatabaseError."""
    try:
        _database().get_collection(name, _RAW).insert_many(documents, ordered=False)
    except PyMongoError as error:
        # Its text quotes documents.
        raise DatabaseError(f"{name} did not take all documents: {type(error).__name__}") from error


def create_indexes(name: str, indexes: Sequence[dict[str, Any]]) -> None:
    """Make those that are not there."""
    there = {index["name"] for index in _database()[name].list_indexes()} if name in collection_names() else set()
    missing = [index for index in indexes if index["name"] not in there]
    if missing:
        _database().command("createIndexes", name, indexes=missing)


def is_empty(name: str) -> bool:
    return _database()[name].find_one({}, {"_id": 1}) is None


def _client() -> MongoClient[dict[str, Any]]:
    connection = connections[CLINICAL]
    connection.ensure_connection()
    return cast(MongoClient[dict[str, Any]], connection.connection)


def _database() -> Database[dict[str, Any]]:
    return _client()[connections[CLINICAL].settings_dict["NAME"]]

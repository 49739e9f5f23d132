"""Reads and writes whole collections as raw BSON documents, without converting any value."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from django.db import DatabaseError, connections
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from healthcare.mongodb.raw import Document
from healthcare.routers import CLINICAL

#: Prefixes of collections that do not belong to a backup: the server's own and the copies of `benchmark_indexes`.
_FOREIGN_PREFIXES = ("system.", "benchmark_")
_SNAPSHOT_TOO_OLD = 239
#: The server adds these options to an index; `createIndexes` does not need them.
_SERVER_OPTIONS = frozenset({"v", "ns", "background"})
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class SnapshotTooOld(DatabaseError):
    """Reading took longer than the server keeps a snapshot (`minSnapshotHistoryWindowInSeconds`)."""


def collection_names() -> list[str]:
    """Return the application's collections, without the temporary ones of `healthcare.mongodb.emptying`."""
    names = _database().list_collection_names()
    return sorted(name for name in names if not name.startswith(_FOREIGN_PREFIXES) and not name.endswith(".emptied"))


def indexes_of(name: str) -> list[Document]:
    """Return a collection's indexes except that of `_id`, in the form that `createIndexes` takes."""
    return [
        {option: value for option, value in index.items() if option not in _SERVER_OPTIONS}
        for index in _database()[name].list_indexes()
        if index["name"] != "_id_"
    ]


class Snapshot:
    """All collections as they were at one time, which is the time of the first read."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @property
    def time(self) -> Timestamp | None:
        """The cluster time of the snapshot; None before the first read."""
        return getattr(self._session, "_snapshot_time", None)

    def documents(self, name: str, where: Document | None = None) -> Iterator[RawBSONDocument]:
        """Read documents of a collection. Raises: SnapshotTooOld, DatabaseError."""
        try:
            with _database().get_collection(name, _RAW).find(where or {}, session=self._session) as found:
                yield from found
        except OperationFailure as error:
            raise (SnapshotTooOld if error.code == _SNAPSHOT_TOO_OLD else DatabaseError) from error
        except PyMongoError as error:
            raise DatabaseError from error


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    """Read all collections as of one time, while others write."""
    with _client().start_session(snapshot=True) as session:
        yield Snapshot(session)


def insert(name: str, documents: Sequence[RawBSONDocument]) -> None:
    """Store documents unchanged. Raises: DatabaseError."""
    try:
        _database().get_collection(name, _RAW).insert_many(documents, ordered=False)
    except PyMongoError as error:
        # The driver's message quotes documents, so only its class is reported.
        raise DatabaseError(f"{name} did not take all documents: {type(error).__name__}") from error


def create_indexes(name: str, indexes: Sequence[Document]) -> None:
    """Create the indexes that do not exist yet."""
    existing = {index["name"] for index in _database()[name].list_indexes()} if name in collection_names() else set()
    missing = [index for index in indexes if index["name"] not in existing]
    if missing:
        _database().command("createIndexes", name, indexes=missing)


def is_empty(name: str) -> bool:
    return _database()[name].find_one({}, {"_id": 1}) is None


def _client() -> MongoClient[Document]:
    connection = connections[CLINICAL]
    connection.ensure_connection()
    return cast(MongoClient[Document], connection.connection)


def _database() -> Database[Document]:
    return _client()[connections[CLINICAL].settings_dict["NAME"]]

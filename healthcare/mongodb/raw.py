"""The one door to MongoDB past the ORM: pipelines, and writes that the ORM cannot say.

Every call but `stream` takes part in the open transaction of this thread and is bounded in time; all raise Django's
database errors and use the same values as the ORM does. The driver converts them while it decodes, in C:

- Decimal128 ↔ Decimal;
- a BSON date → an aware datetime in UTC, always. A calendar day is stored as its midnight, so
`row["date"].date()`;
- on the way in a `date` becomes that midnight, an aware datetime its UTC instant.

    raw.aggregate(Appointment, pipeline, hint="appointments_doctor_date")
    raw.collection(Patient).update_one({"_id": patient_id}, {"$inc": {"revision": 1}})
"""

import datetime
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, cast

import pymongo
from bson import ObjectId
from bson.codec_options import CodecOptions, TypeDecoder, TypeEncoder, TypeRegistry
from bson.decimal128 import Decimal128
from django.db import DatabaseError, IntegrityError, connections, models
from django.db.transaction import TransactionManagementError
from pymongo import MongoClient, UpdateOne, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as DriverCollection
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
)
from pymongo.results import BulkWriteResult, UpdateResult

from healthcare.mongodb.base import DatabaseWrapper
from healthcare.routers import CLINICAL

MAX_TIME_MS = 10_000
#: Documents that a stream fetches at a time.
STREAM_BATCH = 1_000
DUPLICATE_KEY = 11000
#: Documents that one command inserts; the driver makes several of more, which would be too large.
MOST_IN_COMMAND = 100

Document = dict[str, Any]
Pipeline = Sequence[Mapping[str, Any]]
Source = type[models.Model] | str
Hint = str | Mapping[str, int]

#: The hint to read a collection from one end to the other, past its indexes.
AS_STORED: Hint = {"$natural": 1}


class QueryTimedOut(DatabaseError):
    """An operation that took longer than its `max_time_ms`; the server has ended it."""


class _DecimalEncoder(TypeEncoder):
    python_type = Decimal

    def transform_python(self, value: Decimal) -> Decimal128:
        return Decimal128(value)


class _DecimalDecoder(TypeDecoder):
    bson_type = Decimal128

    def transform_bson(self, value: Decimal128) -> Decimal:
        return value.to_decimal()


class _DateEncoder(TypeEncoder):
    python_type = datetime.date

    def transform_python(self, value: datetime.date) -> datetime.datetime:
        return datetime.datetime.combine(value, datetime.time.min, tzinfo=datetime.UTC)


# Only on the handles of this module: on the client it would break the ORM, which expects naive datetimes.
CODEC: CodecOptions[Document] = CodecOptions(
    tz_aware=True,
    tzinfo=datetime.UTC,
    type_registry=TypeRegistry([_DecimalEncoder(), _DecimalDecoder(), _DateEncoder()]),
)


# What goes in is the same, what comes out is as the driver has it: naive dates in UTC, and Decimal128. Of a page of 50
# charts it makes aware dates in 1.2 ms, and takes 0.8 to look at each value for what it has to convert.
PLAIN_CODEC: CodecOptions[Document] = CodecOptions(type_registry=TypeRegistry([_DecimalEncoder(), _DateEncoder()]))

# The same without decoders, which answers to commands pass by anyhow: for each of them the driver makes a codec that
# has none, unless it is given one (0.03 ms).
_OF_COMMANDS: CodecOptions[Document] = CODEC.with_options(type_registry=PLAIN_CODEC.type_registry)


def collection(source: Source, codec: CodecOptions[Document] = CODEC) -> "Collection":
    """The collection of a model, or of that name in the clinical database."""
    return Collection(collection_name(source), codec)


def collection_name(source: Source) -> str:
    return source if isinstance(source, str) else source._meta.db_table


def indexes(source: Source) -> list[Document]:
    """The indexes of a collection, as the server describes them: name, key and options."""
    with collection(source)._opened() as (documents, _):
        return [dict(each) for each in documents.list_indexes()]


def create_index(source: Source, keys: Sequence[tuple[str, Any]], *, name: str, **options: Any) -> None:
    """Build an index of no model, for a benchmark's own collection. Outside a transaction only, like the next ones."""
    with collection(source)._opened() as (documents, _):
        documents.create_index(list(keys), name=name, **options)


def drop_index(source: Source, name: str) -> None:
    with collection(source)._opened() as (documents, _):
        documents.drop_index(name)


def index_sizes(source: Source) -> dict[str, int]:
    """The size of each index in bytes."""
    pipeline: Pipeline = [{"$collStats": {"storageStats": {}}}]
    return dict(aggregate(source, pipeline)[0]["storageStats"]["indexSizes"])


def aggregate(
    source: Source, pipeline: Pipeline, *, hint: Hint | None = None, max_time_ms: int = MAX_TIME_MS
) -> list[Document]:
    """Run a pipeline. `hint` is the name of an index, or AS_STORED."""
    return collection(source).aggregate(pipeline, hint=hint, max_time_ms=max_time_ms)


@contextmanager
def at_one_moment() -> Iterator[None]:
    """Have every read of this thread see both what was and what was not yet written at one and the same moment.

    For commands that compare collections while others write: it needs no transaction and keeps nobody waiting. MongoDB
    remembers five minutes; nothing can be written inside.
    """
    connection = cast(DatabaseWrapper, connections[CLINICAL])
    if connection.session is not None or getattr(_moment, "session", None) is not None:
        raise TransactionManagementError("A moment cannot be chosen inside a transaction or another moment.")
    connection.ensure_connection()
    client = cast(MongoClient[Document], connection.connection)
    with client.start_session(snapshot=True) as session:
        _moment.session = session
        try:
            yield
        finally:
            _moment.session = None


_moment = threading.local()


class Collection:
    """A collection whose every operation but `stream` has the session of the open transaction and a time limit.

    Raises: QueryTimedOut, IntegrityError for a duplicate key, DatabaseError for everything else, with the
    driver's error as its cause.
    """

    def __init__(self, name: str, codec: CodecOptions[Document] = CODEC) -> None:
        self.name = name
        self.codec = codec

    def aggregate(
        self, pipeline: Pipeline, *, hint: Hint | None = None, max_time_ms: int = MAX_TIME_MS
    ) -> list[Document]:
        options: dict[str, Any] = {"hint": hint} if hint else {}
        with self._opened() as (documents, session):
            return list(
                documents.aggregate(pipeline, session=session, maxTimeMS=max_time_ms, allowDiskUse=True, **options)
            )

    def stream(
        self, pipeline: Pipeline, *, hint: str | None = None, batch_size: int = STREAM_BATCH
    ) -> Iterator[Document]:
        """Yield what a pipeline finds, however much that is, with one batch of it in memory.

        For what reads whole collections and bears that others write meanwhile: it is no part of any transaction, and
        has no time limit as a whole. Each batch is bounded by the socket's time-out; the server forgets a stream whose
        reader takes ten minutes over one batch.

        Raises: TransactionManagementError at once inside a transaction, which a stream may outlast.
        """
        with self._opened() as (documents, session):
            if session is not None:
                raise TransactionManagementError(f"{self.name}: a stream cannot be part of a transaction; use `find`.")
        return self._stream(documents, pipeline, {"batchSize": batch_size, **({"hint": hint} if hint else {})})

    def _stream(
        self, documents: DriverCollection[Document], pipeline: Pipeline, options: Mapping[str, Any]
    ) -> Iterator[Document]:
        with self._opened(), documents.aggregate(pipeline, allowDiskUse=True, **options) as cursor:
            yield from cursor

    def find(
        self,
        where: Mapping[str, Any],
        *,
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        sort: Sequence[tuple[str, int]] | None = None,
        limit: int = 0,
        hint: str | None = None,
        max_time_ms: int = MAX_TIME_MS,
    ) -> list[Document]:
        if self._is_in_transaction():
            found = self._found(where, projection, sort, max_time_ms, limit=limit, **({"hint": hint} if hint else {}))
            if not found["id"]:
                return cast(list[Document], found["firstBatch"])
        # Outside a transaction, or more than comes in one answer.
        with self._opened() as (documents, session):
            return list(
                documents.find(
                    where,
                    projection,
                    sort=sort,
                    limit=limit,
                    # Else the server's first batch ends at 101 documents, and the rest is a second round trip.
                    batch_size=limit,
                    hint=hint,
                    session=session,
                    max_time_ms=max_time_ms,
                )
            )

    def find_one(
        self,
        where: Mapping[str, Any],
        *,
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        sort: Sequence[tuple[str, int]] | None = None,
        max_time_ms: int = MAX_TIME_MS,
    ) -> Document | None:
        if self._is_in_transaction():
            found = self._found(where, projection, sort, max_time_ms, limit=1, singleBatch=True)["firstBatch"]
            return found[0] if found else None
        with self._opened() as (documents, session):
            return documents.find_one(where, projection, sort=sort, session=session, max_time_ms=max_time_ms)

    def count(self, where: Mapping[str, Any], *, limit: int | None = None, max_time_ms: int = MAX_TIME_MS) -> int:
        """Count what matches, to `limit` at most: a count reads every match."""
        options = {"limit": limit} if limit else {}
        with self._opened() as (documents, session):
            return documents.count_documents(where, session=session, maxTimeMS=max_time_ms, **options)

    def insert_one(self, document: Document, *, max_time_ms: int = MAX_TIME_MS) -> Any:
        """Insert a document, giving it an `_id` when it has none; return the `_id`."""
        if self._is_in_transaction():
            document.setdefault("_id", ObjectId())
            self._command({"insert": self.name, "documents": [document]}, max_time_ms)
            return document["_id"]
        with self._bounded(max_time_ms) as (documents, session):
            return documents.insert_one(document, session=session).inserted_id

    def insert_many(self, new: Sequence[Document], *, max_time_ms: int = MAX_TIME_MS) -> list[Any]:
        """Insert documents in order, up to the first that is refused; return their `_id`s."""
        if self._is_in_transaction() and len(new) <= MOST_IN_COMMAND:
            for document in new:
                document.setdefault("_id", ObjectId())
            self._command({"insert": self.name, "documents": list(new)}, max_time_ms)
            return [document["_id"] for document in new]
        with self._bounded(max_time_ms) as (documents, session):
            return documents.insert_many(new, session=session).inserted_ids

    def update_one(
        self,
        where: Mapping[str, Any],
        update: Mapping[str, Any] | Pipeline,
        *,
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        is_dispensable: bool = False,
        max_time_ms: int = MAX_TIME_MS,
    ) -> UpdateResult:
        """`is_dispensable`: outside a transaction it is acknowledged by the primary alone, and may be lost with it."""
        if self._is_in_transaction():
            said: Document = {"q": where, "u": update, "upsert": upsert}
            if array_filters:
                said["arrayFilters"] = list(array_filters)
            reply = self._command({"update": self.name, "updates": [said]}, max_time_ms)
            upserted = [each["_id"] for each in reply.get("upserted", ())]
            return UpdateResult({**reply, "upserted": upserted[0] if upserted else None}, acknowledged=True)
        with self._bounded(max_time_ms) as (documents, session):
            if is_dispensable:
                documents = documents.with_options(write_concern=WriteConcern(w=1))
            return documents.update_one(where, update, upsert=upsert, array_filters=array_filters, session=session)

    def update_many(
        self,
        where: Mapping[str, Any],
        update: Mapping[str, Any] | Pipeline,
        *,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        is_dispensable: bool = False,
        max_time_ms: int = MAX_TIME_MS,
    ) -> UpdateResult:
        """`is_dispensable`: as of `update_one`."""
        with self._bounded(max_time_ms) as (documents, session):
            if is_dispensable:
                documents = documents.with_options(write_concern=WriteConcern(w=1))
            return documents.update_many(where, update, array_filters=array_filters, session=session)

    def update_each(
        self, updates: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], *, max_time_ms: int = MAX_TIME_MS
    ) -> None:
        """Update or insert one document for each pair of a filter and an update, in one command and no order."""
        if self._is_in_transaction() and len(updates) <= MOST_IN_COMMAND:
            said = [{"q": where, "u": update, "upsert": True} for where, update in updates]
            self._command({"update": self.name, "updates": said, "ordered": False}, max_time_ms)
        else:
            writes = [UpdateOne(where, update, upsert=True) for where, update in updates]
            self.bulk_write(writes, is_ordered=False, max_time_ms=max_time_ms)

    def find_one_and_update(
        self,
        where: Mapping[str, Any],
        update: Mapping[str, Any] | Pipeline,
        *,
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        sort: Sequence[tuple[str, int]] | None = None,
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        return_after: bool = True,
        max_time_ms: int = MAX_TIME_MS,
    ) -> Document | None:
        """Update one document and return it as it is then, or as it was; None when none matches."""
        if self._is_in_transaction() and not array_filters and not sort and projection is None:
            said: Document = {"findAndModify": self.name, "query": where, "update": update, "upsert": upsert}
            found: Document | None = self._command({**said, "new": return_after}, max_time_ms)["value"]
            return self._as_asked(found)
        with self._bounded(max_time_ms) as (documents, session):
            return documents.find_one_and_update(
                where,
                update,
                projection=projection,
                sort=sort,
                upsert=upsert,
                array_filters=array_filters,
                return_document=return_after,
                session=session,
            )

    def delete_one(self, where: Mapping[str, Any], *, max_time_ms: int = MAX_TIME_MS) -> int:
        """Delete one match; return how many that was."""
        with self._bounded(max_time_ms) as (documents, session):
            return documents.delete_one(where, session=session).deleted_count

    def delete_many(self, where: Mapping[str, Any], *, max_time_ms: int = MAX_TIME_MS) -> int:
        with self._bounded(max_time_ms) as (documents, session):
            return documents.delete_many(where, session=session).deleted_count

    def bulk_write(
        self, writes: Sequence[Any], *, is_ordered: bool = True, max_time_ms: int = MAX_TIME_MS
    ) -> BulkWriteResult:
        """Send pymongo's InsertOne, UpdateOne, … in one command."""
        with self._bounded(max_time_ms) as (documents, session):
            return documents.bulk_write(writes, ordered=is_ordered, session=session)

    def _found(
        self,
        where: Mapping[str, Any],
        projection: Mapping[str, Any] | Sequence[str] | None,
        sort: Sequence[tuple[str, int]] | None,
        max_time_ms: int,
        **options: Any,
    ) -> Document:
        """The cursor that a `find` of the open transaction answers: its first batch, and an id when there is more."""
        said: Document = {"find": self.name, "filter": where, **_projected(projection), **options}
        if sort:
            said["sort"] = dict(sort)
        cursor: Document = self._command(said, max_time_ms)["cursor"]
        return {**cursor, "firstBatch": [self._as_asked(document) for document in cursor["firstBatch"]]}

    def _as_asked(self, value: Any) -> Any:
        """What a command answered, decoded as the driver's methods do."""
        if self.codec is not CODEC:
            return value
        if isinstance(value, dict):
            return {name: self._as_asked(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._as_asked(each) for each in value]
        return value.to_decimal() if isinstance(value, Decimal128) else value

    @staticmethod
    def _is_in_transaction() -> bool:
        return cast(DatabaseWrapper, connections[CLINICAL]).session is not None

    def _command(self, command: Document, max_time_ms: int) -> Document:
        """Run an operation of the open transaction as the command that it is, past the driver's methods."""
        connection = cast(DatabaseWrapper, connections[CLINICAL])
        command["maxTimeMS"] = max_time_ms
        with self._translated():
            reply = connection.transaction_command(command, _OF_COMMANDS if self.codec is CODEC else self.codec)
            if "writeErrors" in reply:
                raise BulkWriteError(reply)
            return reply

    @contextmanager
    def _opened(self) -> Iterator[tuple[DriverCollection[Document], ClientSession | None]]:
        """Yield the driver's collection and the session for one operation, and translate its errors."""
        connection = cast(DatabaseWrapper, connections[CLINICAL])
        documents = connection.get_collection(self.name, codec_options=self.codec)
        with self._translated():
            yield documents, connection.session or getattr(_moment, "session", None)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ExecutionTimeout as error:
            raise self._timed_out() from error
        except PyMongoError as error:
            raise (IntegrityError if _is_duplicate(error) else DatabaseError) from error

    @contextmanager
    def _bounded(self, max_time_ms: int) -> Iterator[tuple[DriverCollection[Document], ClientSession | None]]:
        """The same for a write: the driver's methods for writes take no maxTimeMS, its own `timeout` adds it.

        Reads do not use it: it also ends the driver's waiting at that moment, which then races with the
        server's answer, drops the connection and, in a transaction, looks like a lost network that is worth a
        retry.
        """
        try:
            with pymongo.timeout(max_time_ms / 1000), self._opened() as opened:
                yield opened
        except DatabaseError as error:
            if isinstance(error.__cause__, NetworkTimeout):
                raise self._timed_out() from error.__cause__
            raise

    def _timed_out(self) -> QueryTimedOut:
        return QueryTimedOut(f"{self.name}: not done in time")


def _projected(projection: Mapping[str, Any] | Sequence[str] | None) -> Document:
    if projection is None:
        return {}
    return {"projection": projection if isinstance(projection, Mapping) else dict.fromkeys(projection, 1)}


def _is_duplicate(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        return any(each.get("code") == DUPLICATE_KEY for each in error.details["writeErrors"])
    return isinstance(error, DuplicateKeyError)

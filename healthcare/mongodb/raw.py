"""Raw access: MongoDB operations that bypass the ORM, for pipelines and for writes that the ORM cannot express.

This module is the only way to MongoDB beside the ORM (tests/test_architecture.py). Every operation except `stream` is
part of the open transaction of its thread and is limited in time. All of them raise Django's database errors and use
the values that the ORM uses. The driver converts the values while it decodes, in C:

- Decimal128 ↔ Decimal;
- a BSON date → an aware datetime in UTC. A calendar day is stored as its midnight: use `row["date"].date()`;
- on the way in, a `date` becomes its midnight and an aware datetime its instant in UTC.

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
from django.db import DatabaseError, IntegrityError, models
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

from healthcare.mongodb.base import clinical_connection
from healthcare.mongodb.documents import Document, Filter, Pipeline, Projection, Update

MAX_TIME_MS = 10_000
#: How many documents a stream fetches at a time.
STREAM_BATCH = 1_000
DUPLICATE_KEY = 11000
#: How many documents one command of a transaction may insert. The driver splits more, because a command is limited in
#: size.
MAX_DOCUMENTS_PER_COMMAND = 100

Source = type[models.Model] | str
Hint = str | Mapping[str, int]

#: The hint to scan a collection in stored order, without an index.
NATURAL_ORDER: Hint = {"$natural": 1}


class QueryTimedOut(DatabaseError):
    """The operation took longer than its `max_time_ms`, and the server has ended it."""


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


# Used for this module's collections only. On the client it would break the ORM, which expects naive datetimes.
CODEC: CodecOptions[Document] = CodecOptions(
    tz_aware=True,
    tzinfo=datetime.UTC,
    type_registry=TypeRegistry([_DecimalEncoder(), _DecimalDecoder(), _DateEncoder()]),
)


# The same encoders without decoders: reads return naive dates in UTC, and Decimal128. For a page of 50 charts the
# driver takes 1.2 ms to make aware dates, and 0.8 ms to look at each value for what it has to convert.
PLAIN_CODEC: CodecOptions[Document] = CodecOptions(type_registry=TypeRegistry([_DecimalEncoder(), _DateEncoder()]))

# CODEC without its decoders, which do not apply to the replies of commands. Given a codec with decoders, the driver
# makes one without them for each command (0.03 ms).
_COMMAND_CODEC: CodecOptions[Document] = CODEC.with_options(type_registry=PLAIN_CODEC.type_registry)


def collection(source: Source, codec: CodecOptions[Document] = CODEC) -> "Collection":
    """Return the collection of a model, or the one of that name in the clinical database."""
    return Collection(collection_name(source), codec)


def collection_name(source: Source) -> str:
    return source if isinstance(source, str) else source._meta.db_table


def indexes(source: Source) -> list[Document]:
    """Return the indexes of a collection as the server describes them: name, key and options."""
    with collection(source)._operation() as (documents, _):
        return [dict(each) for each in documents.list_indexes()]


def create_index(source: Source, keys: Sequence[tuple[str, Any]], *, name: str, **options: Any) -> None:
    """Build an index that belongs to no model, for a benchmark's collection. Not allowed inside a transaction."""
    with collection(source)._operation() as (documents, _):
        documents.create_index(list(keys), name=name, **options)


def drop_index(source: Source, name: str) -> None:
    with collection(source)._operation() as (documents, _):
        documents.drop_index(name)


def index_sizes(source: Source) -> dict[str, int]:
    """Return the size of each index in bytes."""
    pipeline: Pipeline = [{"$collStats": {"storageStats": {}}}]
    return dict(aggregate(source, pipeline)[0]["storageStats"]["indexSizes"])


def aggregate(
    source: Source, pipeline: Pipeline, *, hint: Hint | None = None, max_time_ms: int = MAX_TIME_MS
) -> list[Document]:
    """Run a pipeline. `hint` is the name of an index, or NATURAL_ORDER."""
    return collection(source).aggregate(pipeline, hint=hint, max_time_ms=max_time_ms)


@contextmanager
def snapshot() -> Iterator[None]:
    """Make every read of this thread inside the block see the data of one moment.

    Commands that compare collections use it while others write. A snapshot takes no locks and no transaction. MongoDB
    keeps the history of five minutes; writes inside the block are not possible.
    """
    connection = clinical_connection()
    if connection.session is not None or getattr(_snapshot, "session", None) is not None:
        raise TransactionManagementError("A snapshot cannot begin inside a transaction or another snapshot.")
    connection.ensure_connection()
    client = cast(MongoClient[Document], connection.connection)
    with client.start_session(snapshot=True) as session:
        _snapshot.session = session
        try:
            yield
        finally:
            _snapshot.session = None


_snapshot = threading.local()


class Collection:
    """A collection whose operations, except `stream`, join the open transaction and have a time limit.

    Raises: QueryTimedOut, IntegrityError for a duplicate key, DatabaseError for everything else, with the driver's
    error as its cause.
    """

    def __init__(self, name: str, codec: CodecOptions[Document] = CODEC) -> None:
        self.name = name
        self.codec = codec

    def aggregate(
        self, pipeline: Pipeline, *, hint: Hint | None = None, max_time_ms: int = MAX_TIME_MS
    ) -> list[Document]:
        options: Document = {"hint": hint} if hint else {}
        with self._operation() as (documents, session):
            return list(
                documents.aggregate(pipeline, session=session, maxTimeMS=max_time_ms, allowDiskUse=True, **options)
            )

    def stream(
        self, pipeline: Pipeline, *, hint: str | None = None, batch_size: int = STREAM_BATCH
    ) -> Iterator[Document]:
        """Yield the results of a pipeline, of any number, with one batch of them in memory.

        A stream is for reads of whole collections that tolerate writes by others meanwhile. It is no part of a
        transaction and has no time limit as a whole. The socket's time-out limits each batch, and the server drops a
        stream whose reader takes ten minutes over one batch.

        Raises: TransactionManagementError at once inside a transaction, because a stream may outlast it.
        """
        with self._operation() as (documents, session):
            if session is not None:
                raise TransactionManagementError(f"{self.name}: a stream cannot be part of a transaction; use `find`.")
        return self._stream(documents, pipeline, {"batchSize": batch_size, **({"hint": hint} if hint else {})})

    def _stream(
        self, documents: DriverCollection[Document], pipeline: Pipeline, options: Mapping[str, Any]
    ) -> Iterator[Document]:
        with self._operation(), documents.aggregate(pipeline, allowDiskUse=True, **options) as cursor:
            yield from cursor

    def find(
        self,
        where: Filter,
        *,
        projection: Projection | None = None,
        sort: Sequence[tuple[str, int]] | None = None,
        limit: int = 0,
        hint: str | None = None,
        max_time_ms: int = MAX_TIME_MS,
    ) -> list[Document]:
        if self._is_in_transaction():
            options = {"hint": hint} if hint else {}
            cursor = self._find_in_transaction(where, projection, sort, max_time_ms, limit=limit, **options)
            if not cursor["id"]:
                return cast(list[Document], cursor["firstBatch"])
        # The driver reads outside a transaction, or again if the documents do not fit into one batch.
        with self._operation() as (documents, session):
            return list(
                documents.find(
                    where,
                    projection,
                    sort=sort,
                    limit=limit,
                    # Without `batch_size` the first batch ends at 101 documents, and the rest costs a round trip.
                    batch_size=limit,
                    hint=hint,
                    session=session,
                    max_time_ms=max_time_ms,
                )
            )

    def find_one(
        self,
        where: Filter,
        *,
        projection: Projection | None = None,
        sort: Sequence[tuple[str, int]] | None = None,
        max_time_ms: int = MAX_TIME_MS,
    ) -> Document | None:
        if self._is_in_transaction():
            cursor = self._find_in_transaction(where, projection, sort, max_time_ms, limit=1, singleBatch=True)
            return cursor["firstBatch"][0] if cursor["firstBatch"] else None
        with self._operation() as (documents, session):
            return documents.find_one(where, projection, sort=sort, session=session, max_time_ms=max_time_ms)

    def count(self, where: Filter, *, limit: int | None = None, max_time_ms: int = MAX_TIME_MS) -> int:
        """Count the matches, up to `limit`, because a count reads every match."""
        options = {"limit": limit} if limit else {}
        with self._operation() as (documents, session):
            return documents.count_documents(where, session=session, maxTimeMS=max_time_ms, **options)

    def insert_one(self, document: Document, *, max_time_ms: int = MAX_TIME_MS) -> Any:
        """Insert a document and return its `_id`, which is made if the document has none."""
        if self._is_in_transaction():
            document.setdefault("_id", ObjectId())
            self._command({"insert": self.name, "documents": [document]}, max_time_ms)
            return document["_id"]
        with self._limited_operation(max_time_ms) as (documents, session):
            return documents.insert_one(document, session=session).inserted_id

    def insert_many(self, new: Sequence[Document], *, max_time_ms: int = MAX_TIME_MS) -> list[Any]:
        """Insert documents in order, up to the first that the server rejects; return their `_id`s."""
        if self._is_in_transaction() and len(new) <= MAX_DOCUMENTS_PER_COMMAND:
            for document in new:
                document.setdefault("_id", ObjectId())
            self._command({"insert": self.name, "documents": list(new)}, max_time_ms)
            return [document["_id"] for document in new]
        with self._limited_operation(max_time_ms) as (documents, session):
            return documents.insert_many(new, session=session).inserted_ids

    def update_one(
        self,
        where: Filter,
        update: Update,
        *,
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        is_dispensable: bool = False,
        max_time_ms: int = MAX_TIME_MS,
    ) -> UpdateResult:
        """Update one document.

        `is_dispensable`: outside a transaction the primary alone acknowledges the write, which a failover may lose.
        """
        if self._is_in_transaction():
            statement: Document = {"q": where, "u": update, "upsert": upsert}
            if array_filters:
                statement["arrayFilters"] = list(array_filters)
            reply = self._command({"update": self.name, "updates": [statement]}, max_time_ms)
            upserted = [each["_id"] for each in reply.get("upserted", ())]
            return UpdateResult({**reply, "upserted": upserted[0] if upserted else None}, acknowledged=True)
        with self._limited_operation(max_time_ms) as (documents, session):
            if is_dispensable:
                documents = documents.with_options(write_concern=WriteConcern(w=1))
            return documents.update_one(where, update, upsert=upsert, array_filters=array_filters, session=session)

    def update_many(
        self,
        where: Filter,
        update: Update,
        *,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        is_dispensable: bool = False,
        max_time_ms: int = MAX_TIME_MS,
    ) -> UpdateResult:
        """Update all matches. `is_dispensable` means what it means in `update_one`."""
        with self._limited_operation(max_time_ms) as (documents, session):
            if is_dispensable:
                documents = documents.with_options(write_concern=WriteConcern(w=1))
            return documents.update_many(where, update, array_filters=array_filters, session=session)

    def update_each(
        self, updates: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], *, max_time_ms: int = MAX_TIME_MS
    ) -> None:
        """Update or insert one document for each (filter, update) pair, in one unordered command."""
        if self._is_in_transaction() and len(updates) <= MAX_DOCUMENTS_PER_COMMAND:
            statements = [{"q": where, "u": update, "upsert": True} for where, update in updates]
            self._command({"update": self.name, "updates": statements, "ordered": False}, max_time_ms)
        else:
            writes = [UpdateOne(where, update, upsert=True) for where, update in updates]
            self.bulk_write(writes, is_ordered=False, max_time_ms=max_time_ms)

    def find_one_and_update(
        self,
        where: Filter,
        update: Update,
        *,
        projection: Projection | None = None,
        sort: Sequence[tuple[str, int]] | None = None,
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        return_after: bool = True,
        max_time_ms: int = MAX_TIME_MS,
    ) -> Document | None:
        """Update one document and return it as it is afterwards (or was before); None if none matches."""
        if self._is_in_transaction() and not array_filters and not sort and projection is None:
            command = {"findAndModify": self.name, "query": where, "update": update, "upsert": upsert}
            return self._decode(self._command({**command, "new": return_after}, max_time_ms)["value"])
        with self._limited_operation(max_time_ms) as (documents, session):
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

    def delete_one(self, where: Filter, *, max_time_ms: int = MAX_TIME_MS) -> int:
        """Delete one match and return the number of deleted documents, 0 or 1."""
        with self._limited_operation(max_time_ms) as (documents, session):
            return documents.delete_one(where, session=session).deleted_count

    def delete_many(self, where: Filter, *, max_time_ms: int = MAX_TIME_MS) -> int:
        with self._limited_operation(max_time_ms) as (documents, session):
            return documents.delete_many(where, session=session).deleted_count

    def bulk_write(
        self, writes: Sequence[object], *, is_ordered: bool = True, max_time_ms: int = MAX_TIME_MS
    ) -> BulkWriteResult:
        """Send pymongo's InsertOne, UpdateOne and so on in one command."""
        with self._limited_operation(max_time_ms) as (documents, session):
            return documents.bulk_write(writes, ordered=is_ordered, session=session)

    def _find_in_transaction(
        self,
        where: Filter,
        projection: Projection | None,
        sort: Sequence[tuple[str, int]] | None,
        max_time_ms: int,
        **options: Any,
    ) -> Document:
        """Return the cursor that the server replies with: its first batch, and an id other than 0 if there is more."""
        command: Document = {"find": self.name, "filter": where, **_projection_option(projection), **options}
        if sort:
            command["sort"] = dict(sort)
        cursor: Document = self._command(command, max_time_ms)["cursor"]
        return {**cursor, "firstBatch": [self._decode(document) for document in cursor["firstBatch"]]}

    def _decode(self, value: object) -> Any:
        """Convert the values of a command's reply as the decoders of CODEC would."""
        if self.codec is not CODEC:
            return value
        if isinstance(value, dict):
            return {name: self._decode(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._decode(each) for each in value]
        return value.to_decimal() if isinstance(value, Decimal128) else value

    @staticmethod
    def _is_in_transaction() -> bool:
        return clinical_connection().session is not None

    def _command(self, command: Document, max_time_ms: int) -> Document:
        """Run a command on the connection that carries the open transaction."""
        connection = clinical_connection()
        command["maxTimeMS"] = max_time_ms
        with self._translate_errors():
            reply = connection.transaction_command(command, _COMMAND_CODEC if self.codec is CODEC else self.codec)
            if "writeErrors" in reply:
                raise BulkWriteError(reply)
            return reply

    @contextmanager
    def _operation(self) -> Iterator[tuple[DriverCollection[Document], ClientSession | None]]:
        """Yield the driver's collection and the session of one operation, and translate its errors."""
        connection = clinical_connection()
        documents = connection.get_collection(self.name, codec_options=self.codec)
        with self._translate_errors():
            yield documents, connection.session or getattr(_snapshot, "session", None)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except ExecutionTimeout as error:
            raise self._timed_out() from error
        except PyMongoError as error:
            raise (IntegrityError if _is_duplicate(error) else DatabaseError) from error

    @contextmanager
    def _limited_operation(self, max_time_ms: int) -> Iterator[tuple[DriverCollection[Document], ClientSession | None]]:
        """Do as `_operation`, with a time limit for writes: they take no maxTimeMS, but `pymongo.timeout` limits them.

        Reads do not use it, because it also ends the driver's wait at that moment. The wait then races with the
        server's reply, drops the connection and, in a transaction, looks like a network error that is worth a retry.
        """
        try:
            with pymongo.timeout(max_time_ms / 1000), self._operation() as operation:
                yield operation
        except DatabaseError as error:
            if isinstance(error.__cause__, NetworkTimeout):
                raise self._timed_out() from error.__cause__
            raise

    def _timed_out(self) -> QueryTimedOut:
        return QueryTimedOut(f"{self.name}: the operation took too long")


def _projection_option(projection: Projection | None) -> Document:
    if projection is None:
        return {}
    return {"projection": projection if isinstance(projection, Mapping) else dict.fromkeys(projection, 1)}


def _is_duplicate(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        return any(each.get("code") == DUPLICATE_KEY for each in error.details["writeErrors"])
    return isinstance(error, DuplicateKeyError)

"""Raw operations join the transaction, are limited in time, and use the ORM's values and errors."""

import datetime
import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import bson
import pymongo
import pytest
from bson import Decimal128, ObjectId
from django.db import DatabaseError, IntegrityError, connections
from django.db.transaction import TransactionManagementError
from django_mongodb_backend import transaction as engine_transaction
from pymongo.errors import ExecutionTimeout, PyMongoError

from healthcare.mongodb import raw
from healthcare.mongodb.base import DatabaseWrapper, clinical_connection
from healthcare.mongodb.raw import Collection, QueryTimedOut
from healthcare.mongodb.transactions import clinical_transaction, session
from tests.databases import clinical_database
from tests.mongodb.models import Tally, Visit

UTC = datetime.UTC
INSTANT = datetime.datetime(2030, 3, 1, 14, 30, tzinfo=UTC)

# One call of each operation.
OPERATIONS: dict[str, Callable[[Collection], Any]] = {
    "aggregate": lambda tallies: tallies.aggregate([{"$match": {"_id": "A"}}]),
    "find": lambda tallies: tallies.find({"_id": "A"}),
    "find_one": lambda tallies: tallies.find_one({"_id": "A"}),
    "count": lambda tallies: tallies.count({"_id": "A"}),
    "insert_one": lambda tallies: tallies.insert_one({"_id": "new"}),
    "insert_many": lambda tallies: tallies.insert_many([{"_id": "new"}]),
    "update_one": lambda tallies: tallies.update_one({"_id": "A"}, {"$inc": {"total": 1}}),
    "update_many": lambda tallies: tallies.update_many({}, {"$inc": {"total": 1}}),
    "update_each": lambda tallies: tallies.update_each([({"_id": "A"}, {"$inc": {"total": 1}})]),
    "find_one_and_update": lambda tallies: tallies.find_one_and_update({"_id": "A"}, {"$inc": {"total": 1}}),
    "delete_one": lambda tallies: tallies.delete_one({"_id": "A"}),
    "delete_many": lambda tallies: tallies.delete_many({}),
    "bulk_write": lambda tallies: tallies.bulk_write([pymongo.DeleteOne({"_id": "A"})]),
}
READS = {"aggregate", "find", "find_one", "count"}


@pytest.fixture
def tallies() -> Collection:
    Tally.objects.create(name="A", total=1)
    return raw.collection(Tally)


def test_every_operation_is_in_the_table() -> None:
    public = {name for name, _ in inspect.getmembers(Collection, inspect.isfunction) if not name.startswith("_")}
    # A stream is no part of a transaction and has its own tests.
    assert public == {*OPERATIONS, "stream"}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operation_is_part_of_the_transaction(
    operation: Callable[[Collection], Any], tallies: Collection, stored: Callable[[type], Any], client: Any
) -> None:
    """The operation sees what the transaction wrote, and its own write is undone with the transaction."""
    before = stored(Tally)
    results = []

    @clinical_transaction
    def service() -> None:
        clinical_connection().get_collection("tallies").update_one(
            {"_id": "A"}, {"$set": {"seen": True}}, session=session()
        )
        results.append(operation(tallies))
        assert stored(Tally) == before
        raise LookupError

    with pytest.raises(LookupError):
        service()
    assert stored(Tally) == before
    assert len(results) == 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=OPERATIONS)
def test_every_command_carries_the_transaction_and_a_time_limit(
    operation: str, commands: list[dict[str, Any]], tallies: Collection
) -> None:
    @clinical_transaction
    def service() -> None:
        commands.clear()
        OPERATIONS[operation](tallies)
        [command] = commands
        assert command["autocommit"] is False
        assert 9_000 < command["maxTimeMS"] <= raw.MAX_TIME_MS

    service()


@pytest.mark.parametrize("operation", OPERATIONS, ids=OPERATIONS)
def test_operation_outside_a_transaction_is_bounded_and_stands_alone(
    operation: str, commands: list[dict[str, Any]], tallies: Collection
) -> None:
    commands.clear()
    OPERATIONS[operation](tallies)
    [command] = commands
    assert "autocommit" not in command
    assert 9_000 < command["maxTimeMS"] <= raw.MAX_TIME_MS


def test_later_batches_are_part_of_the_transaction() -> None:
    tallies = raw.collection(Tally)

    @clinical_transaction
    def service() -> list[dict[str, Any]]:
        tallies.insert_many([{"_id": number} for number in range(500)])
        return tallies.find({})

    assert len(service()) == 500


# --- Streams


def test_stream_yields_all_a_batch_at_a_time(commands: list[dict[str, Any]]) -> None:
    tallies = raw.collection(Tally)
    tallies.insert_many([{"_id": number, "cost": Decimal("0.50")} for number in range(25)])
    commands.clear()
    stream = tallies.stream([{"$match": {"_id": {"$gte": 2}}}, {"$sort": {"_id": -1}}], batch_size=10)
    assert commands == []
    assert next(stream) == {"_id": 24, "cost": Decimal("0.50")}
    assert [(next(iter(sent)), "maxTimeMS" in sent, "autocommit" in sent) for sent in commands] == [
        ("aggregate", False, False)
    ]
    assert [each["_id"] for each in stream] == [*range(23, 1, -1)]
    assert [next(iter(sent)) for sent in commands] == ["aggregate", "getMore", "getMore"]
    assert commands[0]["cursor"] == {"batchSize": 10}
    assert list(tallies.stream([], batch_size=10)) == tallies.find({})


def test_stream_that_is_left_ends_on_the_server(commands: list[dict[str, Any]]) -> None:
    tallies = raw.collection(Tally)
    tallies.insert_many([{"_id": number} for number in range(25)])
    stream: Any = tallies.stream([], batch_size=10)
    next(stream)
    commands.clear()
    stream.close()
    assert [next(iter(sent)) for sent in commands] == ["killCursors"]


def test_stream_sees_other_writes_and_goes_on(tallies: Collection) -> None:
    tallies.insert_many([{"_id": number} for number in range(100)])
    stream = tallies.stream([{"$match": {"_id": {"$type": "number"}}}], batch_size=10)
    found = [next(stream)["_id"]]
    tallies.delete_many({"_id": {"$gte": 50}})
    found += [each["_id"] for each in stream]
    assert found[:10] == [*range(10)]
    assert len(found) == len(set(found)) >= 50


def test_stream_is_refused_inside_a_transaction_at_once(tallies: Collection) -> None:
    @clinical_transaction
    def service() -> None:
        tallies.stream([])

    with pytest.raises(TransactionManagementError, match="tallies: a stream cannot be part of a transaction"):
        service()


def test_errors_of_a_stream_are_database_errors(tallies: Collection, fail_command: Any) -> None:
    with pytest.raises(DatabaseError):
        list(tallies.stream([{"$nonsense": {}}]))
    with pytest.raises(DatabaseError):
        list(tallies.stream([{"$match": {}}], hint="no such index"))
    tallies.insert_many([{"_id": number} for number in range(20)])
    with fail_command("getMore", errorCode=11601), pytest.raises(DatabaseError) as raised:
        list(tallies.stream([], batch_size=5))
    assert isinstance(raised.value.__cause__, PyMongoError)


# --- Time


def test_pipeline_that_takes_too_long_is_ended(tallies: Collection) -> None:
    tallies.insert_many([{"_id": number} for number in range(200)])
    product: list[dict[str, Any]] = []
    for name in ("squared", "cubed"):
        product += [{"$lookup": {"from": "tallies", "pipeline": [], "as": name}}, {"$unwind": f"${name}"}]
    endless = [*product, {"$group": {"_id": {"$rand": {}}}}, {"$count": "n"}]
    with pytest.raises(QueryTimedOut, match="tallies: the operation took too long") as raised:
        tallies.aggregate(endless, max_time_ms=50)
    assert isinstance(raised.value, DatabaseError)
    assert isinstance(raised.value.__cause__, ExecutionTimeout)
    assert raised.value.__cause__.code == 50


@pytest.mark.parametrize("operation", ["find", "update_one", "insert_many", "find_one_and_update"])
def test_time_limit_of_the_server_is_recognised(operation: str, tallies: Collection, fail_command: Any) -> None:
    command = {"find": "find", "update_one": "update", "insert_many": "insert"}.get(operation, "findAndModify")
    with fail_command(command, errorCode=50), pytest.raises(QueryTimedOut):
        OPERATIONS[operation](tallies)


def test_write_whose_answer_does_not_come_in_time_is_recognised(tallies: Collection, fail_command: Any) -> None:
    """The server holds the command longer than its limit lets the driver wait."""
    with fail_command("update", blockConnection=True, blockTimeMS=500), pytest.raises(QueryTimedOut):
        tallies.update_one({"_id": "A"}, {"$inc": {"total": 1}}, max_time_ms=100)


def test_transaction_that_ran_out_of_time_is_undone_and_not_tried_again(
    tallies: Collection, fail_command: Any, stored: Callable[[type], Any]
) -> None:
    tries = []

    @clinical_transaction
    def service() -> None:
        tries.append(1)
        tallies.insert_one({"_id": "B"})
        tallies.update_one({"_id": "A"}, {"$inc": {"total": 1}})

    with fail_command("update", errorCode=50), pytest.raises(QueryTimedOut):
        service()
    assert len(tries) == 1
    assert stored(Tally) == [{"_id": "A", "total": 1}]


# --- Errors


@pytest.mark.parametrize("operation", ["insert_one", "insert_many", "bulk_write"])
def test_duplicate_key_is_an_integrity_error(operation: str, tallies: Collection) -> None:
    duplicate = {
        "insert_one": lambda: tallies.insert_one({"_id": "A"}),
        "insert_many": lambda: tallies.insert_many([{"_id": "A"}]),
        "bulk_write": lambda: tallies.bulk_write([pymongo.InsertOne({"_id": "A"})]),
    }
    with pytest.raises(IntegrityError) as raised:
        duplicate[operation]()
    assert isinstance(raised.value.__cause__, PyMongoError)


def test_other_errors_are_database_errors(tallies: Collection) -> None:
    for fail in (
        lambda: tallies.aggregate([{"$nonsense": {}}]),
        lambda: tallies.update_one({"_id": "A"}, {"$inc": {"_id": 1}}),
        lambda: tallies.bulk_write([pymongo.UpdateOne({"_id": "A"}, {"$inc": {"_id": 1}})]),
        lambda: raw.aggregate(Tally, [{"$match": {}}], hint="no such index"),
    ):
        with pytest.raises(DatabaseError) as raised:
            fail()
        assert not isinstance(raised.value, IntegrityError | QueryTimedOut)


# --- Values


def test_values_come_out_as_python_has_them_at_every_depth() -> None:
    naive = INSTANT.replace(tzinfo=None)
    clinical_database().tallies.insert_one(
        {
            "_id": ObjectId(bytes(12)),
            "cost": Decimal128("12.50"),
            "at": naive,
            "day": datetime.datetime(2030, 3, 1),  # noqa: DTZ001
            "chart": [{"cost": Decimal128("0.10"), "times": [naive, [Decimal128("1")]]}],
            "none": None,
        }
    )
    expected = {
        "_id": ObjectId(bytes(12)),
        "cost": Decimal("12.50"),
        "at": INSTANT,
        "day": datetime.datetime(2030, 3, 1, tzinfo=UTC),
        "chart": [{"cost": Decimal("0.10"), "times": [INSTANT, [Decimal("1")]]}],
        "none": None,
    }
    tallies = raw.collection("tallies")
    assert tallies.find({}) == [expected]
    assert tallies.find_one({}) == expected
    assert raw.aggregate("tallies", [{"$match": {}}]) == [expected]
    assert tallies.find_one_and_update({}, {"$set": {"none": None}}) == expected
    found = tallies.find_one({})
    assert found is not None
    assert str(found["cost"]) == "12.50"
    assert found["at"].tzinfo is UTC
    assert found["day"].date() == datetime.date(2030, 3, 1)
    # The driver's decoders do not apply to the commands of a transaction.
    with engine_transaction.atomic(using="clinical"):
        assert tallies.find({}) == [expected]
        assert tallies.find({}, projection=["cost"], sort=[("_id", 1)], limit=3) == [
            {name: expected[name] for name in ("_id", "cost")}
        ]
        assert tallies.find_one({}) == expected
        assert tallies.find_one_and_update({}, {"$set": {"none": None}}) == expected
        assert tallies.find_one_and_update({"_id": "nobody"}, {"$set": {"none": None}}) is None


def test_find_in_a_transaction_returns_all_batches() -> None:
    tallies = raw.collection("tallies")
    tallies.insert_many([{"_id": number} for number in range(250)])
    with engine_transaction.atomic(using="clinical"):
        tallies.insert_one({"_id": 250})
        assert [each["_id"] for each in tallies.find({}, sort=[("_id", 1)])] == list(range(251))
        assert [each["_id"] for each in tallies.find({}, sort=[("_id", -1)], limit=150)] == list(range(250, 100, -1))
        assert len(tallies.find({"_id": {"$gte": 100}}, hint="_id_")) == 151


DECIMALS = [
    *(
        "0",
        "0.00",
        "-0.00",
        "12.50",
        "-12.50",
        "1E+3",
        "1E-6176",
        "1E+6111",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
    ),
    *("9" * 27 + ".9", "9" * 28, "1" + "0" * 28, "9" * 34, "0." + "9" * 34, "-" + "9" * 34 + "E+6111"),
]


@pytest.mark.parametrize("text", DECIMALS)
def test_decimals_come_out_as_the_driver_has_them(text: str) -> None:
    document = bson.decode(bson.encode({"cost": Decimal128(text)}), raw.CODEC)
    assert document["cost"].as_tuple() == Decimal128(text).to_decimal().as_tuple()
    if text != "sNaN":
        assert bson.decode(bson.encode(document, codec_options=raw.CODEC))["cost"] == Decimal128(text)


def test_values_go_in_as_the_orm_writes_them() -> None:
    visits = raw.collection(Visit)
    shared = {"doctor_id": "D", "note": ""}
    Visit.objects.create(
        visit_id="orm",
        date=datetime.date(2030, 3, 1),
        seen_at=INSTANT,
        cost=Decimal("12.50"),
        number="1",
        **shared,
    )
    elsewhere = INSTANT.astimezone(datetime.timezone(datetime.timedelta(hours=-5)))
    day = datetime.date(2030, 3, 1)
    cost = Decimal("12.50")
    visits.insert_one({"_id": "raw", "date": day, "seen_at": elsewhere, "cost": cost, "number": "2", **shared})
    by_orm, by_raw = clinical_database().visits.find().sort("_id")
    for field in ("date", "seen_at", "cost"):
        assert by_raw[field] == by_orm[field]
        assert type(by_raw[field]) is type(by_orm[field])
    visit = Visit.objects.get(pk="raw")
    assert (visit.date, visit.seen_at, visit.cost) == (datetime.date(2030, 3, 1), INSTANT, Decimal("12.50"))
    assert visits.count({"date": datetime.date(2030, 3, 1), "cost": {"$gte": Decimal("12.5")}}) == 2


def test_orm_still_reads_naive_dates() -> None:
    """The codec belongs to raw collections only; on the client it would break every DateTimeField."""
    Visit.objects.create(visit_id="V", doctor_id="D", date="2030-03-01", seen_at=INSTANT, number="1")
    raw.collection(Visit).find({})
    assert Visit.objects.get().seen_at == INSTANT


# --- What each operation returns


def test_results(tallies: Collection) -> None:
    assert tallies.insert_one({"_id": "B", "total": 5}) == "B"
    assert tallies.insert_many([{"_id": "C", "total": 7}, {"_id": "D", "total": 9}]) == ["C", "D"]
    assert tallies.find({"total": {"$gt": 1}}, projection={"_id": 1}, sort=[("total", -1)], limit=2) == [
        {"_id": "D"},
        {"_id": "C"},
    ]
    assert tallies.find_one({"_id": "none"}) is None
    assert tallies.find_one({}, sort=[("total", -1)], projection=["total"]) == {"_id": "D", "total": 9}
    assert (tallies.count({}), tallies.count({}, limit=3)) == (4, 3)
    result = tallies.update_one({"_id": "B"}, {"$inc": {"total": 1}})
    assert (result.matched_count, result.modified_count) == (1, 1)
    assert tallies.update_one({"_id": "E"}, {"$set": {"total": 0}}, upsert=True).upserted_id == "E"
    assert tallies.update_many({"total": {"$gt": 6}}, {"$inc": {"total": 1}}).modified_count == 2
    assert tallies.find_one_and_update({"_id": "B"}, {"$inc": {"total": 1}}) == {"_id": "B", "total": 7}
    assert tallies.find_one_and_update({"_id": "B"}, {"$inc": {"total": 1}}, return_after=False) == {
        "_id": "B",
        "total": 7,
    }
    assert tallies.find_one_and_update({"_id": "none"}, {"$inc": {"total": 1}}) is None
    assert tallies.delete_one({"_id": "none"}) == 0
    assert tallies.delete_many({"_id": {"$in": ["B", "C"]}}) == 2
    assert tallies.bulk_write([pymongo.DeleteOne({"_id": "D"})], is_ordered=False).deleted_count == 1
    assert {each["_id"] for each in tallies.find({})} == {"A", "E"}


def test_array_filters_reach_one_element() -> None:
    patients = raw.collection(Tally)
    patients.insert_one({"_id": "P", "visits": [{"id": "A1", "n": 1}, {"id": "A2", "n": 2}]})
    patients.update_one({"_id": "P"}, {"$set": {"visits.$[each].n": 9}}, array_filters=[{"each.id": "A2"}])
    found = patients.find_one({"_id": "P"})
    assert found is not None
    assert [visit["n"] for visit in found["visits"]] == [1, 9]


def test_hint_names_an_index() -> None:
    Visit.objects.create(visit_id="V", doctor_id="D", date="2030-03-01", number="1")
    match = [{"$match": {"doctor_id": "D"}}]
    assert len(raw.aggregate(Visit, match, hint="visits_doctor_date_id")) == 1
    assert len(raw.collection(Visit).find({"doctor_id": "D"}, hint="visits_doctor_date_id")) == 1


# --- Outages ---------------------------------------------------------------------------------------------------------


def test_read_that_finds_a_primary_ends_the_outage(tallies: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the outage has ended, the next lost primary is waited for as long as the first one."""
    monkeypatch.setitem(DatabaseWrapper._no_primary_since, connections["clinical"].alias, 0.0)
    tallies.find({}, limit=1)
    assert connections["clinical"].alias not in DatabaseWrapper._no_primary_since

"""Measures each write concern with each read concern, on three members that write to disk."""

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient, WriteConcern
from pymongo.read_concern import ReadConcern

from healthcare.mongodb.raw import Document

THREADS = 4
#: The pairs are measured in turns, so that other load of the machine affects all of them equally.
ROUNDS = 10
WARM_UP_SECONDS = 0.1
READ_TIME_MS = 10_000
WRITE_TIME_MS = 10_000
DATABASE, COLLECTION = "concerns", "appointments"


@dataclass(frozen=True)
class Write:
    """A write concern; `lost` says how an acknowledged write can be lost."""

    name: str
    concern: WriteConcern
    lost: str


@dataclass(frozen=True)
class Read:
    """A read concern; `stale` says which data a read may return."""

    name: str
    concern: ReadConcern
    stale: str


WRITES = (
    Write(
        "w=1",
        WriteConcern(w=1),
        "An acknowledged write is lost if the primary fails before a secondary has copied it.",
    ),
    Write(
        "majority",
        WriteConcern(w="majority", j=False, wtimeout=WRITE_TIME_MS),
        "An acknowledged write survives the loss of any one member. It may not be in the journal yet, so that a power "
        "failure of a majority may undo it.",
    ),
    Write(
        "majority+journal",
        WriteConcern(w="majority", j=True, wtimeout=WRITE_TIME_MS),
        "An acknowledged write is lost only with the disks of a majority. Clinical data are written with this concern.",
    ),
)
READS = (
    Read(
        "local",
        ReadConcern("local"),
        "May return data that a failover undoes later, and outdated data from a primary that was just replaced.",
    ),
    Read(
        "majority",
        ReadConcern("majority"),
        "Returns no data that can be undone; data from a primary that was just replaced may be seconds old. Clinical "
        "data are read with this concern.",
    ),
    Read(
        "linearizable",
        ReadConcern("linearizable"),
        "Returns every write that was acknowledged before the read. For a single document, and not in a transaction.",
    ),
)


@dataclass
class Result:
    """The figures of a pair: times of every call in ms, and operations per second of each round.

    `unseen` counts reads that did not find a document whose write had just been acknowledged to the same client.
    """

    write: Write
    read: Read
    rates: list[float] = field(default_factory=list)
    write_ms: list[float] = field(default_factory=list)
    read_ms: list[float] = field(default_factory=list)
    unseen: int = 0

    @property
    def unseen_part(self) -> float:
        return self.unseen / len(self.read_ms)

    @property
    def operations_per_second(self) -> float:
        return statistics.median(self.rates)

    def as_json(self) -> dict[str, Any]:
        return {
            "write": self.write.name,
            "read": self.read.name,
            "operations_per_second": round(self.operations_per_second, 1),
            "write_p50_ms": round(percentile(self.write_ms, 0.50), 3),
            "write_p95_ms": round(percentile(self.write_ms, 0.95), 3),
            "read_p50_ms": round(percentile(self.read_ms, 0.50), 3),
            "read_p95_ms": round(percentile(self.read_ms, 0.95), 3),
            "own_writes_unseen": round(self.unseen_part, 4),
            "operations": len(self.write_ms) + len(self.read_ms),
        }


def percentile(times: list[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def measure(client: MongoClient[Document], *, seconds: float, report_progress: Callable[[str], None]) -> list[Result]:
    """Insert a document and read it again, in THREADS threads, for `seconds` with each pair."""
    results = [Result(write, read) for write, read in itertools.product(WRITES, READS)]
    numbers = itertools.count()
    for turn in range(ROUNDS):
        if turn % 3 == 0:
            report_progress(f"Round {turn + 1} of {ROUNDS} …")
        for result in results:
            _measure(client, result, seconds / ROUNDS, numbers)
    client.drop_database(DATABASE)
    return results


def _measure(client: MongoClient[Document], result: Result, seconds: float, numbers: Iterator[int]) -> None:
    collection = client[DATABASE][COLLECTION]
    writing = collection.with_options(write_concern=result.write.concern)
    reading = collection.with_options(read_concern=result.read.concern)
    counted_from = time.perf_counter() + WARM_UP_SECONDS
    until = counted_from + seconds
    before = len(result.write_ms)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while (began := time.perf_counter()) < until:
                visit = _visit(next(numbers))
                writing.insert_one(visit)
                written = time.perf_counter()
                found = reading.find_one({"_id": visit["_id"]}, max_time_ms=READ_TIME_MS)
                read = time.perf_counter()
                if began >= counted_from:
                    result.write_ms.append(1000 * (written - began))
                    result.read_ms.append(1000 * (read - written))
                    result.unseen += found is None
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    result.rates.append(2 * (len(result.write_ms) - before) / seconds)


def _visit(number: int) -> Document:
    """Return a document of the size of an appointment."""
    return {
        "_id": f"A{number:09}",
        "patient_id": f"P{number % 1000}",
        "doctor_id": f"D{number % 20}",
        "date": datetime(2030, 1, 1, tzinfo=UTC),
        "time": "10:00",
        "duration_minutes": 30,
        "status": "scheduled",
        "disease": "Asthma",
        "starts_at": datetime(2030, 1, 1, 10, tzinfo=UTC),
        "created_at": datetime.now(UTC),
    }

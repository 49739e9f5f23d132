"""Running a case with its index and without, and a write with it and without."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne

from benchmarks.indexes.cases import Case, Pipeline
from healthcare.mongodb import raw
from healthcare.mongodb.explain import explain

WARM_UP = 3
#: A query without its index may take seconds: after so many it has been shown.
SECONDS_A_QUERY = 10.0
LEAST_RUNS = 5
QUERY_TIME_MS = 60_000
WRITES = 500
WRITE_ROUNDS = 5


@dataclass(frozen=True)
class Side:
    """A query's times and what it read; `stage` is the one that reads the collection."""

    median_ms: float
    p95_ms: float
    runs: int
    documents_examined: int
    keys_examined: int
    stage: str


@dataclass(frozen=True)
class Result:
    """A case: the query with its index and without; the index's size, and what it costs a write."""

    name: str
    index: str
    with_index: Side
    without_index: Side
    index_bytes: int
    write_cost_us: float | None
    note: str

    @property
    def times_faster(self) -> float:
        return self.without_index.median_ms / self.with_index.median_ms

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "times_faster": self.times_faster}


def measure(case: Case, *, runs: int) -> Result:
    """Build the index on the copy, ask, drop it, ask again. The copies have no other index than that of `_id`."""
    if not case.keys:
        sides = _ask(case, case.with_index, runs), _ask(case, case.without_index, runs)
        size = raw.index_sizes(case.source)["_id_"]
        return Result(case.name, case.index, *sides, size, None, case.note)
    before = _write_us(case)
    raw.create_index(case.source, case.keys, name=case.index, **case.options)
    try:
        asked = _ask(case, case.with_index, runs)
        size = raw.index_sizes(case.source)[case.index]
        cost = max(0.0, _write_us(case) - before)
    finally:
        raw.drop_index(case.source, case.index)
    return Result(case.name, case.index, asked, _ask(case, case.without_index, runs), size, cost, case.note)


def _ask(case: Case, pipeline: Callable[[Any], Pipeline], runs: int) -> Side:
    asked = [pipeline(sample) for sample in case.samples]
    plan = explain(case.source, asked[0])
    times: list[float] = []
    began = time.perf_counter()
    for number, stages in enumerate(islice(cycle(asked), WARM_UP + runs)):
        if len(times) >= LEAST_RUNS and time.perf_counter() - began > SECONDS_A_QUERY:
            break
        started = time.perf_counter()
        raw.aggregate(case.source, stages, max_time_ms=QUERY_TIME_MS)
        if number >= WARM_UP:
            times.append(1000 * (time.perf_counter() - started))
    times.sort()
    return Side(
        median_ms=statistics.median(times),
        p95_ms=times[min(len(times) - 1, int(0.95 * len(times)))],
        runs=len(times),
        documents_examined=plan.documents_examined,
        keys_examined=plan.keys_examined,
        stage=plan.stages[0] if plan.stages else "EOF",
    )


def _write_us(case: Case) -> float:
    """Microseconds that inserting a document takes, many at once, so that waiting for the majority is no part of it."""
    documents = raw.collection(case.source)
    like = documents.find({}, limit=WRITES)
    times = []
    for _ in range(WRITE_ROUNDS):
        copies = [{**each, "_id": str(ObjectId())} for each in like]
        began = time.perf_counter()
        documents.bulk_write([InsertOne(each) for each in copies], is_ordered=False)
        times.append(1_000_000 * (time.perf_counter() - began) / len(copies))
        documents.bulk_write([DeleteOne({"_id": each["_id"]}) for each in copies], is_ordered=False)
    return min(times)

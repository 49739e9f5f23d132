"""Measures a query and a write, each with and without the index."""

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
#: A query without its index may take seconds. After this time no further run is started.
MAX_SECONDS_PER_QUERY = 10.0
MIN_RUNS = 5
QUERY_TIME_MS = 60_000
WRITES = 500
WRITE_ROUNDS = 5


@dataclass(frozen=True)
class QueryFigures:
    """Times of a query, and the documents and keys that it read. `stage` is the stage that reads the collection."""

    median_ms: float
    p95_ms: float
    runs: int
    documents_examined: int
    keys_examined: int
    stage: str


@dataclass(frozen=True)
class Result:
    """The figures of a case: the query with and without its index, the index's size, and its cost for a write."""

    name: str
    index: str
    with_index: QueryFigures
    without_index: QueryFigures
    index_bytes: int
    write_cost_us: float | None
    note: str

    @property
    def times_faster(self) -> float:
        return self.without_index.median_ms / self.with_index.median_ms

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "times_faster": self.times_faster}


def measure(case: Case, *, runs: int) -> Result:
    """Measure with the index, drop the index, and measure again. The copies have no index but that of `_id`."""
    if not case.keys:
        both = _run_query(case, case.with_index, runs), _run_query(case, case.without_index, runs)
        size = raw.index_sizes(case.source)["_id_"]
        return Result(case.name, case.index, *both, size, None, case.note)
    before = _microseconds_per_write(case)
    raw.create_index(case.source, case.keys, name=case.index, **case.options)
    try:
        with_index = _run_query(case, case.with_index, runs)
        size = raw.index_sizes(case.source)[case.index]
        cost = max(0.0, _microseconds_per_write(case) - before)
    finally:
        raw.drop_index(case.source, case.index)
    return Result(case.name, case.index, with_index, _run_query(case, case.without_index, runs), size, cost, case.note)


def _run_query(case: Case, pipeline: Callable[[Any], Pipeline], runs: int) -> QueryFigures:
    pipelines = [pipeline(sample) for sample in case.samples]
    plan = explain(case.source, pipelines[0])
    times: list[float] = []
    began = time.perf_counter()
    for number, stages in enumerate(islice(cycle(pipelines), WARM_UP + runs)):
        if len(times) >= MIN_RUNS and time.perf_counter() - began > MAX_SECONDS_PER_QUERY:
            break
        started = time.perf_counter()
        raw.aggregate(case.source, stages, max_time_ms=QUERY_TIME_MS)
        if number >= WARM_UP:
            times.append(1000 * (time.perf_counter() - started))
    times.sort()
    return QueryFigures(
        median_ms=statistics.median(times),
        p95_ms=times[min(len(times) - 1, int(0.95 * len(times)))],
        runs=len(times),
        documents_examined=plan.documents_examined,
        keys_examined=plan.keys_examined,
        stage=plan.stages[0] if plan.stages else "EOF",
    )


def _microseconds_per_write(case: Case) -> float:
    """Return the time to insert a document in bulk, so that the wait for a majority is not included."""
    documents = raw.collection(case.source)
    templates = documents.find({}, limit=WRITES)
    times = []
    for _ in range(WRITE_ROUNDS):
        copies = [{**each, "_id": str(ObjectId())} for each in templates]
        began = time.perf_counter()
        documents.bulk_write([InsertOne(each) for each in copies], is_ordered=False)
        times.append(1_000_000 * (time.perf_counter() - began) / len(copies))
        documents.bulk_write([DeleteOne({"_id": each["_id"]}) for each in copies], is_ordered=False)
    return min(times)

"""What a query reads: `explain`, asked and understood. For tests and benchmarks, which compare plans, not
timings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bson import json_util
from django.db import connections, models

from healthcare.mongodb import raw
from healthcare.routers import CLINICAL


@dataclass(frozen=True)
class Plan:
    """The winning plan and what its execution read.

    stages:  names from the first stage that ran to the last, of the query planner (IXSCAN, FETCH) and then of
    the
             pipeline ($group)
    indexes: names of the indexes used, in that order
    documents_examined, keys_examined: totals, of joins too
    """

    stages: tuple[str, ...]
    indexes: tuple[str, ...]
    documents_examined: int
    keys_examined: int

    @property
    def reads_all(self) -> bool:
        """Whether a whole collection was read for want of an index."""
        return "COLLSCAN" in self.stages

    @property
    def sorts_in_memory(self) -> bool:
        return "SORT" in self.stages or "$sort" in self.stages


@dataclass(frozen=True)
class Ran:
    """A command that the server ran, such as a find, and what that read."""

    command: str
    collection: str
    documents_examined: int
    keys_examined: int
    plan: str


@contextmanager
def profiled() -> Iterator[list[Ran]]:
    """Have the server note what it runs in the clinical database, whoever asks; the list is filled at the end."""
    database = connections[CLINICAL].database  # type: ignore[attr-defined]
    ran: list[Ran] = []
    database.command("profile", 2)
    try:
        yield ran
    finally:
        database.command("profile", 0)
        # The profiler notes itself, too.
        noted = database["system.profile"].find({"ns": {"$regex": r"^[^.]+\.(?!system\.|\$cmd)"}}).sort("ts", 1)
        for entry in noted:
            ran.append(
                Ran(
                    command=next(iter(entry["command"])) if entry["op"] == "command" else entry["op"],
                    collection=entry["ns"].split(".", 1)[1],
                    documents_examined=entry.get("docsExamined", 0),
                    keys_examined=entry.get("keysExamined", 0),
                    plan=entry.get("planSummary", ""),
                )
            )
        database["system.profile"].drop()


def explain(
    query: models.QuerySet | type[models.Model] | str,
    pipeline: Sequence[Mapping[str, Any]] | None = None,
    *,
    hint: str | None = None,
) -> Plan:
    """Run a queryset, or a pipeline on a model or collection name, and tell its plan. Outside a transaction
    only."""
    if isinstance(query, models.QuerySet):
        return read_plan(json_util.loads(query.explain(verbosity="executionStats")))
    name = query if isinstance(query, str) else query._meta.db_table
    command: dict[str, Any] = {
        "aggregate": name,
        "pipeline": pipeline,
        "cursor": {},
        **({"hint": hint} if hint else {}),
    }
    database = connections[CLINICAL].database  # type: ignore[attr-defined]
    # The values that `raw` takes, dates among them.
    return read_plan(database.command("explain", command, verbosity="executionStats", codec_options=raw.CODEC))


def read_plan(answer: Mapping[str, Any]) -> Plan:
    """Understand the answer of `explain` with executionStats, in each of the server's shapes.

    A pipeline that the planner takes whole answers as a find does, another one with `stages` of which the
    first is `$cursor`; a sharded cluster answers one of these for each shard.
    """
    stages: list[str] = []
    indexes: list[str] = []
    documents = keys = 0
    for part in _parts(answer):
        winning = part["queryPlanner"]["winningPlan"]
        for stage in _deepest_first(winning.get("queryPlan", winning)):
            if stage.get("strategy") in {"HashJoin", "NestedLoopJoin"}:
                # A $lookup that the planner took over and that reads the other collection whole.
                stages.append("COLLSCAN")
            stages.append(stage["stage"])
            if stage["stage"] == "IDHACK":
                indexes.append("_id_")
            elif "indexName" in stage:
                indexes.append(stage["indexName"])
        documents += part["executionStats"]["totalDocsExamined"]
        keys += part["executionStats"]["totalKeysExamined"]
    for stage in _pipeline_stages(answer):
        if "$cursor" in stage.get("$unionWith", {}).get("pipeline", [{}])[0]:
            other = read_plan({"stages": stage["$unionWith"]["pipeline"]})
            stages += other.stages
            indexes += other.indexes
            documents += other.documents_examined
            keys += other.keys_examined
        if stage.get("collectionScans", 0):
            stages.append("COLLSCAN")
        stages.append(next(name for name in stage if name.startswith("$")))
        # A $lookup that the pipeline runs tells what it read of the other collection beside its own name.
        indexes += stage.get("indexesUsed", [])
        documents += stage.get("totalDocsExamined", 0)
        keys += stage.get("totalKeysExamined", 0)
    return Plan(tuple(stages), tuple(indexes), int(documents), int(keys))


def _answers(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(answer["shards"].values()) if "shards" in answer else [answer]


def _parts(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for each in _answers(answer):
        yield each["stages"][0]["$cursor"] if "stages" in each else each


def _pipeline_stages(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for each in _answers(answer):
        yield from each.get("stages", [])[1:]


def _deepest_first(stage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inputs = [stage["inputStage"]] if "inputStage" in stage else stage.get("inputStages", [])
    for each in inputs:
        yield from _deepest_first(each)
    yield stage

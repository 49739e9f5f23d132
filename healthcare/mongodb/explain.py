"""Query plans: run `explain` and read its output. Tests and benchmarks compare plans instead of timings."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bson import json_util
from django.db import models

from healthcare.mongodb import raw
from healthcare.mongodb.base import clinical_connection
from healthcare.mongodb.documents import Document, Pipeline


@dataclass(frozen=True)
class Plan:
    """The winning plan, and how much its execution read.

    stages:  names of the stages in the order in which they ran: those of the query planner (IXSCAN, FETCH), then those
             of the pipeline ($group)
    indexes: names of the indexes used, in the same order
    documents_examined, keys_examined: totals, joins included
    """

    stages: tuple[str, ...]
    indexes: tuple[str, ...]
    documents_examined: int
    keys_examined: int

    @property
    def reads_all(self) -> bool:
        """Return whether a whole collection was read because no index fits."""
        return "COLLSCAN" in self.stages

    @property
    def sorts_in_memory(self) -> bool:
        return "SORT" in self.stages or "$sort" in self.stages


@dataclass(frozen=True)
class ProfiledCommand:
    """A command that the server ran, such as a find, and how much it read."""

    command: str
    collection: str
    documents_examined: int
    keys_examined: int
    plan: str


@contextmanager
def profiled() -> Iterator[list[ProfiledCommand]]:
    """Profile all commands of the clinical database, of every client; the list is filled when the block ends."""
    database = clinical_connection().database
    commands: list[ProfiledCommand] = []
    database.command("profile", 2)
    try:
        yield commands
    finally:
        database.command("profile", 0)
        # The profiler also records its own commands.
        entries = database["system.profile"].find({"ns": {"$regex": r"^[^.]+\.(?!system\.|\$cmd)"}}).sort("ts", 1)
        for entry in entries:
            commands.append(
                ProfiledCommand(
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
    pipeline: Pipeline | None = None,
    *,
    hint: str | None = None,
) -> Plan:
    """Run a queryset, or a pipeline on a model or collection name, and return its plan; outside a transaction only."""
    if isinstance(query, models.QuerySet):
        return read_plan(json_util.loads(query.explain(verbosity="executionStats")))
    name = query if isinstance(query, str) else query._meta.db_table
    command: Document = {
        "aggregate": name,
        "pipeline": pipeline,
        "cursor": {},
        **({"hint": hint} if hint else {}),
    }
    database = clinical_connection().database
    # CODEC encodes the same values that `raw` takes, dates among them.
    output = database.command("explain", command, verbosity="executionStats", codec_options=raw.CODEC)
    return read_plan(output)


def read_plan(output: Mapping[str, object]) -> Plan:
    """Read the output of `explain` with executionStats, in each of the server's formats.

    For a pipeline that the planner executes as a whole, the output is that of a find. For other pipelines it holds
    `stages`, of which the first is `$cursor`. A sharded cluster gives one of these for each shard.
    """
    stages: list[str] = []
    indexes: list[str] = []
    documents = keys = 0
    for part in _parts(output):
        winning = part["queryPlanner"]["winningPlan"]
        for stage in _deepest_first(winning.get("queryPlan", winning)):
            if stage.get("strategy") in {"HashJoin", "NestedLoopJoin"}:
                # A $lookup that the planner executes and that reads the whole other collection.
                stages.append("COLLSCAN")
            stages.append(stage["stage"])
            if stage["stage"] == "IDHACK":
                indexes.append("_id_")
            elif "indexName" in stage:
                indexes.append(stage["indexName"])
        documents += part["executionStats"]["totalDocsExamined"]
        keys += part["executionStats"]["totalKeysExamined"]
    for stage in _pipeline_stages(output):
        if "$cursor" in stage.get("$unionWith", {}).get("pipeline", [{}])[0]:
            other = read_plan({"stages": stage["$unionWith"]["pipeline"]})
            stages += other.stages
            indexes += other.indexes
            documents += other.documents_examined
            keys += other.keys_examined
        if stage.get("collectionScans", 0):
            stages.append("COLLSCAN")
        stages.append(next(name for name in stage if name.startswith("$")))
        # A $lookup that the pipeline executes reports its reads of the other collection beside its own name.
        indexes += stage.get("indexesUsed", [])
        documents += stage.get("totalDocsExamined", 0)
        keys += stage.get("totalKeysExamined", 0)
    return Plan(tuple(stages), tuple(indexes), int(documents), int(keys))


def _per_shard(output: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(output["shards"].values()) if "shards" in output else [output]


def _parts(output: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    for each in _per_shard(output):
        yield each["stages"][0]["$cursor"] if "stages" in each else each


def _pipeline_stages(output: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    for each in _per_shard(output):
        yield from each.get("stages", [])[1:]


def _deepest_first(stage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inputs = [stage["inputStage"]] if "inputStage" in stage else stage.get("inputStages", [])
    for each in inputs:
        yield from _deepest_first(each)
    yield stage

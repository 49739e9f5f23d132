"""The output of `explain`, in each of the server's formats and from a real server."""

from typing import Any

import pytest
from django.db.models import Count

from healthcare.mongodb.explain import Plan, explain, read_plan
from tests.mongodb.models import Tally, Visit

INDEX_SCAN = {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "indexName": "by_doctor"}}
COLLECTION_SCAN = {"stage": "COLLSCAN"}


def part(winning: dict[str, Any], *, documents: int, keys: int, **rest: Any) -> dict[str, Any]:
    return {
        "queryPlanner": {"winningPlan": winning, **rest},
        "executionStats": {"totalDocsExamined": documents, "totalKeysExamined": keys},
    }


def test_query_that_the_planner_takes_whole() -> None:
    plan = read_plan(part(INDEX_SCAN, documents=3, keys=4))
    assert plan == Plan(("IXSCAN", "FETCH"), ("by_doctor",), 3, 4)
    assert not plan.reads_all
    assert not plan.sorts_in_memory


def test_pipeline_with_stages_after_the_cursor() -> None:
    output = {"stages": [{"$cursor": part(COLLECTION_SCAN, documents=9, keys=0)}, {"$sort": {}}, {"$group": {}}]}
    plan = read_plan(output)
    assert plan == Plan(("COLLSCAN", "$sort", "$group"), (), 9, 0)
    assert plan.reads_all
    assert plan.sorts_in_memory


def test_slot_based_engine_puts_the_plan_one_level_deeper() -> None:
    output = part({"queryPlan": INDEX_SCAN, "slotBasedPlan": {}}, documents=1, keys=1)
    assert read_plan(output).stages == ("IXSCAN", "FETCH")


def test_rejected_plans_do_not_count() -> None:
    output = part(INDEX_SCAN, documents=1, keys=1, rejectedPlans=[COLLECTION_SCAN])
    assert not read_plan(output).reads_all


def test_plan_with_several_inputs() -> None:
    merged = {"stage": "SORT_MERGE", "inputStages": [INDEX_SCAN, INDEX_SCAN]}
    plan = read_plan(part(merged, documents=2, keys=2))
    assert plan.stages == ("IXSCAN", "FETCH", "IXSCAN", "FETCH", "SORT_MERGE")
    assert plan.indexes == ("by_doctor", "by_doctor")
    assert not plan.sorts_in_memory


def test_join_adds_what_it_read() -> None:
    lookup = {
        "$lookup": {},
        "totalDocsExamined": 5,
        "totalKeysExamined": 2,
        "collectionScans": 1,
        "indexesUsed": ["_id_"],
    }
    plan = read_plan({"stages": [{"$cursor": part(INDEX_SCAN, documents=1, keys=1)}, lookup]})
    assert plan == Plan(("IXSCAN", "FETCH", "COLLSCAN", "$lookup"), ("by_doctor", "_id_"), 6, 3)


def test_shards_are_added_up() -> None:
    one = part(INDEX_SCAN, documents=1, keys=2)
    assert read_plan({"shards": {"a": one, "b": {"stages": [{"$cursor": one}]}}}).keys_examined == 4


@pytest.fixture
def _visits() -> None:
    Visit.objects.bulk_create(
        Visit(visit_id=f"V{i}", doctor_id=f"D{i % 2}", date="2030-01-01", number=f"{i}") for i in range(20)
    )
    Tally.objects.bulk_create(Tally(name=f"D{i}") for i in range(2))


@pytest.mark.usefixtures("_visits")
def test_real_plans() -> None:
    plan = explain(Visit.objects.filter(pk="V3"))
    assert (plan.indexes, plan.documents_examined) == (("_id_",), 1)

    plan = explain(Visit.objects.filter(doctor_id="D1").values("doctor_id").annotate(n=Count("pk")))
    assert plan.indexes == ("visits_doctor_date_id",)
    assert plan.documents_examined <= 10

    assert explain("visits", [{"$match": {"note": "x"}}]).reads_all


LOOKUPS = {
    "taken over by the planner": {"localField": "doctor_id", "foreignField": "_id"},
    "run by the pipeline": {
        "let": {"doctor": "$doctor_id"},
        "pipeline": [{"$match": {"$expr": {"$eq": ["$_id", "$$doctor"]}}}],
    },
}


@pytest.mark.usefixtures("_visits")
@pytest.mark.parametrize("join", LOOKUPS.values(), ids=LOOKUPS)
def test_real_join_by_an_index(join: dict[str, Any]) -> None:
    pipeline = [{"$match": {"doctor_id": "D1"}}, {"$lookup": {"from": "tallies", "as": "tally", **join}}]
    plan = explain(Visit, pipeline, hint="visits_doctor_date_id")
    assert plan.indexes == ("visits_doctor_date_id", "_id_")
    assert plan.documents_examined == 20
    assert not plan.reads_all


UNINDEXED_LOOKUPS = {
    "taken over by the planner": {"localField": "_id", "foreignField": "note"},
    "run by the pipeline": {
        "let": {"name": "$_id"},
        "pipeline": [{"$match": {"$expr": {"$eq": ["$note", "$$name"]}}}],
    },
}


@pytest.mark.usefixtures("_visits")
@pytest.mark.parametrize("join", UNINDEXED_LOOKUPS.values(), ids=UNINDEXED_LOOKUPS)
def test_real_join_without_an_index_is_seen_as_a_scan(join: dict[str, Any]) -> None:
    pipeline = [{"$match": {"_id": {"$gte": ""}}}, {"$lookup": {"from": "visits", "as": "visits", **join}}]
    plan = explain(Tally, pipeline, hint="_id_")
    assert plan.reads_all
    assert plan.documents_examined >= 2 + 20


@pytest.mark.usefixtures("_visits")
def test_real_union_is_read_on_both_sides() -> None:
    plan = explain(Visit.objects.filter(doctor_id="D1").union(Visit.objects.filter(note="x")))
    assert plan.indexes == ("visits_doctor_date_id",)
    assert plan.reads_all
    assert plan.documents_examined == 10 + 20

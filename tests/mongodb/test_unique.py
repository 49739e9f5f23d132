"""A unique field is found by its index, rejects a second document and, if it may be null, allows many nulls."""

import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError

from healthcare.mongodb.explain import explain
from tests.databases import clinical_database
from tests.mongodb.models import Visit, Ward

MANY = 60
FIELDS = {
    "number": lambda i: f"N{i}",
    "user_id": lambda i: i - 5,
    "external_id": lambda i: f"X{i}",
    "opened_on": lambda i: datetime.date(1969, 12, 1) + datetime.timedelta(days=i),
    "fee": lambda i: Decimal(i) - Decimal("5.25"),
}


def visit(number: int, /, **values: Any) -> Visit:
    return Visit(visit_id=f"V{number}", doctor_id="D1", date="2030-01-01", **{"number": f"N{number}", **values})


@pytest.mark.parametrize("field", FIELDS)
def test_lookup_of_a_unique_field_uses_its_index(field: str) -> None:
    """The stock engine's `$type` condition keeps the planner from using the index, so it reads the collection."""
    value = FIELDS[field]
    for alias in ("clinical", "stock"):
        Visit.objects.using(alias).bulk_create(visit(i, **{field: value(i)}) for i in range(MANY))

    stock = explain(Visit.objects.using("stock").filter(**{field: value(7)}))
    assert stock.reads_all
    assert stock.documents_examined == MANY

    found = Visit.objects.filter(**{field: value(7)})
    plan = explain(found)
    assert [f"visits_{field}" in name for name in plan.indexes] == [True]
    assert (plan.documents_examined, plan.keys_examined) == (1, 1)
    assert found.get().visit_id == "V7"

    plan = explain(Visit.objects.filter(**{f"{field}__in": [value(7), value(11)]}))
    assert not plan.reads_all
    assert plan.documents_examined == 2


@pytest.mark.parametrize("field", FIELDS)
def test_second_document_with_the_value_is_refused(field: str) -> None:
    visit(1, **{field: FIELDS[field](1)}).save()
    with pytest.raises(IntegrityError):
        visit(2, **{field: FIELDS[field](1)}).save(force_insert=True)
    assert [each.visit_id for each in Visit.objects.all()] == ["V1"]


def test_many_documents_may_have_null_or_nothing() -> None:
    Visit.objects.bulk_create(visit(i) for i in range(3))
    documents = clinical_database()["visits"]
    documents.insert_many([{"_id": f"raw{i}", "number": f"raw{i}"} for i in range(3)])
    assert Visit.objects.filter(user_id=None).count() == 6
    assert Visit.objects.filter(ward=None).count() == 6


def test_lowest_values_are_unique_too() -> None:
    """The condition of the index includes its bound."""
    lowest = {"user_id": -(2**63), "external_id": "", "opened_on": datetime.date.min}
    visit(1, **lowest).save()
    for number, (field, value) in enumerate(lowest.items(), start=2):
        with pytest.raises(IntegrityError):
            visit(number, **{field: value}).save(force_insert=True)
    assert Visit.objects.count() == 1


def test_unique_field_of_an_embedded_model() -> None:
    visit(1, ward=Ward(code="A", floor=1, side="north")).save()
    visit(2, ward=Ward(code="B", floor=1, side="south")).save()
    with pytest.raises(IntegrityError):
        visit(3, ward=Ward(code="A", floor=2, side="north")).save(force_insert=True)
    assert not explain(Visit.objects.filter(ward__code="B")).reads_all


def test_constraint_of_an_embedded_model_holds() -> None:
    """The stock engine omits the prefix in its condition, which no document meets then."""
    for alias in ("clinical", "stock"):
        visit(1, ward=Ward(code="A", floor=1, side="north")).save(using=alias)
    second = visit(2, ward=Ward(code="B", floor=1, side="north"))
    second.save(using="stock", force_insert=True)
    with pytest.raises(IntegrityError):
        second.save(using="clinical", force_insert=True)

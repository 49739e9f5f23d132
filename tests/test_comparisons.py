"""`lt` and `lte` on MongoDB work as in SQL: null is not less than any value (healthcare.mongodb.base)."""

from datetime import date

import pytest
from django.db.models import F

from patients.models import Patient
from tests.databases import clinical_database

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def four_patients() -> None:
    born = {"before": date(1980, 1, 1), "on": date(1990, 1, 1), "after": date(2000, 1, 1), "unknown": None}
    for patient_id, birth_date in born.items():
        Patient(patient_id=patient_id, name="x", birth_date=birth_date).save(force_insert=True)
    clinical_database()["patients"].insert_one({"_id": "without the field", "name": "x"})


@pytest.mark.parametrize(
    ("lookup", "expected"),
    [
        ("lt", {"before"}),
        ("lte", {"before", "on"}),
        ("gt", {"after"}),
        ("gte", {"on", "after"}),
    ],
)
def test_null_is_neither_less_nor_greater(lookup: str, expected: set[str]):
    found = Patient.objects.filter(**{f"birth_date__{lookup}": date(1990, 1, 1)})
    assert set(found.values_list("pk", flat=True)) == expected


def test_negation_keeps_what_is_not_known():
    found = Patient.objects.exclude(birth_date__lt=date(1990, 1, 1))
    assert set(found.values_list("pk", flat=True)) == {"on", "after", "unknown", "without the field"}


def test_comparison_of_two_fields_leaves_null_out():
    found = Patient.objects.filter(birth_date__lt=F("created_at"))
    assert set(found.values_list("pk", flat=True)) == {"before", "on", "after"}


def test_less_than_is_one_condition_that_an_index_can_answer():
    plan = Patient.objects.filter(name__lt="y").explain()
    assert "$exists" not in plan

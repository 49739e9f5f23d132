"""The pipelines run in a plain driver, without codecs and the ORM, as in a shell."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from pymongo import MongoClient

from appointments.models import Appointment
from prescriptions.models import Prescription
from reports import pipelines
from reports.models import Counter, Treatment
from tests.databases import clinical_database
from tests.people import People
from tests.records import complete, make_appointment, make_prescription

pytestmark = pytest.mark.django_db

DAY = date(2024, 2, 29)
#: Name → the model on whose collection the pipeline runs, the pipeline, and the result for the documents below.
EXPECTED: Mapping[str, tuple[Any, pipelines.Pipeline, list[dict[str, Any]]]] = {
    "top_doctors": (
        Counter, pipelines.top_doctors(limit=1, by="patients"), [{"doctor_id": "D1", "patients": 2, "appointments": 3}]
    ),
    "months": (
        Counter, pipelines.months(year=2024),
        [{"_id": {"month": "02", "status": "completed"}, "appointments": 2},
         {"_id": {"month": "03", "status": "cancelled"}, "appointments": 1},
         {"_id": {"month": "03", "status": "scheduled"}, "appointments": 1}],
    ),
    "diseases": (
        Counter, pipelines.diseases(basis="appointments"),
        [{"disease": "Asthma", "patients": 2, "ongoing": 0, "days": 2}],
    ),
    "costs": (
        Counter, pipelines.costs(), [{"disease": "Asthma", "prescriptions": 2, "costed": 1, "cents": 1250}]
    ),
    "period": (
        Appointment, pipelines.top_doctors_of_period(limit=5, by="appointments", since=DAY, until=DAY),
        [{"doctor_id": "D1", "patients": 2, "appointments": 2}],
    ),
    "since": (
        Appointment, pipelines.top_doctors_of_period(limit=5, by="patients", since=date(2024, 3, 1)),
        [{"doctor_id": "D1", "patients": 1, "appointments": 1}],
    ),
    "all doctors": (
        Appointment, pipelines.doctors_of_period(), [{"doctor_id": "D1", "patients": 2, "appointments": 3}]
    ),
    "all months": (
        Appointment, pipelines.months_of_facts(),
        [{"_id": {"year": 2024, "month": 2, "status": "completed"}, "appointments": 2},
         {"_id": {"year": 2024, "month": 3, "status": "cancelled"}, "appointments": 1},
         {"_id": {"year": 2024, "month": 3, "status": "scheduled"}, "appointments": 1}],
    ),
    "treatments": (
        Treatment, pipelines.diseases_of_treatments(),
        [{"_id": {"basis": "appointments", "disease": "Asthma"}, "patients": 2, "ongoing": 0, "days": 2},
         {"_id": {"basis": "prescriptions", "disease": "Asthma"}, "patients": 1, "ongoing": 1, "days": 0}],
    ),
    "all costs": (
        Prescription, pipelines.costs_of_facts(),
        [{"_id": "Asthma", "prescriptions": 2, "costed": 1, "cost": Decimal("12.50")}],
    ),
    "visits": (
        Prescription, pipelines.prescribed_for_visits(),
        [{"_id": {"disease": "Asthma", "doctor_id": "D1"}, "named": ["A1"]}],
    ),
    "no visits": (
        Prescription, pipelines.prescribed_without_visit(),
        [{"_id": {"disease": "Asthma", "doctor_id": "D1"}, "named": ["P1"]}],
    ),
}  # fmt: skip


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value.to_decimal() if hasattr(value, "to_decimal") else value


def test_a_plain_driver_runs_every_pipeline(people: People) -> None:
    for key, who in (("A1", "P1"), ("A2", "P2")):
        complete(people, make_appointment(people, appointment_id=key, patient_id=who, date=DAY, time=None))
    make_appointment(people, date=date(2024, 3, 1), time=None)
    gone = make_appointment(people, date=date(2024, 3, 2), time=None, patient_id="P2")
    people.client("admin").patch(f"/api/appointments/{gone.pk}", {"status": "cancelled"}, format="json")
    make_prescription(people, appointment_id="A1", cost=Decimal("12.50"))
    make_prescription(people, duration_days=None, cost=None)
    settings = connections["clinical"].settings_dict
    with MongoClient[dict[str, Any]](settings["HOST"]) as client:
        database = client[clinical_database().name]
        for name, (model, pipeline, expected) in EXPECTED.items():
            found = [plain(each) for each in database[model._meta.db_table].aggregate(pipeline)]
            assert sorted(found, key=str) == sorted(expected, key=str), name

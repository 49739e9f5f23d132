"""Every report against the oracle, on invented data that the services write and change.

    ORACLE_EXAMPLES=500 python -m pytest tests/reports/test_oracle.py

tests more examples than the suite has time for.
"""

import itertools
import os
import sqlite3
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appointments import services as appointment_services
from billing import services as billing_services
from billing.models import Bill
from healthcare.errors import DomainError
from prescriptions import services as prescription_services
from reports import queries, services
from tests.databases import clinical_database
from tests.people import People, make_doctor, make_patient
from tests.reports import oracle

pytestmark = pytest.mark.django_db

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "25"))
ROLLUPS = ("report_counters", "report_pairs", "report_treatments")
PATIENTS, DOCTORS = ("P1", "P2", "P3"), ("D1", "D2", "D3")

#: Few values of each kind, so that examples share them: ties, leap days, the ends of years, similar and unusual names.
days = st.sampled_from(
    [date(2023, 12, 31), date(2024, 1, 1), date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), date(2024, 12, 31),
     date(2025, 1, 1), date(2025, 6, 15), date(2025, 2, 28)]
)  # fmt: skip
diseases = st.sampled_from(["Asthma", "asthma", "Flu.2", "$lookup", "Ménière", None])
amounts = st.sampled_from(["0", "0.01", "0.02", "0.03", "10", "12.35", "99.99", "1000000.01"]).map(Decimal)

booking = st.fixed_dictionaries(
    {
        "patient_id": st.sampled_from(PATIENTS),
        "doctor_id": st.sampled_from(DOCTORS),
        "date": days,
        "disease": diseases,
        "end": st.sampled_from(["scheduled", "completed", "completed", "cancelled"]),
    }
)
course = st.fixed_dictionaries(
    {
        "patient_id": st.sampled_from(PATIENTS),
        "doctor_id": st.sampled_from(DOCTORS),
        "disease": diseases,
        "cost": st.one_of(st.none(), amounts),
        "start_date": days,
        "duration_days": st.sampled_from([None, 1, 1, 2, 30, 366]),
        "visit": st.one_of(st.none(), st.integers(0, 7)),
    }
)
bill = st.fixed_dictionaries(
    {
        "patient_id": st.sampled_from(PATIENTS),
        "disease": diseases,
        "total_cost": amounts,
        "status": st.sampled_from(["open", "paid", "void"]),
        "visit": st.one_of(st.none(), st.integers(0, 7)),
    }
)
#: Changes of some records afterwards: (index of the record, change, day, disease).
change = st.tuples(
    st.integers(0, 7),
    st.sampled_from(["move", "delete", "amend disease", "amend course", "open course", "withdraw"]),
    days,
    diseases,
)


@pytest.fixture
def hospital(people: People) -> People:
    make_patient(people.admin, "P3")
    make_doctor(people.admin, "D3", name="Zoë $ Ødegård")
    return people


def fill(people: People, bookings: Any, courses: Any, bills: Any, changes: Any) -> None:
    """Write the data by the services. A change that they refuse, such as one of a completed visit, is left out."""
    visits, prescriptions = [], []
    for booked in bookings:
        fields = {name: value for name, value in booked.items() if name != "end"}
        visit = appointment_services.book_appointment(actor=people.admin, **fields)
        if booked["end"] != "scheduled":
            appointment_services.change_appointment(
                actor=people.admin, appointment_id=visit.appointment_id, status=booked["end"]
            )
        visits.append(visit)
    for prescribed in courses:
        fields = {name: value for name, value in prescribed.items() if name != "visit"}
        of_visit = named(visits, prescribed)
        made = prescription_services.issue_prescription(
            actor=people.admin, drug="x", dosage="1 tablet", frequency="Daily", appointment_id=of_visit, **fields
        )
        prescriptions.append(str(made.pk))
    for billed in bills:
        fields = {name: value for name, value in billed.items() if name != "visit"}
        billing_services.create_bill(actor=people.admin, appointment_id=named(visits, billed), **fields)
    for index, what, day, disease in changes:
        visit_id = visits[index % len(visits)].appointment_id if visits else "A0"
        prescription_id = prescriptions[index % len(prescriptions)] if prescriptions else "0" * 24
        try:
            alter(people, what, visit_id, prescription_id, day, disease)
        except DomainError:
            continue


def alter(people: People, what: str, visit_id: str, prescription_id: str, day: date, disease: str | None) -> None:
    match what:
        case "move":
            appointment_services.change_appointment(actor=people.admin, appointment_id=visit_id, date=day)
        case "delete":
            appointment_services.delete_appointment(actor=people.admin, appointment_id=visit_id)
        case "amend disease":
            appointment_services.change_appointment(actor=people.admin, appointment_id=visit_id, disease=disease)
        case "amend course":
            changes = {"disease": disease, "start_date": day, "duration_days": 5}
            prescription_services.amend_prescription(actor=people.admin, prescription_id=prescription_id, **changes)
        case "open course":
            changes = {"duration_days": None, "cost": None}
            prescription_services.amend_prescription(actor=people.admin, prescription_id=prescription_id, **changes)
        case "withdraw":
            prescription_services.delete_prescription(actor=people.admin, prescription_id=prescription_id)


def named(visits: list[Any], item: dict[str, Any]) -> str | None:
    """Return one of the patient's visits, or None if the item names none."""
    own = [visit.appointment_id for visit in visits if visit.patient_id == item["patient_id"]]
    return own[item["visit"] % len(own)] if own and item["visit"] is not None else None


def exported() -> dict[str, list[oracle.Record]]:
    """Return all records, read without any code of the reports."""
    database = clinical_database()
    found: dict[str, list[oracle.Record]] = {}
    for name, key in (("doctors", "doctor_id"), ("appointments", "appointment_id"), ("prescriptions", "id")):
        found[name] = [plain({**document, key: document["_id"]}) for document in database[name].find()]
    bills = Bill.objects.values("patient_id", "appointment_id", "disease", "total_cost", "status")
    found["bills"] = [dict(bill) for bill in bills]
    return found


def plain(document: dict[str, Any]) -> dict[str, Any]:
    def value(each: Any) -> Any:
        if isinstance(each, datetime):
            return each.date()
        return each.to_decimal() if hasattr(each, "to_decimal") else each

    return {name: value(each) for name, each in document.items()}


PERIODS = [(None, None), (date(2024, 1, 1), None), (None, date(2024, 2, 29)), (date(2024, 2, 29), date(2024, 12, 31))]


def assert_reports_agree_with_the_oracle() -> None:
    data = exported()
    appointments, prescriptions = data["appointments"], data["prescriptions"]
    for (since, until), by, limit in itertools.product(PERIODS, ("patients", "appointments"), (1, 2, 200)):
        expected = oracle.top_doctors(data["doctors"], appointments, limit, by, since, until)
        assert queries.top_doctors(limit=limit, by=by, since=since, until=until).rows == expected
    for basis in ("prescriptions", "appointments"):
        trends = oracle.disease_trends(appointments, prescriptions, basis)
        assert queries.disease_trends(basis=basis).rows == trends
    for year in (2022, 2023, 2024, 2025):
        assert queries.monthly_appointments_trend(year=year).rows == oracle.monthly_trend(appointments, year)
    costs = oracle.prescription_cost(prescriptions, data["bills"])
    assert queries.average_prescription_cost(fresh=True).rows == costs


def empty() -> None:
    database = clinical_database()
    for name in (
        "appointments",
        "prescriptions",
        "claims",
        "report_counters",
        "report_pairs",
        "report_treatments",
        "events",
    ):
        database[name].delete_many({})
    Bill.objects.all().delete()


def some(of: Any, most: int) -> Any:
    return st.lists(of, max_size=most)


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize="ORACLE_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(bookings=some(booking, 8), courses=some(course, 8), bills=some(bill, 6), changes=some(change, 6))
def test_reports_agree_with_the_oracle(hospital: People, bookings: Any, courses: Any, bills: Any, changes: Any) -> None:
    empty()
    fill(hospital, bookings, courses, bills, changes)
    assert_reports_agree_with_the_oracle()
    assert list(services.find_differences()) == []


def test_reports_agree_with_the_oracle_after_a_rebuild(hospital: People) -> None:
    bookings = [
        {"patient_id": p, "doctor_id": d, "date": date(2024, 2, 29), "disease": "Asthma", "end": "completed"}
        for p, d in itertools.product(PATIENTS, DOCTORS)
    ]
    courses = [
        {"patient_id": p, "doctor_id": "D1", "disease": "Flu", "cost": Decimal("0.01"), "visit": n,
         "start_date": date(2024, 2, 28), "duration_days": n}
        for n, p in enumerate(PATIENTS, start=1)
    ]  # fmt: skip
    fill(hospital, bookings, courses, [], [])
    database = clinical_database()
    for name in ROLLUPS:
        database[name].delete_many({})
    assert list(services.rebuild())[-1][1] > 0
    assert_reports_agree_with_the_oracle()


SQLITE = """
import os, sys, django
django.setup()
from django.core.management import call_command  # noqa: E402 - after the applications are there
call_command("migrate", verbosity=0)
call_command("migrate", database="clinical", verbosity=0)
from tests.reports import test_oracle
test_oracle.fill_by_sqlite()
test_oracle.assert_reports_agree_with_the_oracle()
assert test_oracle.exported()["bills"]
"""


def fill_by_sqlite() -> None:
    people = People.make()
    make_patient(people.admin, "P3")
    make_doctor(people.admin, "D3")
    bookings = [
        {"patient_id": p, "doctor_id": d, "date": date(2024, 2, 29), "disease": s, "end": "completed"}
        for p, d, s in zip(PATIENTS, DOCTORS, ("Asthma", "Flu.2", None), strict=True)
    ]
    courses = [
        {"patient_id": p, "doctor_id": "D1", "disease": s, "cost": Decimal(c), "start_date": date(2024, 2, 28),
         "duration_days": 3, "visit": v}
        for p, s, c, v in (("P1", "Asthma", "0.01", 0), ("P1", "Asthma", "0.02", None), ("P2", "Flu.2", "12.35", 1))
    ]  # fmt: skip
    bills = [
        {"patient_id": p, "disease": s, "total_cost": Decimal(c), "status": t, "visit": None}
        for p, s, c, t in (
            ("P1", "Asthma", "99.99", "open"), ("P1", "Asthma", "0.02", "paid"), ("P1", "Asthma", "7", "void"),
            ("P2", "Flu.2", "5", "open"),
        )
    ]  # fmt: skip
    fill(people, bookings, courses, bills, [])


def test_with_billing_on_sqlite(tmp_path: Path) -> None:
    """Run the oracle in another process, whose accounts and bills are in an SQLite file."""
    root = Path(__file__).resolve().parents[2]
    environment = {
        **os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'billing.sqlite3'}", "MONGODB_DB": "oracle_on_sqlite",
        "DJANGO_SETTINGS_MODULE": "healthcare.settings",
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", SQLITE], cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        with sqlite3.connect(tmp_path / "billing.sqlite3") as file:
            assert file.execute("SELECT count(*) FROM billing").fetchone() == (7,)
            assert file.execute("SELECT count(*) FROM audit_entries WHERE action = 'bill.created'").fetchone() == (7,)
    finally:
        connections["clinical"].connection.drop_database("oracle_on_sqlite")

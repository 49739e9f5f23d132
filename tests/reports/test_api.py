"""Endpoints of the reports: rows, formats, parameters and permissions."""

import csv
import io
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from billing import services as billing_services
from healthcare.mongodb import raw
from reports import queries
from reports.models import Result
from tests.databases import clinical_database
from tests.people import People, make_patient
from tests.records import complete, make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db

BASE = "/api/reports"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def doctor(people: People) -> APIClient:
    return people.client("doctor")


@pytest.fixture
def records(people: People) -> None:
    """Create visits and prescriptions of two patients in 2025, some of them billed."""
    for key, day, who, doctor_id in (
        ("A1", date(2025, 1, 10), "P1", "D1"),
        ("A2", date(2025, 2, 1), "P1", "D1"),
        ("A3", date(2025, 2, 2), "P2", "D2"),
    ):
        visit = make_appointment(people, appointment_id=key, date=day, time=None, patient_id=who, doctor_id=doctor_id)
        if key != "A2":
            complete(people, visit)
    make_prescription(people, appointment_id="A1", cost=Decimal("10.00"), start_date=date(2025, 1, 10), duration_days=3)
    make_prescription(people, cost=Decimal("20.01"), start_date=date(2025, 3, 1), duration_days=2, drug="Other")
    make_prescription(people, patient_id="P2", start_date=date(2025, 3, 1), disease="Flu", appointment_id="A3")


def rows(client: APIClient, path: str) -> list[dict[str, Any]]:
    answer = client.get(f"{BASE}/{path}")
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert set(body) == {"results", "as_of"}
    return body["results"]


@pytest.mark.usefixtures("records")
def test_top_doctors(doctor: APIClient) -> None:
    first = {"doctor_id": "D1", "name": "Amara Okafor", "specialty": "Cardiology", "patients": 1, "appointments": 2}
    second = {"doctor_id": "D2", "name": "Ingrid Solberg", "specialty": "Neurology", "patients": 1, "appointments": 1}
    assert rows(doctor, "top-doctors") == [first, second]
    assert rows(doctor, "top-doctors?limit=1&by=appointments") == [first]
    assert rows(doctor, "top-doctors?from=2025-02-02") == [second]
    assert rows(doctor, "top-doctors?from=2025-02-01&to=2025-02-01") == [{**first, "appointments": 1}]
    assert rows(doctor, "top-doctors?to=2024-12-31") == []


@pytest.mark.usefixtures("records")
def test_disease_trends(doctor: APIClient) -> None:
    assert rows(doctor, "disease-trends") == [
        {"disease": "Asthma", "patients": 1, "ongoing": 0, "average_treatment_days": "52.00"},
        {"disease": "Flu", "patients": 1, "ongoing": 1, "average_treatment_days": None},
    ]
    assert rows(doctor, "disease-trends?basis=appointments") == [
        {"disease": "Asthma", "patients": 2, "ongoing": 0, "average_treatment_days": "1.00"}
    ]


@pytest.mark.usefixtures("records")
def test_monthly_trend(doctor: APIClient) -> None:
    found = rows(doctor, "monthly-appointments-trend?year=2025")
    assert [row["month"] for row in found] == list(range(1, 13))
    assert found[0] == {"month": 1, "completed": 1, "cancelled": 0, "scheduled": 0}
    assert found[1] == {"month": 2, "completed": 1, "cancelled": 0, "scheduled": 1}
    assert sum(row["scheduled"] for row in rows(doctor, "monthly-appointments-trend")) == 0
    assert len(rows(doctor, "monthly-appointments-trend?year=1")) == 12


@pytest.mark.usefixtures("records")
def test_prescription_cost(people: People) -> None:
    make_bill(people, total_cost=Decimal("30.00"))  # a bill of P1 for Asthma, without an appointment
    make_bill(people, total_cost=Decimal("999.00"), disease="Flu")  # P1 has no prescription for it
    billing_services.change_bill(actor=people.admin, bill_id=make_bill(people).pk, status="void")
    fee = Decimal(queries.costs_from_databases()[1]["average_total_cost"])  # the bill of visit A3 with D2, for Flu
    found = rows(people.client("admin"), "average-prescription-cost?fresh=true")
    (asthma, flu) = found
    fees = {bill.appointment_id: bill.total_cost for bill in billing_services.Bill.objects.exclude(appointment_id=None)}
    assert asthma == {
        "disease": "Asthma",
        "prescriptions": 2,
        "average_prescription_cost": "15.00",  # 15.005 rounded to the even cent
        "billed_visits": 2,
        "average_total_cost": str((fees["A1"] + 30) / 2),
    }
    assert flu == {
        "disease": "Flu", "prescriptions": 1, "average_prescription_cost": None, "billed_visits": 1,
        "average_total_cost": str(fees["A3"]),
    }  # fmt: skip
    assert fee == fees["A3"]


def test_costs_are_a_minute_old_at_most(people: People) -> None:
    client = people.client("admin")
    make_prescription(people, cost=Decimal("10.00"))
    first = client.get(f"{BASE}/average-prescription-cost").json()
    make_prescription(people, cost=Decimal("20.00"))
    assert client.get(f"{BASE}/average-prescription-cost").json() == first
    fresh = client.get(f"{BASE}/average-prescription-cost?fresh=true").json()
    assert (fresh["results"][0]["average_prescription_cost"], fresh["as_of"] > first["as_of"]) == ("15.00", True)
    assert client.get(f"{BASE}/average-prescription-cost").json() == fresh
    make_prescription(people, cost=Decimal("60.00"))
    old = timezone.now() - queries.COST_MAX_AGE - timedelta(seconds=1)
    raw.collection(Result).update_one({"_id": queries.PRESCRIPTION_COST}, {"$set": {"as_of": old}})
    assert client.get(f"{BASE}/average-prescription-cost").json()["results"][0]["prescriptions"] == 3


def test_costs_are_rebuilt_after_the_process_with_the_lease_has_died(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_COST_POLL_SECONDS", 0.01)
    raw.collection(Result).insert_one(
        {"_id": queries.PRESCRIPTION_COST, "busy_until": timezone.now() + timedelta(seconds=0.3)}
    )
    assert queries.average_prescription_cost().rows == []
    monkeypatch.setattr(queries, "costs_from_databases", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        queries.average_prescription_cost(fresh=True)
    monkeypatch.undo()
    assert queries.average_prescription_cost(fresh=True).rows == []


def test_only_an_admin_may_rebuild_the_costs(people: People) -> None:
    assert people.client("doctor").get(f"{BASE}/average-prescription-cost?fresh=true").status_code == 403
    assert people.client("doctor").get(f"{BASE}/average-prescription-cost?fresh=false").status_code == 200


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("top-doctors?limit=-1", "/limit"),
        ("top-doctors?limit=0", "/limit"),
        ("top-doctors?limit=201", "/limit"),
        ("top-doctors?limit=5.5", "/limit"),
        ("top-doctors?limit=", "/limit"),
        ("top-doctors?limit=٣", "/limit"),
        ("top-doctors?by=name", "/by"),
        ("top-doctors?by=$where", "/by"),
        ("top-doctors?from=2025-02-02&to=2025-02-01", "/to"),
        ("top-doctors?from=2025-02-30", "/from"),
        ("top-doctors?from=yesterday", "/from"),
        ("top-doctors?limit=1&limit=2", "/limit"),
        ("top-doctors?year=2025", "/year"),
        ("top-doctors?page_size=5", "/page_size"),
        ("disease-trends?basis=visits", "/basis"),
        ("disease-trends?basis[$ne]=x", "/basis[$ne]"),
        ("monthly-appointments-trend?year=abc", "/year"),
        ("monthly-appointments-trend?year=0", "/year"),
        ("monthly-appointments-trend?year=10000", "/year"),
        ("monthly-appointments-trend?year=2025-01", "/year"),
        ("average-prescription-cost?fresh=maybe", "/fresh"),
        ("top-doctors?format=pdf", "/format"),
        ("top-doctors?format=CSV", "/format"),
    ],
)
def test_bad_parameters(people: People, query: str, pointer: str) -> None:
    for chosen in ("", "&format=csv", "&format=png"):
        if "format" in query and chosen:
            continue
        answer = people.client("admin").get(f"{BASE}/{query}{chosen}")
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def body_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


@pytest.mark.parametrize("name", queries.NAMES)
@pytest.mark.parametrize(
    ("suffix", "query", "accept", "expected"),
    [
        ("", "", "*/*", "application/json"),
        ("", "", "", "application/json"),
        ("", "", "application/*", "application/json"),
        ("", "", "text/csv", "text/csv; charset=utf-8"),
        ("", "", "image/png", "image/png"),
        ("", "", "image/svg+xml", "image/svg+xml"),
        ("", "", "image/avif,image/webp,image/png,*/*;q=0.8", "image/png"),
        ("", "", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("", "?format=csv", "*/*", "text/csv; charset=utf-8"),
        ("", "?format=json", "text/html", "application/json"),
        ("", "?format=svg", "application/json", "image/svg+xml"),
        (".csv", "", "*/*", "text/csv; charset=utf-8"),
        (".png", "", "text/html,*/*", "image/png"),
        (".svg", "", "*/*", "image/svg+xml"),
        (".json", "", "text/html,*/*", "application/json"),
        (".csv/", "", "*/*", "text/csv; charset=utf-8"),
        (".csv", "", "application/json", "text/csv; charset=utf-8"),
        ("", "", "application/json;q=0.1, text/csv", "text/csv; charset=utf-8"),
        ("", "", "application/json;q=0, text/csv;q=0.001, */*;q=0", "text/csv; charset=utf-8"),
    ],
)
def test_formats(people: People, name: str, suffix: str, query: str, accept: str, expected: str) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = people.client("admin").get(f"{BASE}/{name}{suffix}{query}", headers=headers)
    assert (answer.status_code, answer["Content-Type"]) == (200, expected)
    assert answer["Cache-Control"] == "no-store"
    body = body_of(answer)
    if "png" in expected:
        assert body.startswith(PNG)
    if "svg" in expected:
        ElementTree.fromstring(body)  # noqa: S314 - our own


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, */*;q=0.1", "application/json"),
        # The most specific media range decides about a type.
        ("*/*, application/json;q=0", "text/html"),
        ("image/*;q=0.9, image/png;q=0.1", "image/svg+xml"),
        ("text/csv, */*", "text/csv"),
        ("*/*;q=0.9, text/csv;q=0.8", "application/json"),
        ("TEXT/CSV; Q=0.5", "text/csv"),
        ("application/json; indent=2, text/csv", "application/json"),
        # An invalid weight is ignored.
        ("text/csv;q=much", "text/csv"),
        ("text/csv;q=2", "text/csv"),
        ("text/csv;q=nan", "text/csv"),
        (",", "application/json"),
        ("", "application/json"),
        ("application/json;q=0", None),
        ("*/*;q=0.000", None),
        (";;;", None),
    ],
)
def test_the_client_chooses_the_format_by_weights(people: People, accept: str, expected: str | None) -> None:
    answer = people.client("admin").get(f"{BASE}/disease-trends", HTTP_ACCEPT=accept)
    assert answer.status_code == (200 if expected else 406)
    assert answer["Content-Type"].split(";")[0] == (expected or "application/problem+json")


def test_head_has_the_status_and_type_of_get(people: People) -> None:
    for path in ("top-doctors", "top-doctors.csv", "top-doctors?format=png"):
        by_get, by_head = (getattr(people.client("doctor"), each)(f"{BASE}/{path}") for each in ("get", "head"))
        assert (by_head.status_code, by_head["Content-Type"]) == (200, by_get["Content-Type"])


def test_unknown_formats(people: People) -> None:
    client = people.client("admin")
    assert client.get(f"{BASE}/top-doctors.pdf").status_code == 404
    answer = client.get(f"{BASE}/top-doctors", HTTP_ACCEPT="application/pdf")
    assert (answer.status_code, answer["Content-Type"]) == (406, "application/problem+json")
    refused = people.client("patient").get(f"{BASE}/top-doctors.png")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")


@pytest.mark.usefixtures("records")
def test_csv_cells_are_no_formulas(people: People) -> None:
    for number, name in enumerate(('=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "a, b", 'a "b"', "\tx")):
        make_patient(people.admin, f"P9{number}")
        make_prescription(people, patient_id=f"P9{number}", disease=name.strip())
    answer = people.client("admin").get(f"{BASE}/disease-trends.csv")
    assert answer.streaming
    assert answer["Content-Disposition"].startswith('attachment; filename="disease-trends-2')
    table = list(csv.reader(io.StringIO(body_of(answer).decode())))
    assert table[0] == ["disease", "patients", "ongoing", "average_treatment_days"]
    names = {row[0] for row in table[1:]}
    assert {'\'=HYPERLINK("x")', "'+1", "'-1", "'@SUM(A1)", "a, b", 'a "b"', "Asthma", "Flu"} <= names
    assert ["Asthma", "1", "0", "52.00"] in table


@pytest.mark.usefixtures("records")
def test_a_report_reads_no_records_without_a_period(people: People) -> None:
    """A report without a period reads only the rollups."""
    database = clinical_database()
    for name in ("top-doctors", "disease-trends", "monthly-appointments-trend"):
        database.command("profile", 2)
        try:
            assert people.client("doctor").get(f"{BASE}/{name}").status_code == 200
        finally:
            database.command("profile", 0)
        read = {each["ns"].partition(".")[2] for each in database["system.profile"].find({"op": {"$ne": "insert"}})}
        database.drop_collection("system.profile")
        assert not read & {"appointments", "prescriptions"}, name
        assert "report_counters" in read

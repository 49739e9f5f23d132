"""Tests of /billing: admins write bills, patients read their own."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import Bill
from tests.people import People
from tests.prescriptions.test_prescriptions import MONEY, NO_MONEY
from tests.records import make_appointment, make_bill
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

FULL = {"patient_id": "P1", "total_cost": "80.00", "appointment_id": "A1", "disease": "Asthma", "status": "paid"}


@pytest.fixture
def admin(people: People) -> APIClient:
    make_appointment(people, appointment_id="A1")
    make_appointment(people, appointment_id="A2", patient_id="P2", time="11:00")
    return people.client("admin")


def pointers(response: Any) -> list[str]:
    return [error["pointer"] for error in response.json()["errors"]]


def test_created_bill_is_answered_and_stored(admin: APIClient):
    response = admin.post("/api/billing", FULL, format="json")
    assert response.status_code == 201
    answer = response.json()
    assert answer.items() >= FULL.items()
    assert set(answer) == {*FULL, "id", "created_at"}
    assert admin.get(f"/api/billing/{answer['id']}").json() == answer
    stored = Bill.objects.get()
    assert (stored.pk, stored.patient_id, stored.total_cost) == (answer["id"], "P1", Decimal("80.00"))


def test_defaults(admin: APIClient):
    answer = admin.post("/api/billing", {"patient_id": "P1", "total_cost": 5}, format="json").json()
    assert (answer["status"], answer["disease"], answer["appointment_id"]) == ("open", None, None)
    assert admin.get(f"/api/billing/{answer['id']}").json() == answer


@pytest.mark.parametrize("name", ["patient_id", "total_cost"])
def test_required_fields(admin: APIClient, name: str):
    for body in ({k: v for k, v in FULL.items() if k != name}, {**FULL, name: None}, {**FULL, name: ""}):
        response = admin.post("/api/billing", body, format="json")
        assert (response.status_code, pointers(response)) == (400, [f"/{name}"])
    assert not Bill.objects.exists()


@pytest.mark.parametrize(("name", "value"), [("patient_id", "P0"), ("appointment_id", "A0"), ("appointment_id", "A2")])
def test_unknown_ids(people: People, admin: APIClient, name: str, value: str):
    before = everything()
    response = admin.post("/api/billing", {**FULL, name: value}, format="json")
    # An unknown patient has no appointments either; the error names the patient.
    assert (response.status_code, pointers(response)) == (400, [f"/{name}"])
    assert changed(before, everything()) == set()


@pytest.mark.parametrize(("sent", "answered"), MONEY)
def test_money(admin: APIClient, sent: Any, answered: str):
    response = admin.post("/api/billing", {"patient_id": "P1", "total_cost": sent}, format="json")
    assert (response.status_code, response.json()["total_cost"]) == (201, answered)
    assert Bill.objects.get().total_cost == Decimal(answered)
    assert admin.get(f"/api/billing/{response.json()['id']}").json()["total_cost"] == answered


def test_invalid_amounts(admin: APIClient):
    for sent in NO_MONEY:
        response = admin.post("/api/billing", {"patient_id": "P1", "total_cost": sent}, format="json")
        assert (response.status_code, pointers(response)) == (400, ["/total_cost"]), sent
    assert not Bill.objects.exists()


def test_change_is_answered_and_stored(people: People, admin: APIClient):
    bill = make_bill(people)
    for fields in (
        {"status": "paid"},
        {"status": "void", "total_cost": "1.5"},
        {"disease": "Gout"},
        {"status": "open"},
    ):
        response = admin.patch(f"/api/billing/{bill.pk}", fields, format="json")
        assert response.status_code == 200
        assert response.json().items() >= (fields | ({"total_cost": "1.50"} if "total_cost" in fields else {})).items()
        assert admin.get(f"/api/billing/{bill.pk}").json() == response.json()
    bill.refresh_from_db()
    assert (bill.status, bill.total_cost, bill.disease) == ("open", Decimal("1.50"), "Gout")


@pytest.mark.parametrize("name", ["appointment_id", "disease"])
def test_null_clears_an_optional_field(people: People, admin: APIClient, name: str):
    bill = make_bill(people, appointment_id="A1")
    response = admin.patch(f"/api/billing/{bill.pk}", {name: None}, format="json")
    assert (response.status_code, response.json()[name]) == (200, None)
    bill.refresh_from_db()
    assert getattr(bill, name) is None


@pytest.mark.parametrize(
    "body",
    [{"patient_id": "P2"}, {"id": 7}, {"created_at": "x"}, {}, {"status": None}, {"total_cost": None}, {"status": "x"},
     {"appointment_id": "A2"}, {"appointment_id": "A0"}],
)  # fmt: skip
def test_empty_changes_are_an_error(people: People, admin: APIClient, body: dict[str, Any]):
    bill = make_bill(people)
    before = everything()
    assert admin.patch(f"/api/billing/{bill.pk}", body, format="json").status_code == 400
    assert changed(before, everything()) == set()


def test_deleted_bill_is_gone(people: People, admin: APIClient):
    bill = make_bill(people)
    assert admin.delete(f"/api/billing/{bill.pk}").status_code == 204
    assert not Bill.objects.exists()
    assert admin.get(f"/api/billing/{bill.pk}").status_code == 404


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64, 10**18, 10**19, 0])
def test_unknown_bill_numbers(admin: APIClient, number: int):
    url = f"/api/billing/{number}"
    answers = [admin.get(url), admin.patch(url, {"status": "paid"}, format="json"), admin.delete(url)]
    assert {response.status_code for response in answers} == {404}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "4 3 2 1"), ("patient_id=P1", "4 2 1"), ("status=paid", "3 2"), ("disease=Asthma", "4 1"),
        ("appointment_id=A1", "1"), ("patient_id=P1&status=paid", "2"), ("patient_id=P2&disease=Asthma", ""),
    ],
)  # fmt: skip
def test_filters_and_order(people: People, admin: APIClient, query: str, expected: str):
    """The order is the newest first."""
    for cost, patient_id, disease, status, appointment_id in [
        (1, "P1", "Asthma", "open", "A1"), (2, "P1", None, "paid", None), (3, "P2", "Gout", "paid", "A2"),
        (4, "P1", "Asthma", "void", None),
    ]:  # fmt: skip
        make_bill(
            people,
            total_cost=cost,
            patient_id=patient_id,
            disease=disease,
            status=status,
            appointment_id=appointment_id,
        )
    rows = admin.get(f"/api/billing?{query}").json()["results"]
    assert [row["total_cost"].removesuffix(".00") for row in rows] == expected.split()


def test_patient_filters_their_own_bills(people: People):
    make_bill(people)
    make_bill(people, status="paid")
    make_bill(people, patient_id="P2")
    patient = people.client("patient")
    assert len(patient.get("/api/billing").json()["results"]) == 2
    assert len(patient.get("/api/billing?status=paid").json()["results"]) == 1
    assert patient.get("/api/billing?patient_id=P2").json()["results"] == []

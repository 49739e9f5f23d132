"""Tests of /prescriptions: doctors prescribe in their own name, read all, and change their own."""

from typing import Any

import pytest
from bson import Decimal128
from django.utils import timezone
from rest_framework.test import APIClient

from appointments.models import Appointment
from prescriptions.models import Prescription
from tests.databases import clinical_database, existing
from tests.people import People, client_of, make_account
from tests.records import days_from_now, make_appointment, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

FULL = {
    "patient_id": "P1", "drug": "Amoxicillin", "dosage": "500mg", "frequency": "BID", "cost": "12.50",
    "disease": "Asthma", "appointment_id": "A1", "start_date": "2025-09-12", "duration_days": 5,
    "instructions": "with food\nand water",
}  # fmt: skip
OPTIONAL = ["cost", "disease", "appointment_id", "duration_days", "instructions"]


@pytest.fixture
def doctor(people: People) -> APIClient:
    make_appointment(people, appointment_id="A1")
    make_appointment(people, appointment_id="A2", patient_id="P2", time="11:00")
    return people.client("doctor")


def issue(client: APIClient, **fields: Any) -> Any:
    body = {"patient_id": "P1", "drug": "Amoxicillin", "dosage": "500mg", "frequency": "BID", **fields}
    return client.post("/api/prescriptions", {k: v for k, v in body.items() if v != "absent"}, format="json")


def pointers(response: Any) -> list[str]:
    return [error["pointer"] for error in response.json()["errors"]]


def test_issued_prescription_is_answered_and_stored(doctor: APIClient):
    response = doctor.post("/api/prescriptions", FULL, format="json")
    assert response.status_code == 201
    answer = response.json()
    assert answer.items() >= {**FULL, "doctor_id": "D1"}.items()
    assert set(answer) == {*FULL, "doctor_id", "id", "created_at"}
    assert doctor.get(f"/api/prescriptions/{answer['id']}").json() == answer
    stored = existing(clinical_database()["prescriptions"].find_one())
    assert (str(stored["_id"]), stored["doctor_id"], stored["cost"]) == (answer["id"], "D1", Decimal128("12.50"))


def test_defaults(doctor: APIClient):
    answer = issue(doctor).json()
    assert answer["start_date"] == str(timezone.localdate())
    assert {name: answer[name] for name in OPTIONAL} == dict.fromkeys(OPTIONAL)
    assert doctor.get(f"/api/prescriptions/{answer['id']}").json() == answer


@pytest.mark.parametrize("name", ["patient_id", "drug", "dosage", "frequency"])
def test_required_fields(doctor: APIClient, name: str):
    for value in ("absent", "", None):
        response = issue(doctor, **{name: value})
        assert (response.status_code, pointers(response)) == (400, [f"/{name}"])
    assert not Prescription.objects.exists()


def test_doctor_prescribes_as_themself(people: People, doctor: APIClient):
    assert issue(doctor, doctor_id="D1").json()["doctor_id"] == "D1"
    before = everything()
    responses = [issue(doctor, doctor_id="D2"), issue(doctor, doctor_id="D0")]
    responses.append(issue(client_of(make_account("doctor", "new@example.org"))))
    assert {response.status_code for response in responses} == {403}
    assert "mongodb prescriptions" not in changed(before, everything())


def test_doctor_prescribes_for_every_patient(doctor: APIClient):
    assert issue(doctor, patient_id="P2").status_code == 201
    response = issue(doctor, patient_id="P0")
    assert (response.status_code, pointers(response)) == (400, ["/patient_id"])


@pytest.mark.parametrize("key", ["A0", "A2"])
def test_appointment_is_one_of_the_same_patient(people: People, doctor: APIClient, key: str):
    prescription = make_prescription(people)
    before = everything()
    responses = [
        issue(doctor, appointment_id=key),
        doctor.patch(f"/api/prescriptions/{prescription.pk}", {"appointment_id": key}, format="json"),
    ]
    for response in responses:
        assert (response.status_code, pointers(response)) == (400, ["/appointment_id"])
    # The error is the same for an appointment of another patient and for an unknown one.
    assert len({response.content for response in responses}) == 1
    assert changed(before, everything()) == set()
    assert Appointment.objects.filter(pk="A2").exists()


@pytest.mark.parametrize("dosage", ["500mg", "5 mL", "0.5 mg/kg", "1 tablet", "1000 IU"])
def test_dosages_that_the_documentation_names(doctor: APIClient, dosage: str):
    assert issue(doctor, dosage=dosage).json()["dosage"] == dosage


@pytest.mark.parametrize("dosage", ["500", "mg", "-5 mg", "five mg", "500 quux", "0 mg", "1e3 mg", "1 tablet daily"])
def test_invalid_dosages(doctor: APIClient, dosage: str):
    response = issue(doctor, dosage=dosage)
    assert (response.status_code, pointers(response)) == (400, ["/dosage"])


@pytest.mark.parametrize("frequency", ["Daily", "Twice daily", "Every 8 hours", "As needed", "BID", "QHS"])
def test_frequencies_that_the_documentation_names(doctor: APIClient, frequency: str):
    assert issue(doctor, frequency=frequency).json()["frequency"] == frequency


@pytest.mark.parametrize("frequency", ["sometimes", "2", "when the moon is full", "BIDX", "Every 0 hours"])
def test_invalid_frequencies(doctor: APIClient, frequency: str):
    response = issue(doctor, frequency=frequency)
    assert (response.status_code, pointers(response)) == (400, ["/frequency"])


MONEY = [
    (12.5, "12.50"), ("12.5", "12.50"), ("12.50", "12.50"), (12, "12.00"), ("12", "12.00"), (0, "0.00"), ("0", "0.00"),
    (0.1, "0.10"), (1e2, "100.00"), ("9999999999.99", "9999999999.99"), (9999999999.99, "9999999999.99"),
    ("007", "7.00"), ("1.500", "1.50"),
]  # fmt: skip
NO_MONEY = [
    -1, "-0.01", "1.005", 1.005, "10000000000", 10**10, 10**30, 1e300, "", "abc", "1e3", "12,50", "$12", " 12", "1_000",
    "NaN", "Infinity", "+5", ".5", "5.", "\u0661", True, [], {},
]  # fmt: skip


@pytest.mark.parametrize(("sent", "answered"), MONEY)
def test_money(doctor: APIClient, sent: Any, answered: str):
    response = issue(doctor, cost=sent)
    assert (response.status_code, response.json()["cost"]) == (201, answered)
    assert doctor.get(f"/api/prescriptions/{response.json()['id']}").json()["cost"] == answered
    assert existing(clinical_database()["prescriptions"].find_one())["cost"] == Decimal128(answered)


def test_invalid_amounts(doctor: APIClient):
    for sent in NO_MONEY:
        response = issue(doctor, cost=sent)
        assert (response.status_code, pointers(response)) == (400, ["/cost"]), sent
    assert not Prescription.objects.exists()


@pytest.mark.parametrize("days", [0, -1, 36_501, 1.5, "5", True])
def test_invalid_durations(doctor: APIClient, days: Any):
    response = issue(doctor, duration_days=days)
    assert (response.status_code, pointers(response)) == (400, ["/duration_days"])


# --- Amending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["doctor", "admin"])
def test_amendment_is_answered_and_stored(people: People, doctor: APIClient, who: str):
    key = doctor.post("/api/prescriptions", FULL, format="json").json()["id"]
    client = people.client(who)
    amended = {"dosage": "250 mg", "frequency": "Daily", "cost": 3, "duration_days": 7, "start_date": "2025-09-13"}
    response = client.patch(f"/api/prescriptions/{key}", amended, format="json")
    assert response.status_code == 200
    assert response.json().items() >= {**amended, "cost": "3.00", "drug": "Amoxicillin"}.items()
    assert client.get(f"/api/prescriptions/{key}").json() == response.json()


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_clears_an_optional_field(doctor: APIClient, name: str):
    key = doctor.post("/api/prescriptions", FULL, format="json").json()["id"]
    response = doctor.patch(f"/api/prescriptions/{key}", {name: None}, format="json")
    assert (response.status_code, response.json()[name]) == (200, None)
    assert doctor.get(f"/api/prescriptions/{key}").json()[name] is None


@pytest.mark.parametrize(
    "body", [{"patient_id": "P2"}, {"doctor_id": "D2"}, {"id": "x"}, {}, {"drug": None}, {"start_date": None}]
)
def test_empty_changes_are_an_error(people: People, doctor: APIClient, body: dict[str, Any]):
    prescription = make_prescription(people)
    before = everything()
    assert doctor.patch(f"/api/prescriptions/{prescription.pk}", body, format="json").status_code == 400
    assert changed(before, everything()) == set()


def test_deleted_prescription_is_gone(people: People, doctor: APIClient):
    prescription = make_prescription(people)
    assert doctor.delete(f"/api/prescriptions/{prescription.pk}").status_code == 204
    assert not Prescription.objects.exists()
    assert doctor.delete(f"/api/prescriptions/{prescription.pk}").status_code == 404


# --- Finding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "d c b a"), ("patient_id=P1", "d b a"), ("doctor_id=D2", "d"), ("disease=Gout", "c b"),
        ("disease=gout", ""), ("patient_id=P1&disease=Gout", "b"), ("patient_id=P1&doctor_id=D1&disease=Asthma", "a"),
        ("doctor_id=D2&disease=Gout", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("who", ["doctor", "other_doctor", "admin"])
def test_filters_and_order(people: People, query: str, expected: str, who: str):
    """The order is the latest start first."""
    for drug, patient_id, doctor_id, disease, day in [
        ("a", "P1", "D1", "Asthma", 1), ("b", "P1", "D1", "Gout", 2), ("c", "P2", "D1", "Gout", 3),
        ("d", "P1", "D2", None, 4),
    ]:  # fmt: skip
        make_prescription(
            people,
            drug=drug,
            patient_id=patient_id,
            doctor_id=doctor_id,
            disease=disease,
            start_date=days_from_now(day),
        )
    response = people.client(who).get(f"/api/prescriptions?{query}")
    assert [row["drug"] for row in response.json()["results"]] == expected.split()

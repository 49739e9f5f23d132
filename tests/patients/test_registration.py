"""Registration: it creates a patient account with its record, or neither."""

from typing import Any

import pytest
from django.db import DatabaseError
from rest_framework.test import APIClient

from accounts.models import TokenFamily, User
from patients import services
from patients.models import Patient
from tests.people import PASSWORD, make_account
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

BODY = {"email": "Lin.Tao@Example.org", "password": "an uncommon phrase", "name": "Lin Tao"}


def register(**fields: Any) -> Any:
    return APIClient().post("/api/auth/register", {**BODY, **fields}, format="json")


def test_registration_makes_account_and_record():
    response = register(birth_date="1980-02-29", sex="female", phone="+41 44 123 45 67", address="Hill 1\nBern")
    assert response.status_code == 201
    user = User.objects.get()
    patient = Patient.objects.get()
    assert response.json() == {
        "user_id": user.pk,
        "email": "lin.tao@example.org",
        "role": "patient",
        "patient_id": patient.pk,
        "doctor_id": None,
    }
    assert (user.email, user.role, user.name, user.is_active) == ("lin.tao@example.org", "patient", "Lin Tao", True)
    assert not user.is_staff
    assert not user.is_superuser
    assert (patient.user_id, patient.name, patient.email) == (user.pk, "Lin Tao", "lin.tao@example.org")
    assert (str(patient.birth_date), patient.sex) == ("1980-02-29", "female")
    assert (patient.phone, patient.address) == ("+41 44 123 45 67", "Hill 1\nBern")


def test_registered_patient_logs_in_and_reads_their_record():
    made = register().json()
    login = {"email": "lin.tao@example.org", "password": "an uncommon phrase"}
    tokens = APIClient().post("/api/auth/login", login, format="json").json()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access_token']}")
    assert client.get("/api/auth/me").json() == made
    assert client.get(f"/api/patients/{made['patient_id']}").json()["name"] == "Lin Tao"


@pytest.mark.parametrize("role", ["admin", "patient", "doctor", None, ""])
def test_role_in_the_body_is_refused(role: Any):
    response = register(role=role)
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == ["/role"]
    assert not User.objects.exists()
    assert not Patient.objects.exists()


@pytest.mark.parametrize(
    "field",
    ["is_staff", "is_superuser", "is_active", "user_id", "patient_id", "diseases", "notes", "national_id", "groups"],
)
def test_other_fields_are_refused(field: str):
    response = register(**{field: 1})
    assert [error["pointer"] for error in response.json()["errors"]] == [f"/{field}"]
    assert (response.status_code, User.objects.count(), Patient.objects.count()) == (400, 0, 0)


def test_address_that_has_an_account_is_a_conflict():
    make_account("staff", "lin.tao@example.org")
    before = everything()
    response = register()
    assert response.status_code == 409
    assert [error["pointer"] for error in response.json()["errors"]] == ["/email"]
    assert changed(before, everything()) == set()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password", "x" * 11), ("password", "x" * 129), ("password", "lin.tao@example.org"), ("email", "x"),
        ("name", ""), ("name", "  "), ("birth_date", "2999-01-01"), ("age", -1),
        ("age", 151), ("sex", "f"), ("phone", "call me"),
    ],
)  # fmt: skip
def test_refused_registration_leaves_nothing(field: str, value: Any):
    before = everything()
    response = register(**{field: value})
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [f"/{field}"]
    assert changed(before, everything()) == set()


def test_record_that_fails_takes_the_account_with_it(monkeypatch: pytest.MonkeyPatch):
    def fail(**_: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(services, "create_patient", fail)
    client = APIClient(raise_request_exception=False)
    assert client.post("/api/auth/register", BODY, format="json").status_code == 500
    assert (User.objects.count(), Patient.objects.count(), TokenFamily.objects.count()) == (0, 0, 0)
    monkeypatch.undo()
    assert register().status_code == 201


def test_password_is_stored_as_a_hash():
    register()
    assert User.objects.get().check_password("an uncommon phrase")
    assert "uncommon" not in str(everything())
    assert PASSWORD not in str(everything())

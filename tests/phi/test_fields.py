"""Encrypted fields: the values in MongoDB, the values in Python, and the queries that are possible."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bson import Binary
from django.core.exceptions import FieldError
from django.db import OperationalError
from django.db.models import Q
from django.test import override_settings
from rest_framework.test import APIClient

from accounts.models import User
from healthcare.mongodb import encryption, raw
from healthcare.mongodb.encrypted_fields import encrypted_fields
from patients.models import Patient
from patients.services import create_patient, update_patient
from tests.people import People, client_of, make_account, make_patient
from tests.phi.conftest import configured, new_key

pytestmark = pytest.mark.django_db

VALUES = {
    "phone": "+41 44 123 45 67",
    "email": "ali@example.org",
    "address": "Seestrasse 1\n8002 Zürich",
    "national_id": "756.1234.5678.97",
    "notes": "Speaks Urdu – and nobody's business.",
}


def stored(patient_id: str = "P1") -> dict[str, Any]:
    document = raw.collection(Patient).find_one({"_id": patient_id})
    assert document is not None
    return {name: document[name] for name in VALUES}


@pytest.fixture
def admin() -> User:
    return make_account("admin", "admin@example.org")


def test_the_five_contact_fields_are_encrypted() -> None:
    assert set(encrypted_fields(Patient)) == set(VALUES)
    deterministic = {name for name, field in encrypted_fields(Patient).items() if field.is_deterministic}
    assert deterministic == {"email", "national_id"}


def test_values_are_encrypted_in_mongodb_and_plain_in_python(phi: None, admin: User) -> None:
    made = create_patient(actor=admin, patient_id="P1", name="Ali Raza", **VALUES)
    for value in stored().values():
        assert isinstance(value, Binary)
        assert value.subtype == 6
    read = Patient.objects.get(pk="P1")
    assert {name: getattr(read, name) for name in VALUES} == VALUES == {n: getattr(made, n) for n in VALUES}
    assert Patient.objects.values_list("phone", flat=True).get(pk="P1") == VALUES["phone"]


def test_absent_values_stay_null(phi: None, admin: User) -> None:
    make_patient(admin, "P1")
    assert set(stored().values()) == {None}


def test_equal_values_are_stored_equal_where_they_are_looked_for_only(phi: None, admin: User) -> None:
    for key in ("P1", "P2"):
        create_patient(actor=admin, patient_id=key, name="Ali Raza", **VALUES)
    one, other = stored("P1"), stored("P2")
    assert {name for name in VALUES if one[name] == other[name]} == {"email", "national_id"}


def test_patch_encrypts_and_answers_plain(phi: None, admin: User) -> None:
    make_patient(admin, "P1")
    answer = client_of(admin).patch("/api/patients/P1", VALUES, format="json")
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in VALUES} == VALUES
    assert all(encryption.is_encrypted(value) for value in stored().values())
    update_patient(actor=admin, patient_id="P1", phone=None)
    assert stored()["phone"] is None


def test_search_by_national_id(phi: None, admin: User) -> None:
    create_patient(actor=admin, patient_id="P1", name="Ali Raza", **VALUES)
    make_patient(admin, "P2", national_id="another")
    found = client_of(admin).get("/api/patients", {"national_id": VALUES["national_id"]}).json()["results"]
    assert [each["patient_id"] for each in found] == ["P1"]
    assert client_of(admin).get("/api/patients", {"national_id": "none"}).json()["results"] == []
    assert Patient.objects.get(email=VALUES["email"]).pk == "P1"
    assert Patient.objects.get(Q(national_id__in=[VALUES["national_id"]])).pk == "P1"


def test_search_finds_what_is_not_encrypted_yet(db: None, admin: User, key: bytes) -> None:
    create_patient(actor=admin, patient_id="P1", name="Ali Raza", **VALUES)
    encryption.forget()
    with override_settings(PHI_ENCRYPTION=configured(key)):
        create_patient(actor=admin, patient_id="P2", name="Bea Raza", **VALUES)
        found = client_of(admin).get("/api/patients", {"national_id": VALUES["national_id"]}).json()["results"]
    encryption.forget()
    assert [each["patient_id"] for each in found] == ["P1", "P2"]


def test_search_sends_no_plain_value_when_all_are_encrypted(
    phi: None, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from healthcare.mongodb.encrypted_fields import stored_forms

    create_patient(actor=admin, patient_id="P1", name="Ali Raza", **VALUES)
    looked_for = stored_forms(Patient, "national_id", "756")
    assert [type(each) for each in looked_for] == [str]
    field = Patient._meta.get_field("national_id")
    assert encryption.is_encrypted(field.get_db_prep_value(looked_for[0], None))


@pytest.mark.parametrize("lookup", ["icontains", "gt", "startswith", "regex", "iexact"])
@pytest.mark.parametrize("name", list(VALUES))
def test_lookups_that_encryption_prevents_are_refused(name: str, lookup: str) -> None:
    with pytest.raises(FieldError, match="encrypted"):
        Patient.objects.filter(**{f"{name}__{lookup}": "x"}).exists()


@pytest.mark.parametrize("name", ["phone", "address", "notes"])
def test_random_fields_cannot_be_looked_for(name: str) -> None:
    with pytest.raises(FieldError, match="encrypted"):
        Patient.objects.filter(**{name: "x"}).exists()


def test_registration_encrypts(phi: None) -> None:
    body = {"email": "lin@example.org", "password": "an uncommon phrase", "name": "Lin Tao", "phone": "12345"}
    answer = APIClient().post("/api/auth/register", body, format="json")
    assert answer.status_code == 201
    document = raw.collection(Patient).find_one({"_id": answer.json()["patient_id"]})
    assert document is not None
    assert encryption.is_encrypted(document["phone"])
    assert encryption.is_encrypted(document["email"])


def test_values_are_validated_before_they_are_encrypted(phi: None, admin: User) -> None:
    answer = client_of(admin).post("/api/patients", {"name": "A", "phone": "no"}, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/phone"


@pytest.mark.django_db(databases=["default", "clinical"])
def test_threads_share_one_key(phi: None, people: People) -> None:
    encryption.forget()
    barrier = threading.Barrier(8)

    def encrypt(number: int) -> str:
        barrier.wait()
        return encryption.decrypt(encryption.encrypt(f"text {number}", is_deterministic=False))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(encrypt, range(8))) == [f"text {number}" for number in range(8)]
    assert raw.collection(encryption.DATA_KEYS).count({}) == 1
    (index,) = [each for each in raw.indexes(encryption.DATA_KEYS) if each["name"] != "_id_"]
    assert index["unique"]


# --- Without the right key: nothing is written in plain text, and nothing is a 500 -----------------------------------


def test_without_a_key_encrypted_values_are_not_shown(phi: None, admin: User) -> None:
    create_patient(actor=admin, patient_id="P1", name="Ali Raza", **VALUES)
    client = client_of(admin)
    client.raise_request_exception = False
    with override_settings(PHI_ENCRYPTION=None):
        with pytest.raises(OperationalError):
            Patient.objects.get(pk="P1")
        answer = client.get("/api/patients/P1")
    assert answer.status_code == 503
    assert "Retry-After" in answer


def test_with_another_key_nothing_is_written(phi: None, admin: User) -> None:
    make_patient(admin, "P1", phone="12345")
    client = client_of(admin)
    client.raise_request_exception = False
    with override_settings(PHI_ENCRYPTION=configured(new_key())):
        encryption.forget()
        answer = client.patch("/api/patients/P1", {"phone": "99999"}, format="json")
    encryption.forget()
    assert answer.status_code == 503
    assert Patient.objects.get(pk="P1").phone == "12345"


def test_tampered_value_is_not_shown(phi: None, admin: User) -> None:
    make_patient(admin, "P1", phone="12345")
    value = bytes(stored()["phone"])
    other = Binary(value[:-1] + bytes([value[-1] ^ 1]), 6)
    raw.collection(Patient).update_one({"_id": "P1"}, {"$set": {"phone": other}})
    client = client_of(admin)
    client.raise_request_exception = False
    assert client.get("/api/patients/P1").status_code == 503

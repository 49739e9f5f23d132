"""Tests of /patients: stored values, responses, what a patient may change, filters, and prevented deletions."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from patients.models import Patient
from patients.services import age_on, estimated_birth_date
from tests.people import People, make_account, make_patient
from tests.records import make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

FULL = {
    "patient_id": "P9", "name": "Lin Tao", "birth_date": "1980-02-29", "sex": "female", "diseases": ["Asthma", "Gout"],
    "phone": "+41 44 123 45 67", "email": "lin@example.org", "address": "Hill 1\nBern", "national_id": "756.1234",
    "notes": "likes\ttea", "user_id": None,
}  # fmt: skip
OPTIONAL = ["birth_date", "sex", "phone", "email", "address", "national_id", "notes", "user_id"]


@pytest.fixture
def admin(people: People) -> APIClient:
    return people.client("admin")


@pytest.fixture
def owner(people: People) -> APIClient:
    return people.client("patient")


def years_ago(years: int) -> str:
    return str(estimated_birth_date(years, timezone.localdate()))


# --- Creating --------------------------------------------------------------------------------------------------------


def test_created_patient_is_answered_and_stored(admin: APIClient):
    response = admin.post("/api/patients", FULL, format="json")
    assert response.status_code == 201
    answer = response.json()
    age = age_on(date(1980, 2, 29), timezone.localdate())
    assert answer.items() >= {**FULL, "age": age, "appointments": [], "prescriptions": []}.items()
    assert set(answer) == {*FULL, "age", "appointments", "prescriptions", "created_at"}
    assert admin.get("/api/patients/P9").json() == answer
    stored = Patient.objects.get(pk="P9")
    assert (stored.name, stored.birth_date, stored.diseases) == ("Lin Tao", date(1980, 2, 29), ["Asthma", "Gout"])


def test_optional_fields_are_null_or_empty_in_the_response(admin: APIClient):
    answer = admin.post("/api/patients", {"name": "Lin"}, format="json").json()
    assert {name: answer[name] for name in [*OPTIONAL, "age"]} == dict.fromkeys([*OPTIONAL, "age"])
    assert answer["diseases"] == answer["appointments"] == answer["prescriptions"] == []
    assert admin.get(f"/api/patients/{answer['patient_id']}").json() == answer


def test_id_is_generated_if_absent(admin: APIClient):
    ids = {admin.post("/api/patients", {"name": "Lin"}, format="json").json()["patient_id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(re.fullmatch(r"P[0-9A-Z]{10}", each) for each in ids)


@pytest.mark.django_db(transaction=True, databases=["default", "clinical"])
def test_concurrently_generated_ids_are_unique(monkeypatch: pytest.MonkeyPatch):
    """A generated id that exists is generated again: here only 40 ids exist for 20 patients."""
    user = make_account("admin", "admin@example.org")
    numbers = iter([n for n in range(40) for _ in range(3)])
    monkeypatch.setattr("patients.services.new_id", lambda prefix: f"{prefix}{next(numbers)}")

    def create(_: int) -> Any:
        client = APIClient()
        client.force_authenticate(user)
        try:
            return client.post("/api/patients", {"name": "Lin"}, format="json")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(create, range(20)))
    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["patient_id"] for response in responses}) == Patient.objects.count() == 20


def test_duplicate_id_is_a_conflict(admin: APIClient):
    before = everything()
    response = admin.post("/api/patients", {**FULL, "patient_id": "P1"}, format="json")
    assert response.status_code == 409
    assert [error["pointer"] for error in response.json()["errors"]] == ["/patient_id"]
    assert changed(before, everything()) == set()


@pytest.mark.parametrize("key", ["", "-P1", ".P1", "_P1", "P 1", "P/1", "P1\n", "Pé", "x" * 65, "P1%", "P#", "P1?"])
def test_invalid_ids(admin: APIClient, key: str):
    response = admin.post("/api/patients", {**FULL, "patient_id": key}, format="json")
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == ["/patient_id"]


def test_white_space_around_text_is_removed(admin: APIClient):
    answer = admin.post("/api/patients", {"name": "  Lin Tao ", "diseases": [" Gout"]}, format="json").json()
    assert (answer["name"], answer["diseases"]) == ("Lin Tao", ["Gout"])


def test_duplicate_diseases_are_removed(admin: APIClient):
    body = {"name": "Lin", "diseases": ["Gout", "Asthma", "Gout", "gout"]}
    assert admin.post("/api/patients", body, format="json").json()["diseases"] == ["Gout", "Asthma", "gout"]
    too_many = {"name": "Lin", "diseases": [f"d{n}" for n in range(101)]}
    assert admin.post("/api/patients", too_many, format="json").status_code == 400


# --- Age and birth date ----------------------------------------------------------------------------------------------


def test_age_alone_gives_an_estimated_birth_date(admin: APIClient):
    answer = admin.post("/api/patients", {"name": "Lin", "age": 47}, format="json").json()
    assert (answer["age"], answer["birth_date"]) == (47, years_ago(47))


@pytest.mark.parametrize("age", [0, 150])
def test_ages_at_the_ends(admin: APIClient, age: int):
    response = admin.post("/api/patients", {"name": "Lin", "age": age}, format="json")
    assert (response.status_code, response.json()["age"]) == (201, age)


@pytest.mark.parametrize(("off", "status"), [(0, 201), (1, 400), (-1, 400)])
def test_age_must_fit_the_birth_date(admin: APIClient, off: int, status: int):
    age = age_on(date(1980, 2, 29), timezone.localdate())
    response = admin.post("/api/patients", {**FULL, "age": age + off}, format="json")
    assert response.status_code == status
    assert Patient.objects.filter(pk="P9").exists() == (status == 201)
    if status == 400:
        assert [error["pointer"] for error in response.json()["errors"]] == ["/age"]


def test_age_that_agrees_with_what_is_known_keeps_the_birth_date(admin: APIClient):
    admin.patch("/api/patients/P1", {"birth_date": "1980-02-29"}, format="json")
    age = age_on(date(1980, 2, 29), timezone.localdate())
    assert admin.patch("/api/patients/P1", {"age": age}, format="json").json()["birth_date"] == "1980-02-29"
    assert admin.patch("/api/patients/P1", {"age": 30}, format="json").json()["birth_date"] == years_ago(30)


@pytest.mark.parametrize(
    ("born", "today", "age"),
    [
        ("2000-02-29", "2025-02-28", 24), ("2000-02-29", "2025-03-01", 25), ("2000-02-29", "2024-02-29", 24),
        ("1990-06-15", "2025-06-14", 34), ("1990-06-15", "2025-06-15", 35), ("2025-06-15", "2025-06-15", 0),
    ],
)  # fmt: skip
def test_age_by_hand(born: str, today: str, age: int):
    assert age_on(date.fromisoformat(born), date.fromisoformat(today)) == age


def test_estimate_on_a_leap_day():
    assert estimated_birth_date(1, date(2024, 2, 29)) == date(2023, 2, 28)
    assert estimated_birth_date(4, date(2024, 2, 29)) == date(2020, 2, 29)


def test_birth_date_in_the_future_is_refused(admin: APIClient):
    tomorrow = timezone.localdate().replace(year=timezone.localdate().year + 1)
    response = admin.post("/api/patients", {"name": "Lin", "birth_date": str(tomorrow)}, format="json")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/birth_date"]
    assert admin.post("/api/patients", {"name": "L", "birth_date": years_ago(0)}, format="json").status_code == 201


# --- The account -----------------------------------------------------------------------------------------------------


def test_account_link(people: People, admin: APIClient):
    account = make_account("patient", "lin@example.org")
    answer = admin.post("/api/patients", {**FULL, "user_id": account.pk}, format="json").json()
    assert answer["user_id"] == account.pk
    # An account has at most one record, and a record at most one account.
    for response in (
        admin.post("/api/patients", {"name": "Lin", "user_id": account.pk}, format="json"),
        admin.patch("/api/patients/P2", {"user_id": account.pk}, format="json"),
    ):
        assert response.status_code == 409
        assert [error["pointer"] for error in response.json()["errors"]] == ["/user_id"]
    assert Patient.objects.get(user_id=account.pk).pk == "P9"
    assert admin.patch("/api/patients/P9", {"user_id": None}, format="json").json()["user_id"] is None
    assert admin.patch("/api/patients/P2", {"user_id": account.pk}, format="json").status_code == 200


def test_account_must_exist_and_be_a_patient_s(people: People, admin: APIClient):
    before = everything()
    for number in (10**9, people.doctor.pk, people.admin.pk, people.staff.pk):
        for response in (
            admin.post("/api/patients", {"name": "Lin", "user_id": number}, format="json"),
            admin.patch("/api/patients/P1", {"user_id": number}, format="json"),
        ):
            assert response.status_code == 400
            assert [error["pointer"] for error in response.json()["errors"]] == ["/user_id"]
    assert changed(before, everything()) == set()


# --- Changing --------------------------------------------------------------------------------------------------------


def test_change_is_answered_and_stored(admin: APIClient):
    admin.post("/api/patients", FULL, format="json")
    response = admin.patch("/api/patients/P9", {"name": "Tao Lin", "diseases": []}, format="json")
    assert response.status_code == 200
    assert (response.json()["name"], response.json()["diseases"]) == ("Tao Lin", [])
    assert admin.get("/api/patients/P9").json() == response.json()
    # Other fields keep their values.
    assert response.json()["notes"] == "likes\ttea"


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_clears_an_optional_field(admin: APIClient, name: str):
    admin.post("/api/patients", FULL, format="json")
    response = admin.patch("/api/patients/P9", {name: None}, format="json")
    assert (response.status_code, response.json()[name]) == (200, None)
    assert getattr(Patient.objects.get(pk="P9"), name) is None
    assert admin.get("/api/patients/P9").json()[name] is None


@pytest.mark.parametrize("body", [{"name": None}, {"diseases": None}, {"age": None}, {}, {"patient_id": "P7"}])
def test_empty_changes_are_an_error(admin: APIClient, body: dict[str, Any]):
    before = everything()
    assert admin.patch("/api/patients/P1", body, format="json").status_code == 400
    assert changed(before, everything()) == set()


OWNERS = {
    "name": "Ali R. Raza", "birth_date": "1979-01-02", "phone": "044 123 45 67", "email": "new@example.org",
    "address": "Hill 2",
}  # fmt: skip


@pytest.mark.parametrize("name", OWNERS)
def test_owner_changes_name_birth_date_and_contact_data(owner: APIClient, name: str):
    response = owner.patch("/api/patients/P1", {name: OWNERS[name]}, format="json")
    assert (response.status_code, response.json()[name]) == (200, OWNERS[name])
    assert owner.get("/api/patients/P1").json() == response.json()


def test_owner_changes_age(owner: APIClient):
    assert owner.patch("/api/patients/P1", {"age": 30}, format="json").json()["birth_date"] == years_ago(30)


@pytest.mark.parametrize(
    "body",
    [
        {"diseases": ["Gout"]}, {"user_id": None}, {"national_id": "x"}, {"notes": "x"}, {"sex": "male"},
        {"patient_id": "P7"}, {"appointments": []}, {"prescriptions": []}, {"revision": 7}, {"created_at": "x"},
    ],
)  # fmt: skip
def test_owner_changes_nothing_else(owner: APIClient, body: dict[str, Any]):
    before = everything()
    (name,) = body
    response = owner.patch("/api/patients/P1", {**body, "name": "X"}, format="json")
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [f"/{name}"]
    assert changed(before, everything()) == set()


# --- Finding ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def some(people: People) -> People:
    make_patient(people.admin, "P3", name="Maria-José Núñez", diseases=["Asthma", "Type 2 diabetes"], national_id="N3")
    make_patient(people.admin, "P4", name="Ali Haddad", diseases=["asthma"], national_id="N4")
    return people


def found(client: APIClient, query: str) -> list[str]:
    response = client.get(f"/api/patients?{query}")
    assert response.status_code == 200, response.content
    return [row["patient_id"] for row in response.json()["results"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["P4", "P1", "P3", "P2"]),
        ("search=ali", ["P4", "P1"]),
        ("search=ALI", ["P4", "P1"]),
        ("search=raza ali", ["P1"]),
        ("search=ali%20raza%20noor", []),
        ("search=al", []),
        ("search=nunez", ["P3"]),
        ("search=José", ["P3"]),
        ("search=maria-jose", ["P3"]),
        ("search=-ali", ["P4", "P1"]),
        ("search=%22ali%20raza%22", ["P1"]),
        ("search=!!", []),
        ("disease=Asthma", ["P3"]),
        ("disease=Type 2 diabetes", ["P3"]),
        ("disease=Type", []),
        ("national_id=N4", ["P4"]),
        ("search=ali&disease=asthma", ["P4"]),
        ("search=maria&national_id=N4", []),
    ],
)
def test_filters(some: People, query: str, expected: list[str]):
    assert found(some.client("admin"), query) == expected


def test_doctor_does_not_search_by_national_id(some: People):
    doctor = some.client("doctor")
    assert doctor.get("/api/patients?national_id=N4").status_code == 400
    assert found(doctor, "search=ali&disease=asthma") == ["P4"]


def test_search_pages(some: People):
    client = some.client("admin")
    page = client.get("/api/patients?search=ali&page_size=1").json()
    assert [row["patient_id"] for row in page["results"]] == ["P4"]
    page = client.get(page["next"]).json()
    assert ([row["patient_id"] for row in page["results"]], page["next"]) == (["P1"], None)
    page = client.get(page["previous"]).json()
    assert [row["patient_id"] for row in page["results"]] == ["P4"]


# --- Deleting --------------------------------------------------------------------------------------------------------


def test_deleted_patient_is_gone(admin: APIClient):
    response = admin.delete("/api/patients/P2")
    assert (response.status_code, response.content) == (204, b"")
    assert not Patient.objects.filter(pk="P2").exists()
    assert admin.get("/api/patients/P2").status_code == admin.delete("/api/patients/P2").status_code == 404


@pytest.mark.parametrize(
    ("make", "words"),
    [(make_appointment, "1 appointment"), (make_prescription, "1 prescription"), (make_bill, "1 bill")],
)
def test_patient_whom_a_record_names_is_not_deleted(people: People, admin: APIClient, make: Any, words: str):
    make(people)
    before = everything()
    response = admin.delete("/api/patients/P1")
    assert response.status_code == 409
    assert response.json()["detail"] == f"This patient cannot be deleted: it is named by {words}."
    assert changed(before, everything()) == set()


def test_error_names_every_kind_of_record_that_prevents_the_deletion(people: People, admin: APIClient):
    make_appointment(people)
    make_prescription(people)
    make_prescription(people)
    make_bill(people)
    detail = admin.delete("/api/patients/P1").json()["detail"]
    assert detail == "This patient cannot be deleted: it is named by 1 appointment, 2 prescriptions, 1 bill."

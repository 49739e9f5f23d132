"""Tests of /accounts: admins create and change the accounts of doctors, staff and admins."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from tests.people import PASSWORD, make_account

pytestmark = pytest.mark.django_db

NEW = {"email": "Amara@Example.org", "password": "an uncommon phrase", "role": "doctor", "name": "Amara Okafor"}


@pytest.fixture
def admin(db: None) -> User:
    return make_account("admin", "admin@example.org")


@pytest.fixture
def client(admin: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(admin)
    return client


@pytest.mark.parametrize("role", ["patient", "doctor", "staff", "admin"])
def test_created_account_is_answered_and_stored(client: APIClient, role: str):
    response = client.post("/api/accounts", {**NEW, "role": role}, format="json")
    assert response.status_code == 201
    answer = response.json()
    assert set(answer) == {"id", "email", "name", "role", "is_active", "created_at"}
    assert (answer["email"], answer["name"], answer["role"]) == ("amara@example.org", "Amara Okafor", role)
    assert answer["is_active"] is True
    assert client.get(f"/api/accounts/{answer['id']}").json() == answer
    stored = User.objects.get(pk=answer["id"])
    assert (stored.email, stored.role) == ("amara@example.org", role)
    assert stored.check_password("an uncommon phrase")
    assert stored.is_staff == (role in ("doctor", "staff", "admin"))
    assert stored.is_superuser == (role == "admin")
    login = {"email": "AMARA@example.org", "password": "an uncommon phrase"}
    assert APIClient().post("/api/auth/login", login, format="json").status_code == 200


def test_password_is_never_answered(client: APIClient):
    made = client.post("/api/accounts", NEW, format="json")
    for response in (made, client.get("/api/accounts"), client.get(f"/api/accounts/{made.json()['id']}")):
        assert b"password" not in response.content
        assert b"md5$" not in response.content


@pytest.mark.parametrize("email", ["admin@example.org", "ADMIN@EXAMPLE.ORG", " admin@example.org "])
def test_address_that_has_an_account_is_a_conflict(client: APIClient, email: str):
    response = client.post("/api/accounts", {**NEW, "email": email}, format="json")
    assert response.status_code == 409
    assert [error["pointer"] for error in response.json()["errors"]] == ["/email"]
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"), ("email", "a@b"), ("email", "a b@example.org"), ("email", f"{'x' * 250}@example.org"),
        ("password", "x" * 11), ("password", "x" * 129), ("password", "amara@example.org"),
        ("password", "123456789012"),
        ("password", "password1234"), ("role", "superuser"), ("role", "Admin"), ("role", ""), ("name", "x" * 201),
    ],
)  # fmt: skip
def test_refused_account_is_not_stored(client: APIClient, field: str, value: str):
    response = client.post("/api/accounts", {**NEW, field: value}, format="json")
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [f"/{field}"]
    assert User.objects.count() == 1


@pytest.mark.parametrize("field", ["email", "password", "role"])
def test_required_fields(client: APIClient, field: str):
    body = {name: value for name, value in NEW.items() if name != field}
    response = client.post("/api/accounts", body, format="json")
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [f"/{field}"]


def test_name_is_optional_and_answered(client: APIClient):
    body = {name: value for name, value in NEW.items() if name != "name"}
    assert client.post("/api/accounts", body, format="json").json()["name"] == ""


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "staff"}, {"is_active": False, "role": "admin"}])
def test_change_is_answered_and_stored(client: APIClient, change: dict[str, Any]):
    user = make_account("doctor", "d@example.org")
    response = client.patch(f"/api/accounts/{user.pk}", change, format="json")
    assert response.status_code == 200
    assert change.items() <= response.json().items()
    assert client.get(f"/api/accounts/{user.pk}").json() == response.json()
    user.refresh_from_db()
    assert {name: getattr(user, name) for name in change} == change


@pytest.mark.parametrize("change", [{"email": "x@example.org"}, {"password": "an uncommon phrase"}, {"name": "x"}, {}])
def test_other_fields_are_not_changed_here(client: APIClient, change: dict[str, Any]):
    user = make_account("doctor", "d@example.org")
    assert client.patch(f"/api/accounts/{user.pk}", change, format="json").status_code == 400
    user.refresh_from_db()
    assert (user.email, user.name) == ("d@example.org", "doctor d")
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "staff"}])
def test_admin_cannot_disable_their_own_account(client: APIClient, admin: User, change: dict[str, Any]):
    """If the last admin could disable their own account, nobody could undo it."""
    assert client.patch(f"/api/accounts/{admin.pk}", change, format="json").status_code == 409
    admin.refresh_from_db()
    assert (admin.is_active, admin.role) == (True, "admin")


def test_filters(client: APIClient):
    for role in ("doctor", "staff", "patient"):
        make_account(role, f"{role}@example.org")
    User.objects.filter(role="staff").update(is_active=False)

    def roles(query: str) -> list[str]:
        return [row["role"] for row in client.get(f"/api/accounts?{query}").json()["results"]]

    assert roles("") == ["admin", "doctor", "staff", "patient"]
    assert roles("role=doctor") == ["doctor"]
    assert roles("is_active=false") == ["staff"]
    assert roles("is_active=true") == ["admin", "doctor", "patient"]
    assert roles("email=PATIENT@example.org") == ["patient"]
    assert roles("role=doctor&is_active=false") == []

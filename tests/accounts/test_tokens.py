"""Login, refresh and logout: which tokens are valid, and what ends them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import TokenFamily, User
from healthcare import settings as project_settings
from tests.people import PASSWORD, People, make_account

pytestmark = pytest.mark.django_db

NO_STORE = "no-store"


@pytest.fixture
def user(db: None) -> User:
    return make_account("patient", "ali@example.org")


def post(url: str, body: dict[str, Any], bearer: str | None = None) -> Any:
    client = APIClient()
    if bearer:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {bearer}")
    return client.post(f"/api/auth/{url}", body, format="json")


def log_in(email: str = "ali@example.org", password: str = PASSWORD) -> Any:
    return post("login", {"email": email, "password": password})


def refresh(token: str) -> Any:
    return post("refresh", {"refresh_token": token})


def status_of_me(access: str) -> int:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return client.get("/api/auth/me").status_code


# --- Login -----------------------------------------------------------------------------------------------------------


def test_login_answer(user: User):
    response = log_in()
    assert response.status_code == 200
    assert response["Cache-Control"] == NO_STORE
    pair = response.json()
    assert set(pair) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 900)
    claims = jwt.decode(pair["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900
    family = TokenFamily.objects.get()
    assert (family.user, family.ended_at) == (user, None)
    assert status_of_me(pair["access_token"]) == 200


@pytest.mark.parametrize("email", ["ali@example.org", "ALI@Example.ORG", "  ali@example.org "])
def test_login_by_any_spelling_of_the_address(user: User, email: str):
    assert log_in(email).status_code == 200


def test_unknown_address_wrong_password_and_disabled_account_get_one_answer(user: User):
    make_account("patient", "gone@example.org")
    User.objects.filter(email="gone@example.org").update(is_active=False)
    answers = [log_in("nobody@example.org"), log_in(password="x" * 12), log_in("gone@example.org")]
    assert {response.status_code for response in answers} == {401}
    assert len({response.content for response in answers}) == 1
    assert all(response["WWW-Authenticate"].startswith("Bearer") for response in answers)
    assert not TokenFamily.objects.exists()


@pytest.mark.parametrize("way", ["/api/auth/login", "/admin/login/", "/session/login/"])
def test_every_refused_login_costs_one_hash(user: User, monkeypatch: pytest.MonkeyPatch, way: str):
    """Every failed login computes one hash, so that its time does not disclose which accounts exist."""
    make_account("admin", "gone@example.org")
    User.objects.filter(email="gone@example.org").update(is_active=False)
    without_password = make_account("patient", "provider@example.org")
    without_password.set_unusable_password()
    without_password.save()
    hashed = []
    encode = MD5PasswordHasher.encode

    def count_and_encode(*args: Any, **kwargs: Any) -> str:
        hashed.append(1)
        return encode(*args, **kwargs)

    monkeypatch.setattr(MD5PasswordHasher, "encode", count_and_encode)
    for email, password in (
        ("nobody@example.org", PASSWORD),
        ("ali@example.org", "x" * 12),
        ("gone@example.org", PASSWORD),
        ("gone@example.org", "x" * 12),
        ("provider@example.org", PASSWORD),
    ):
        hashed.clear()
        if way.startswith("/api"):
            assert log_in(email, password).status_code == 401
        else:
            browser = Client()
            assert browser.post(way, {"username": email, "password": password}).status_code == 200
            assert "_auth_user_id" not in browser.session
        assert len(hashed) == 1, (email, password)


@pytest.mark.parametrize("password", [PASSWORD + " ", " " + PASSWORD, PASSWORD.upper(), PASSWORD[:-1], ""])
def test_password_is_compared_as_it_is_typed(user: User, password: str):
    assert log_in(password=password).status_code in (400, 401)
    assert not TokenFamily.objects.exists()


# --- Access tokens ---------------------------------------------------------------------------------------------------


def test_me(people: People):
    expected = {
        "patient": ("patient", "P1", None), "doctor": ("doctor", None, "D1"), "staff": ("staff", None, None),
        "admin": ("admin", None, None),
    }  # fmt: skip
    for who, (role, patient_id, doctor_id) in expected.items():
        user = getattr(people, who)
        assert people.client(who).get("/api/auth/me").json() == {
            "user_id": user.pk, "email": user.email, "role": role, "patient_id": patient_id, "doctor_id": doctor_id,
        }  # fmt: skip


def forged(token: str, **claims: Any) -> str:
    header, payload, signature = token.split(".")
    values = json.loads(urlsafe_b64decode(payload + "==")) | claims
    return f"{header}.{urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip('=')}.{signature}"


def signed(
    claims: dict[str, Any], *, key: str = str(settings.SIMPLE_JWT["SIGNING_KEY"]), algorithm: str = "HS256"
) -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


def test_invalid_tokens(user: User):
    pair = tokens.start_family(user)
    good = jwt.decode(pair["access_token"], options={"verify_signature": False})
    other = make_account("admin", "admin@example.org")
    assert status_of_me(signed(good)) == 200
    bad = {
        "nothing": "", "garbage": "x.y.z", "not ASCII": "\xe9", "refresh token": pair["refresh_token"],
        "other account, not signed": forged(pair["access_token"], user_id=str(other.pk)),
        "other account, signed": signed({**good, "user_id": str(other.pk)}),
        "expired": signed({**good, "exp": good["iat"] - 10}), "other key": signed(good, key="x" * 64),
        "no algorithm": jwt.encode(good, "", algorithm="none"), "other algorithm": signed(good, algorithm="HS512"),
        "other issuer": signed({**good, "iss": "x"}), "other audience": signed({**good, "aud": "x"}),
        "no family": signed({k: v for k, v in good.items() if k != "family"}),
        "no version": signed({k: v for k, v in good.items() if k != "version"}),
        "family of nobody": signed({**good, "family": good["family"] + 1_000}),
        "family as text": signed({**good, "family": "1 OR 1=1"}), "family too large": signed({**good, "family": 2**70}),
        "old version": signed({**good, "version": -1}),
        "no expiry": signed({k: v for k, v in good.items() if k != "exp"}),
    }  # fmt: skip
    for reason, token in bad.items():
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        response = client.get("/api/auth/me")
        assert response.status_code == 401, reason
        assert response["Content-Type"] == "application/problem+json"
        assert response["WWW-Authenticate"].startswith("Bearer")
        # A path that needs no token verifies one that is sent.
        assert client.get("/api").status_code == 401, reason


# --- Refreshing ------------------------------------------------------------------------------------------------------


def test_refresh_rotates(user: User):
    first = log_in().json()
    response = refresh(first["refresh_token"])
    assert response.status_code == 200
    assert response["Cache-Control"] == NO_STORE
    second = response.json()
    assert set(second) == set(first)
    assert second["refresh_token"] != first["refresh_token"]
    assert status_of_me(second["access_token"]) == 200
    assert refresh(second["refresh_token"]).status_code == 200
    assert TokenFamily.objects.count() == 1


def test_replay_is_refused_and_ends_the_family(user: User):
    elsewhere = log_in().json()
    first = log_in().json()
    second = refresh(first["refresh_token"]).json()
    response = refresh(first["refresh_token"])
    assert response.status_code == 401
    # The server cannot know which of the two users is the thief: the family ends, and with it its access tokens.
    assert refresh(second["refresh_token"]).status_code == 401
    assert status_of_me(second["access_token"]) == status_of_me(first["access_token"]) == 401
    assert TokenFamily.objects.filter(ended_at=None).count() == 1
    # Another login of the same account is another family, which remains open.
    assert status_of_me(elsewhere["access_token"]) == 200
    assert refresh(elsewhere["refresh_token"]).status_code == 200


@pytest.mark.parametrize("bearer", ["expired", "garbage", "ended"])
def test_bad_access_token_does_not_prevent_a_refresh(user: User, bearer: str):
    """Clients send the Authorization header with every request, also with a refresh."""
    pair, ended = log_in().json(), log_in().json()
    claims = jwt.decode(pair["access_token"], options={"verify_signature": False})
    post("logout", {"refresh_token": ended["refresh_token"]})
    token = {
        "expired": signed({**claims, "exp": claims["iat"] - 10}),
        "garbage": "x.y.z",
        "ended": ended["access_token"],
    }[bearer]
    renewed = post("refresh", {"refresh_token": pair["refresh_token"]}, bearer=token)
    assert renewed.status_code == 200
    assert post("login", {"email": "ali@example.org", "password": PASSWORD}, bearer=token).status_code == 200
    body = {"email": "noor@example.org", "password": "an uncommon phrase", "name": "Noor"}
    assert post("register", body, bearer=token).status_code == 201
    assert post("logout", {"refresh_token": renewed.json()["refresh_token"]}, bearer=token).status_code == 204
    assert status_of_me(renewed.json()["access_token"]) == 401
    assert post("password", {}, bearer=token).status_code == 401


@pytest.mark.parametrize("what", ["access_token", "garbage", "expired", "other key"])
def test_invalid_refresh_tokens(user: User, what: str):
    pair = log_in().json()
    claims = jwt.decode(pair["refresh_token"], options={"verify_signature": False})
    token = {
        "access_token": pair["access_token"],
        "garbage": "x.y.z",
        "expired": signed({**claims, "exp": claims["iat"] - 10}),
        "other key": signed(claims, key="x" * 64),
    }[what]
    for url in ("refresh", "logout"):
        response = post(url, {"refresh_token": token})
        assert response.status_code == 401
        assert response["WWW-Authenticate"].startswith("Bearer")
    assert status_of_me(pair["access_token"]) == 200


def test_refresh_token_lives_for_14_days(user: User):
    claims = jwt.decode(log_in().json()["refresh_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 14 * 24 * 3600


def test_families_that_have_expired_are_cleared_away(user: User):
    log_in()
    user.token_families.update(expires_at=timezone.now() - timedelta(seconds=1))
    ended = log_in().json()["refresh_token"]
    assert post("logout", {"refresh_token": ended}).status_code == 204
    log_in()
    # A family that was ended is kept until its tokens would have expired.
    assert user.token_families.filter(ended_at=None).count() == 1
    assert user.token_families.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_refreshes_at_once_give_one_pair():
    make_account("patient", "ali@example.org")
    token = log_in().json()["refresh_token"]

    def go(_: int) -> int:
        try:
            return refresh(token).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(go, range(4)))
    assert statuses.count(200) <= 1
    assert set(statuses) <= {200, 401}
    assert TokenFamily.objects.filter(ended_at=None).count() == 0


# --- What ends tokens ------------------------------------------------------------------------------------------------


def test_logout_ends_the_family_at_once(user: User):
    pair, elsewhere = log_in().json(), log_in().json()
    response = post("logout", {"refresh_token": pair["refresh_token"]}, bearer=pair["access_token"])
    assert (response.status_code, response.content) == (204, b"")
    assert status_of_me(pair["access_token"]) == 401
    assert refresh(pair["refresh_token"]).status_code == 401
    assert status_of_me(elsewhere["access_token"]) == 200
    assert post("logout", {"refresh_token": pair["refresh_token"]}).status_code == 401


def test_logout_without_a_refresh_token_ends_the_session_of_the_access_token(user: User):
    pair, elsewhere = log_in().json(), log_in().json()
    assert post("logout", {}).status_code == 401, "nobody's session"
    assert post("logout", {}, bearer=pair["access_token"]).status_code == 204
    assert status_of_me(pair["access_token"]) == 401
    assert refresh(pair["refresh_token"]).status_code == 401
    assert status_of_me(elsewhere["access_token"]) == 200


def test_logout_with_somebody_else_s_token_is_refused(user: User):
    make_account("patient", "noor@example.org")
    mine, theirs = log_in().json(), log_in("noor@example.org").json()
    assert post("logout", {"refresh_token": theirs["refresh_token"]}, bearer=mine["access_token"]).status_code == 401
    assert status_of_me(theirs["access_token"]) == 200


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "doctor"}])
def test_disabled_account_and_changed_role_end_every_token(user: User, change: dict[str, Any]):
    admin = make_account("admin", "admin@example.org")
    pair, elsewhere = log_in().json(), log_in().json()
    client = APIClient()
    client.force_authenticate(admin)
    assert client.patch(f"/api/accounts/{user.pk}", change, format="json").status_code == 200
    for each in (pair, elsewhere):
        assert status_of_me(each["access_token"]) == 401
        assert refresh(each["refresh_token"]).status_code == 401
    if change == {"is_active": False}:
        assert log_in().status_code == 401
        assert client.patch(f"/api/accounts/{user.pk}", {"is_active": True}, format="json").status_code == 200
        # The old tokens remain invalid after the account is enabled again.
        assert status_of_me(pair["access_token"]) == refresh(pair["refresh_token"]).status_code == 401
    assert log_in().status_code == 200


def test_change_that_changes_nothing_ends_nothing(user: User):
    admin = make_account("admin", "admin@example.org")
    pair = log_in().json()
    client = APIClient()
    client.force_authenticate(admin)
    body = {"is_active": True, "role": "patient"}
    assert client.patch(f"/api/accounts/{user.pk}", body, format="json").status_code == 200
    assert status_of_me(pair["access_token"]) == 200


def test_new_password_ends_every_token(user: User):
    pair, elsewhere = log_in().json(), log_in().json()
    body = {"current_password": PASSWORD, "new_password": "an uncommon phrase"}
    assert post("password", body, bearer=pair["access_token"]).status_code == 204
    for each in (pair, elsewhere):
        assert status_of_me(each["access_token"]) == 401
        assert refresh(each["refresh_token"]).status_code == 401
    assert log_in().status_code == 401
    assert log_in(password="an uncommon phrase").status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "pointer"),
    [
        ("x" * 12, "an uncommon phrase", "/current_password"),
        (PASSWORD, PASSWORD, "/new_password"),
        (PASSWORD, "x" * 11, "/new_password"),
        (PASSWORD, "x" * 129, "/new_password"),
        (PASSWORD, "ali@example.org", "/new_password"),
        (PASSWORD, "1234567890123", "/new_password"),
    ],
)
def test_refused_password_changes_nothing(user: User, current: str, new: str, pointer: str):
    pair = log_in().json()
    response = post("password", {"current_password": current, "new_password": new}, bearer=pair["access_token"])
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert status_of_me(pair["access_token"]) == 200
    assert log_in().status_code == 200


def test_passwords_of_12_and_of_128_characters_and_of_any_script(user: User):
    for password in ("twelve chars", "pass phrase " * 10 + "12345678", "пароль из слов", "  spaces count  "):
        user.set_password(PASSWORD)
        user.save()
        access = log_in().json()["access_token"]
        body = {"current_password": PASSWORD, "new_password": password}
        assert post("password", body, bearer=access).status_code == 204, password
        assert log_in(password=password).status_code == 200
        assert log_in(password=password + "x").status_code == 401


@pytest.mark.django_db
def test_bcrypt_does_not_stop_at_72_bytes(settings: Settings):
    settings.PASSWORD_HASHERS = project_settings.PASSWORD_HASHERS
    user = make_account("patient", "long@example.org")
    user.set_password("x" * 100)
    assert user.password.startswith("bcrypt_sha256$")
    assert user.check_password("x" * 100)
    assert not user.check_password("x" * 99)

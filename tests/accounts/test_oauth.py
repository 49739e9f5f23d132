"""Login with Google and GitHub, end to end against a test double of the provider."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from accounts import oauth, second_factor
from accounts.models import User
from patients.models import Patient
from tests.accounts.provider import CLIENT_ID, CLIENT_SECRET, Provider
from tests.accounts.test_second_factor import code_of
from tests.audit.entries import recording
from tests.people import PASSWORD, client_of, make_account

pytestmark = pytest.mark.django_db

PROVIDERS = ("google", "github")
each_provider = pytest.mark.parametrize("name", PROVIDERS)


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    started = Provider()
    yield started
    started.shutdown()
    started.server_close()


@pytest.fixture
def provider(server: Provider, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Provider:
    app = {"APPS": [{"client_id": CLIENT_ID, "secret": CLIENT_SECRET}], "OAUTH_PKCE_ENABLED": True}
    settings.SOCIALACCOUNT_PROVIDERS = {name: {**settings.SOCIALACCOUNT_PROVIDERS[name], **app} for name in PROVIDERS}
    monkeypatch.setattr(oauth.Google, "authorize_url", f"{server.url}/authorize")
    monkeypatch.setattr(oauth.Google, "access_token_url", f"{server.url}/token")
    monkeypatch.setattr(oauth.Google, "id_token_issuer", server.url)
    monkeypatch.setattr(oauth.Google, "keys_url", f"{server.url}/jwks")
    monkeypatch.setattr(oauth.GitHub, "authorize_url", f"{server.url}/authorize")
    monkeypatch.setattr(oauth.GitHub, "access_token_url", f"{server.url}/token")
    monkeypatch.setattr(oauth.GitHub, "profile_url", f"{server.url}/user")
    monkeypatch.setattr(oauth.GitHub, "emails_url", f"{server.url}/user/emails")
    # allauth's registry holds its own adapters; the routes use ours.
    is_somebody(server)
    server.forged, server.signing_key, server.algorithm = {}, server.key, "RS256"
    server.id_token = server.answer = None
    server.codes.clear()
    server.exchanged = 0
    return server


def is_somebody(
    server: Provider,
    *,
    number: int = 77,
    email: str = "Lin.Tao@example.org",
    verified: bool = True,
    name: Any = "Lin Tao",
) -> None:
    server.claims = {"sub": str(number), "email": email, "email_verified": verified, "name": name}
    server.profile = {"id": number, "login": "lin", "name": name, "email": email}
    server.emails = [{"email": email, "verified": verified, "primary": True}]


def begin(browser: Client, name: str) -> str:
    response = browser.get(f"/api/auth/oauth/{name}")
    assert response.status_code == 302
    return response["Location"]


def log_in(provider: Provider, name: str, browser: Client | None = None) -> Any:
    browser = browser or Client()
    return browser.get(provider.authorize(begin(browser, name)))


def assert_refused(response: Any, status: int, code: str) -> None:
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    if status != 401:
        assert response.json()["errors"][0]["code"] == code
    assert not User.objects.filter(email="lin.tao@example.org").exists()
    assert not SocialAccount.objects.exists()


# --- What works ------------------------------------------------------------------------------------------------------


@each_provider
def test_first_login_makes_a_patient(provider: Provider, name: str) -> None:
    with recording() as made:
        response = log_in(provider, name)
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    pair = response.json()
    assert set(pair) == {"access_token", "refresh_token", "token_type", "expires_in"}
    user = User.objects.get()
    assert (user.email, user.role, user.has_usable_password()) == ("lin.tao@example.org", "patient", False)
    record = Patient.objects.get(user_id=user.pk)
    assert (record.name, record.email) == ("Lin Tao", "lin.tao@example.org")
    me = Client(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}").get("/api/auth/me")
    assert me.json()["patient_id"] == record.pk
    actions = [entry.action for entry in made.entries]
    assert sorted(actions) == ["account.created", "account.logged_in", "patient.created"]


@each_provider
def test_no_session_and_nothing_of_the_profile_stays(provider: Provider, name: str) -> None:
    browser = Client()
    log_in(provider, name, browser)
    assert not Session.objects.exists()
    assert browser.get("/admin/").status_code == 302
    account = SocialAccount.objects.get()
    assert (account.provider, account.uid, account.extra_data) == (name, "77", {})
    assert not SocialToken.objects.exists()


@each_provider
def test_second_login_is_the_same_account_whatever_the_address_is_now(provider: Provider, name: str) -> None:
    log_in(provider, name)
    is_somebody(provider, email="new.address@example.org")
    assert log_in(provider, name).status_code == 200
    assert User.objects.get().email == "lin.tao@example.org"
    assert User.objects.get().token_families.count() == 2


def test_two_providers_are_two_people(provider: Provider) -> None:
    log_in(provider, "google")
    is_somebody(provider, email="lin@github.example.org")
    assert log_in(provider, "github").status_code == 200
    assert User.objects.count() == 2


def test_request_has_state_and_pkce(provider: Provider) -> None:
    asked = dict(parse_qsl(urlsplit(begin(Client(), "google")).query))
    assert asked["redirect_uri"] == "http://testserver/api/auth/oauth/google/callback"
    assert len(asked["state"]) >= 16
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert dict(parse_qsl(urlsplit(begin(Client(), "google")).query))["state"] != asked["state"]


@each_provider
@pytest.mark.parametrize("name_there", [None, "", "A\x00B", "x" * 500, "<b>Lin</b>", "林涛"])
def test_any_name_makes_a_record(provider: Provider, name: str, name_there: str | None) -> None:
    is_somebody(provider, name=name_there)
    assert log_in(provider, name).status_code == 200
    assert 1 <= len(Patient.objects.get().name) <= 200


# --- Whose account it is ---------------------------------------------------------------------------------------------


@each_provider
@pytest.mark.parametrize("role", ["patient", "doctor", "admin"])
def test_existing_account_is_not_taken_over_by_its_address(provider: Provider, name: str, role: str) -> None:
    account = make_account(role, "boss@example.org")
    is_somebody(provider, email="Boss@Example.org")
    response = log_in(provider, name)
    assert_refused(response, 409, "account_exists")
    account.refresh_from_db()
    assert account.check_password(PASSWORD)
    assert not account.token_families.exists()


@each_provider
def test_unverified_address_creates_nothing(provider: Provider, name: str) -> None:
    is_somebody(provider, verified=False)
    assert_refused(log_in(provider, name), 403, "email_not_verified")


@each_provider
@pytest.mark.parametrize("email", ["", "no address", "x" * 300 + "@example.org"])
def test_invalid_address_creates_nothing(provider: Provider, name: str, email: str) -> None:
    is_somebody(provider, email=email)
    assert log_in(provider, name).status_code in (400, 403)
    assert not User.objects.exists()


@each_provider
def test_disabled_account_cannot_log_in(provider: Provider, name: str) -> None:
    log_in(provider, name)
    User.objects.update(is_active=False)
    response = log_in(provider, name)
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"
    assert User.objects.get().token_families.count() == 1


@each_provider
def test_account_with_a_second_factor_must_use_its_password(provider: Provider, name: str) -> None:
    """A login with a provider asks for no code, so that an account with a second factor must use its password."""
    log_in(provider, name)
    user = User.objects.get(email="lin.tao@example.org")
    secret = second_factor.new_secret()
    second_factor.set_up(actor=user, secret=secret, code=code_of(secret))
    with recording() as made:
        assert log_in(provider, name).status_code == 401
    assert next((entry.outcome, entry.reason) for entry in made.entries) == ("refused", "wrong_code")
    assert user.token_families.count() == 1


def test_account_of_a_provider_has_no_password(provider: Provider) -> None:
    log_in(provider, "google")
    for password in ("", "!", "None"):
        body = {"email": "lin.tao@example.org", "password": password}
        assert Client().post("/api/auth/login", body, content_type="application/json").status_code in (400, 401)
    user = User.objects.get()
    body = {"current_password": "!", "new_password": "another uncommon phrase"}
    assert client_of(user).post("/api/auth/password", body, format="json").status_code == 400


# --- What somebody may try -------------------------------------------------------------------------------------------


@each_provider
def test_forged_state(provider: Provider, name: str) -> None:
    browser = Client()
    back = provider.authorize(begin(browser, name))
    state = dict(parse_qsl(urlsplit(back).query))["state"]
    assert_refused(browser.get(back.replace(state, "forged")), 400, "provider_refused")
    assert provider.exchanged == 0


@each_provider
def test_state_of_another_browser(provider: Provider, name: str) -> None:
    """An attacker sends a victim the callback URL of the attacker's login."""
    back = provider.authorize(begin(Client(), name))
    victim = Client()
    begin(victim, name)
    assert_refused(victim.get(back), 400, "provider_refused")


@each_provider
def test_callback_without_anything(provider: Provider, name: str) -> None:
    for query in ("", "?code=x", "?state=x", "?error=access_denied", "?code=x&state=x"):
        assert_refused(Client().get(f"/api/auth/oauth/{name}/callback{query}"), 400, "provider_refused")


@each_provider
def test_login_that_was_cancelled(provider: Provider, name: str) -> None:
    browser = Client()
    state = dict(parse_qsl(urlsplit(begin(browser, name)).query))["state"]
    back = f"/api/auth/oauth/{name}/callback?error=access_denied&state={state}"
    assert_refused(browser.get(back), 400, "provider_refused")


@each_provider
def test_replayed_callback(provider: Provider, name: str) -> None:
    browser = Client()
    back = provider.authorize(begin(browser, name))
    assert browser.get(back).status_code == 200
    for again in (browser, Client()):
        assert again.get(back).status_code == 400
    assert User.objects.get().token_families.count() == 1


@each_provider
def test_replayed_code_in_a_login_of_ones_own(provider: Provider, name: str) -> None:
    """A code of another login does not fit the verifier of this one."""
    stolen = dict(parse_qsl(urlsplit(provider.authorize(begin(Client(), name))).query))["code"]
    thief = Client()
    state = dict(parse_qsl(urlsplit(begin(thief, name)).query))["state"]
    response = thief.get(f"/api/auth/oauth/{name}/callback", {"code": stolen, "state": state})
    assert_refused(response, 400, "provider_refused")


def test_state_of_the_other_provider(provider: Provider) -> None:
    browser = Client()
    back = provider.authorize(begin(browser, "google"))
    assert_refused(browser.get(back.replace("/google/", "/github/")), 400, "provider_refused")


@pytest.mark.parametrize(
    "forged",
    [{"iss": "https://evil.example"}, {"aud": "another application"}, {"exp": 1}, {"sub": None}],
    ids=["issuer", "audience", "expired", "no subject"],
)
def test_id_token_for_somebody_else(provider: Provider, forged: dict[str, Any]) -> None:
    provider.forged = forged
    assert_refused(log_in(provider, "google"), 400, "provider_refused")


def test_id_token_of_another_key(provider: Provider) -> None:
    provider.signing_key = rsa.generate_private_key(65537, 2048)
    assert_refused(log_in(provider, "google"), 400, "provider_refused")


@pytest.mark.parametrize("kind", ["none", "HS256", "tampered", "no token", "nonsense"])
def test_tampered_id_token(provider: Provider, kind: str) -> None:
    claims = {"iss": provider.url, "aud": CLIENT_ID, "exp": 2**33, "iat": 1, **provider.claims}
    header = {"kid": "k1"}
    if kind == "none":
        provider.id_token = jwt.encode(claims, "", "none", headers=header)
    elif kind == "HS256":
        provider.id_token = jwt.encode(claims, "k" * 32, "HS256", headers=header)
    elif kind == "tampered":
        head, body, tail = jwt.encode(claims, provider.key, "RS256", headers=header).split(".")
        other = jwt.encode({**claims, "sub": "1"}, "k" * 32, "HS256").split(".")[1]
        assert body != other
        provider.id_token = f"{head}.{other}.{tail}"
    elif kind == "nonsense":
        provider.id_token = "a.b.c"
    else:
        provider.answer = {"access_token": "an access token", "token_type": "Bearer"}
    assert_refused(log_in(provider, "google"), 400, "provider_refused")


@each_provider
@pytest.mark.parametrize("answer", [{}, [], "text", {"error": "x"}, {"access_token": "x", "id_token": 7}, 7])
def test_provider_that_answers_nonsense(provider: Provider, name: str, answer: Any) -> None:
    provider.answer = answer
    provider.profile = provider.emails = answer
    assert_refused(log_in(provider, name), 400, "provider_refused")


@pytest.mark.parametrize("profile", [{}, [], "text", None, {"id": None}, {"name": "x"}])
def test_malformed_github_profile(provider: Provider, profile: Any) -> None:
    provider.profile = profile
    assert_refused(log_in(provider, "github"), 400, "provider_refused")


@each_provider
def test_provider_that_is_down(provider: Provider, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = oauth.Google if name == "google" else oauth.GitHub
    monkeypatch.setattr(adapter, "access_token_url", "http://127.0.0.1:9/token")
    assert_refused(log_in(provider, name), 400, "provider_refused")


@each_provider
def test_paths_do_not_exist_without_client_ids(name: str) -> None:
    for end in ("", "/callback", "/callback?code=x&state=y"):
        response = Client().get(f"/api/auth/oauth/{name}{end}")
        assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


@each_provider
def test_parameters_cannot_turn_the_login_into_something_else(provider: Provider, name: str) -> None:
    for query in ("?process=connect", "?next=https://evil.example", "?scope=everything"):
        assert Client().get(f"/api/auth/oauth/{name}{query}").status_code == 400
    assert Client().post(f"/api/auth/oauth/{name}").status_code == 405
    assert Client().post(f"/api/auth/oauth/{name}/callback", {"code": "x"}).status_code == 405


def test_pages_of_allauth_are_not_routed() -> None:
    for path in ("/accounts/login/", "/accounts/signup/", "/accounts/social/signup/", "/accounts/2fa/"):
        assert Client().get(path).status_code == 404


def test_incomplete_configuration_is_an_error_at_the_start() -> None:
    from tests.test_settings import GIVEN, settings_in

    secrets = {"SECRET_KEY": "s" * 50, "JWT_SECRET_KEY": "j" * 50}
    refused = settings_in({**GIVEN, **secrets, "OAUTH_GOOGLE_CLIENT_ID": "x"})
    assert "OAUTH_GOOGLE_CLIENT_ID and OAUTH_GOOGLE_CLIENT_SECRET are set together" in refused.stderr

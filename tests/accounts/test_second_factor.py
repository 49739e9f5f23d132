"""The second factor: set-up, login, removal, and the setting that requires it of staff."""

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils.crypto import salted_hmac
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import second_factor, tokens
from accounts.models import User
from healthcare import encrypted_tokens
from tests.audit.entries import recording
from tests.people import PASSWORD, make_account

pytestmark = pytest.mark.django_db

ADMIN_LOGIN, SESSION_LOGIN = "/admin/login/", "/session/login/"
PAGE = "/admin/second-factor/"
SECRET = re.compile(r"<code>([A-Z2-7]{32})</code>")


def code_of(secret: str) -> str:
    """Return the code that an authenticator app shows now."""
    (counter,) = yield_hotp_counters_from_time()
    return format_hotp_value(hotp_value(secret, counter))


def wrong_code(secret: str) -> str:
    return f"{(int(code_of(secret)) + 1) % 1_000_000:06}"


@pytest.fixture
def admin() -> User:
    cache.clear()
    return make_account("admin", "admin@example.org")


@pytest.fixture
def secret(admin: User) -> str:
    """Set up the second factor of the account, forget which code was used, and return the secret."""
    secret = second_factor.new_secret()
    second_factor.set_up(actor=admin, secret=secret, code=code_of(secret))
    cache.clear()
    return secret


def test_secrets_that_earlier_versions_stored_can_be_read() -> None:
    """The key is spelled out: with another derivation nobody who has a second factor could log in."""
    digest = salted_hmac("accounts.second_factor", "key", algorithm="sha256").digest()
    stored = Fernet(base64.urlsafe_b64encode(digest)).encrypt(b"JBSWY3DPEHPK3PXP").decode()
    adapter = second_factor.Adapter()
    assert adapter.decrypt(stored) == "JBSWY3DPEHPK3PXP"
    assert adapter.decrypt(adapter.encrypt("JBSWY3DPEHPK3PXP")) == "JBSWY3DPEHPK3PXP"
    with pytest.raises(encrypted_tokens.InvalidToken):
        adapter.decrypt(encrypted_tokens.encrypt("JBSWY3DPEHPK3PXP", purpose="another purpose"))


def browser_of(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def log_in(path: str, code: str = "", password: str = PASSWORD) -> bool:
    browser = Client()
    browser.post(path, {"username": "admin@example.org", "password": password, "code": code})
    return "_auth_user_id" in browser.session


def token_status(**more: str) -> int:
    body = {"email": "admin@example.org", "password": PASSWORD, **more}
    return APIClient().post("/api/auth/login", body, format="json").status_code


# --- Setting it up ---------------------------------------------------------------------------------------------------


def test_page_sets_it_up(admin: User) -> None:
    browser = browser_of(admin)
    page = browser.get(PAGE).content.decode()
    secret = SECRET.search(page)
    assert secret is not None
    assert "data:image/svg+xml;base64," in page
    assert secret[1] in browser.get(PAGE).content.decode(), "the page may be read twice"
    wrong = browser.post(PAGE, {"code": wrong_code(secret[1])}).content.decode()
    assert "not the code" in wrong
    assert not second_factor.is_set_up(admin)
    with recording() as made:
        done = browser.post(PAGE, {"code": code_of(secret[1])}).content.decode()
    codes = re.findall(r"<li><code>(\w+)</code></li>", done)
    assert len(codes) == 10
    assert second_factor.is_set_up(admin)
    assert [(entry.action, entry.actor_id) for entry in made.entries] == [("account.second_factor_added", admin.pk)]
    assert not log_in(ADMIN_LOGIN, code_of(secret[1])), "the code that set it up is used"
    assert log_in(ADMIN_LOGIN, codes[0])


def test_secrets_are_not_plain_in_the_database(admin: User, secret: str) -> None:
    browser = browser_of(make_account("staff", "staff@example.org"))
    page = browser.get(PAGE).content.decode()
    pending = SECRET.search(page)
    assert pending is not None
    assert secret not in str(list(Authenticator.objects.values_list("data", flat=True)))
    assert pending[1] not in str(dict(browser.session))


def test_a_second_one_is_refused(admin: User, secret: str) -> None:
    other = second_factor.new_secret()
    with pytest.raises(second_factor.Conflict):
        second_factor.set_up(actor=admin, secret=other, code=code_of(other))
    assert Authenticator.objects.filter(user=admin, type="totp").count() == 1


# --- Logging in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ADMIN_LOGIN, SESSION_LOGIN])
def test_log_in_pages_ask_for_the_code(admin: User, secret: str, path: str) -> None:
    assert not log_in(path)
    assert not log_in(path, wrong_code(secret))
    assert not log_in(path, code_of(secret), password="not the password")
    code = code_of(secret)
    assert log_in(path, f" {code[:3]} {code[3:]} ")
    assert not log_in(path, code), "a code is good once"


def test_api_asks_for_the_code(admin: User, secret: str) -> None:
    assert token_status() == 401
    assert token_status(code="") == 401
    assert token_status(code=wrong_code(secret)) == 401
    assert token_status(code=code_of(secret)) == 200
    assert token_status(code=code_of(secret)) == 401


def test_failed_logins_have_equal_responses(admin: User, secret: str) -> None:
    """The response does not disclose that a guessed password was right."""
    answers = [
        APIClient().post("/api/auth/login", {"email": "admin@example.org", **body}, format="json").content
        for body in ({"password": PASSWORD}, {"password": PASSWORD, "code": "000000"}, {"password": "x" * 12})
    ]
    assert len(set(answers)) == 1
    pages = []
    for form in ({"password": PASSWORD, "code": "000000"}, {"password": "x" * 12, "code": "000000"}):
        page = Client().post(ADMIN_LOGIN, {"username": "admin@example.org", **form}).content.decode()
        pages.append(re.findall(r'class="errornote[^>]*>\s*(.*?)\s*</p>', page, re.S))
    assert pages[0] == pages[1] != []


def test_failures_are_recorded_in_the_audit_log(admin: User, secret: str) -> None:
    with recording() as made:
        token_status(code=wrong_code(secret))
        log_in(ADMIN_LOGIN, wrong_code(secret))
    assert [(e.action, e.outcome, e.reason, e.subject) for e in made.entries] == [
        ("account.logged_in", "refused", "wrong_code", str(admin.pk))
    ] * 2


def test_recovery_codes_are_valid_once(admin: User) -> None:
    secret = second_factor.new_secret()
    codes = second_factor.set_up(actor=admin, secret=secret, code=code_of(secret))
    assert log_in(ADMIN_LOGIN, codes[3])
    assert not log_in(ADMIN_LOGIN, codes[3])
    assert token_status(code=codes[4]) == 200


def test_account_without_a_second_factor_needs_no_code(admin: User) -> None:
    assert log_in(ADMIN_LOGIN)
    assert token_status(code="123456") == 200


@pytest.mark.django_db(transaction=True)
def test_one_code_at_once_is_accepted_once(admin: User, secret: str) -> None:
    code = code_of(secret)

    def use(_: int) -> bool:
        try:
            return second_factor.accepts(admin, code)
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1


def test_tokens_and_sessions_from_before_end(admin: User) -> None:
    """Earlier tokens end when a factor is added or removed; the browser that changed it stays logged in."""
    here, elsewhere = browser_of(admin), browser_of(admin)
    pair = tokens.start_family(admin)
    secret = SECRET.search(here.get(PAGE).content.decode())
    assert secret is not None
    assert "recovery codes" in here.post(PAGE, {"code": code_of(secret[1])}).content.decode()
    assert [browser.get("/admin/").status_code for browser in (here, elsewhere)] == [200, 302]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}")
    assert client.get("/api/auth/me").status_code == 401
    elsewhere = browser_of(User.objects.get(pk=admin.pk))
    cache.clear()
    assert here.post(PAGE, {"code": code_of(secret[1])}).status_code == 302
    assert [browser.get("/admin/").status_code for browser in (here, elsewhere)] == [200, 302]


# --- Taking it away --------------------------------------------------------------------------------------------------


def test_page_removes_it_with_a_code(admin: User, secret: str) -> None:
    browser = browser_of(admin)
    assert "Wrong code" in browser.post(PAGE, {"code": wrong_code(secret)}).content.decode()
    assert second_factor.is_set_up(admin)
    assert browser.post(PAGE, {"code": code_of(secret)}).status_code == 302
    assert not second_factor.is_set_up(admin)
    assert not Authenticator.objects.exists(), "the recovery codes go with it"


def test_guessing_codes_on_the_page_is_limited(admin: User, secret: str, settings: Settings) -> None:
    settings.PASSWORD_RATE = "5/h"
    browser = browser_of(admin)
    for _ in range(5):
        browser.post(PAGE, {"code": wrong_code(secret)})
    page = browser.post(PAGE, {"code": code_of(secret)})
    assert page.status_code == 429
    assert int(page["Retry-After"]) >= 1
    assert "Too many attempts" in page.content.decode()
    assert second_factor.is_set_up(admin)


def test_admin_removes_a_colleagues(admin: User, secret: str) -> None:
    boss = make_account("admin", "boss@example.org")
    form = {"action": "remove_second_factor", "_selected_action": [admin.pk, boss.pk]}
    with recording() as made:
        response = browser_of(boss).post(reverse("admin:accounts_user_changelist"), form)
    assert response.status_code == 302
    assert not second_factor.is_set_up(admin)
    removed = [entry for entry in made.entries if entry.action == "account.second_factor_removed"]
    assert [(entry.actor_id, entry.subject) for entry in removed] == [(boss.pk, str(admin.pk))]


def test_command_removes_it(admin: User, secret: str) -> None:
    call_command("remove_second_factor", "ADMIN@example.org")
    assert not second_factor.is_set_up(admin)
    for email in ("admin@example.org", "nobody@example.org"):
        with pytest.raises(CommandError):
            call_command("remove_second_factor", email)


# --- ADMIN_TOTP_REQUIRED ---------------------------------------------------------------------------------------------


def test_setting_lets_nobody_in_without_one(admin: User, settings: Settings) -> None:
    settings.ADMIN_TOTP_REQUIRED = True
    browser = browser_of(admin)
    pages = ["/admin/", "/admin/patients/patient/", reverse("admin:accounts_user_change", args=[admin.pk])]
    for path in [*pages, "/admin/password_change/"]:
        response: Any = browser.get(path)
        assert (response.status_code, response["Location"]) == (302, PAGE)
    assert browser.post("/admin/patients/patient/add/", {"name": "X"})["Location"] == PAGE
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", browser.get(PAGE).content.decode())
    assert secret is not None
    browser.post(PAGE, {"code": code_of(secret[1])})
    assert {browser.get(path).status_code for path in pages} == {200}


def test_setting_admits_nobody_else_to_the_page(settings: Settings) -> None:
    settings.ADMIN_TOTP_REQUIRED = True
    assert Client().get(PAGE)["Location"].startswith(ADMIN_LOGIN)
    patient = browser_of(make_account("patient", "p@example.org"))
    assert patient.get(PAGE)["Location"].startswith(ADMIN_LOGIN)
    assert patient.get("/admin/logout/").status_code in (302, 405)

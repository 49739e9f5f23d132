"""The outer surface of the system: keys, headers, cookies, sessions, origins and proxies."""

import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.sessions import LAST_USED_KEY
from tests.people import PASSWORD, People, make_account
from tests.test_settings import GIVEN, ROOT, known_variables, settings_in

KEYS = {"SECRET_KEY": "a long enough key for SECRET_KEY, 50 bytes and more", "JWT_SECRET_KEY": "0123456789" * 4}
PRODUCTION = {**GIVEN, **KEYS, "ALLOWED_HOSTS": "hospital.example.org"}


def manage(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in known_variables()}
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT, env={**clean, "ENV_FILE": "/nonexistent", **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


# --- Production settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [{}, {"TRUSTED_PROXIES": "10.0.0.5,unix"}, {"CORS_ALLOWED_ORIGINS": "https://app.example.org"},
     {"REDIS_URL": "redis://h:6379/0", "ADMIN_TOTP_REQUIRED": "1"}],
    ids=["plain", "behind a proxy", "with CORS", "with Redis"],
)  # fmt: skip
def test_check_deploy_is_clean(more: dict[str, str]) -> None:
    done = manage("check", "--deploy", "--fail-level", "INFO", **PRODUCTION, **more)
    assert done.returncode == 0, done.stderr
    assert "no issues (1 silenced)" in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SECRET_KEY", "", "is not set"),
        ("SECRET_KEY", "k" * 49, "is shorter than 50 bytes"),
        ("SECRET_KEY", "django-insecure-" + "k" * 60, "is a placeholder"),
        ("SECRET_KEY", "changeme-" * 9, "is a placeholder"),
        ("SECRET_KEY", "production-key-of-the-hospital-please-Change-Me-before-use", "is a placeholder"),
        ("JWT_SECRET_KEY", "", "is not set"),
        ("JWT_SECRET_KEY", "k" * 31, "is shorter than 32 bytes"),
        ("JWT_SECRET_KEY", "your-secret-key-" * 4, "is a placeholder"),
        ("JWT_SECRET_KEY", KEYS["SECRET_KEY"], "is SECRET_KEY"),
    ],
)
def test_production_does_not_start_with_a_bad_key(name: str, value: str, why: str) -> None:
    refused = settings_in({**PRODUCTION, name: value})
    assert refused.returncode != 0
    assert f"{name} {why}" in refused.stderr
    assert not value or value not in refused.stderr


def test_keys_of_the_right_length_are_taken() -> None:
    assert settings_in({**PRODUCTION, "SECRET_KEY": "k" * 50, "JWT_SECRET_KEY": "j" * 32}).returncode == 0


# --- Headers ---------------------------------------------------------------------------------------------------------


def page(path: str, **options: Any) -> Any:
    return Client(**options).get(path)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api", "/api/patients", "/api/none", "/session/login/", "/schema"])
def test_headers_of_every_answer(path: str) -> None:
    response = page(path)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in response


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_pages_may_style_themselves_and_run_no_script_of_the_page(path: str) -> None:
    policy = dict(part.strip().split(" ", 1) for part in page(path)["Content-Security-Policy"].split(";"))
    assert policy["script-src"] == "'self'"
    assert "'unsafe-inline'" in policy["style-src"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/admin/", "/admin/patients/patient/"])
def test_admin_may_do_what_its_theme_needs_and_no_more(people: People, path: str) -> None:
    browser = Client()
    if "login" not in path:
        browser.force_login(people.admin)
    policy = dict(part.strip().split(" ", 1) for part in browser.get(path)["Content-Security-Policy"].split(";"))
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["style-src"] == "'self' 'unsafe-inline'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["object-src"] == "'none'"


@pytest.mark.django_db
def test_admin_pages_hold_no_script_of_their_own(people: People) -> None:
    """The Content-Security-Policy would block inline scripts, so no page may have one."""
    browser = Client()
    browser.force_login(people.admin)
    paths = [
        "/admin/", "/admin/patients/patient/", "/admin/patients/patient/P1/change/", "/admin/second-factor/",
        "/admin/appointments/appointment/add/", "/admin/healthcare/auditentry/", "/admin/password_change/",
    ]  # fmt: skip
    for path in paths:
        text = browser.get(path).content.decode()
        assert re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", text) == [], path
        assert re.findall(r"\son(?:click|load|change|submit|error)=", text) == [], path
        assert "javascript:" not in text, path


@pytest.mark.django_db
def test_https_only(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 31_536_000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    assert page("/api")["Location"] == "https://testserver/api"
    secure = Client().get("/api", secure=True)
    assert secure["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


@pytest.mark.django_db
def test_scheme_counts_from_a_named_proxy_only(settings: Settings) -> None:
    from healthcare.web.rate_limits import ip_network

    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.5/32")]
    said = {"HTTP_X_FORWARDED_PROTO": "https"}
    assert page("/api", REMOTE_ADDR="10.0.0.5", **said).status_code == 200
    assert page("/api", REMOTE_ADDR="192.0.2.1", **said).status_code == 301
    assert page("/api", REMOTE_ADDR="", **said).status_code == 301
    settings.TRUSTED_PROXY_SOCKET = True
    assert page("/api", REMOTE_ADDR="", **said).status_code == 200


# --- Sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/session/login/", "/api/auth/login", "/api/none", "/schema"])
def test_body_that_is_larger_than_anything_is_not_read(path: str) -> None:
    """Django's own limit does not count uploaded files, and the log-in pages accept forms from everybody."""
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    body = head + b"\0" * (10 * 1_048_576) + b"\r\n--x--\r\n"
    answer = Client().generic("POST", path, body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 413
    assert answer["Content-Type"] == "application/problem+json"


# --- Cookies and sessions --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_cookies_of_a_log_in(settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    make_account("admin", "admin@example.org")
    browser = Client()
    browser.get("/admin/login/", secure=True)
    browser.post("/admin/login/", {"username": "admin@example.org", "password": PASSWORD}, secure=True)
    session, csrf = browser.cookies["sessionid"], browser.cookies["csrftoken"]
    assert (session["samesite"], session["httponly"], session["secure"], session["max-age"]) == ("Lax", True, True, "")
    assert (csrf["samesite"], csrf["secure"]) == ("Strict", True)


@pytest.mark.django_db
def test_session_that_nobody_uses_ends(settings: Settings, people: People) -> None:
    settings.SESSION_IDLE_SECONDS = 1800
    browser = Client()
    browser.post("/admin/login/", {"username": people.admin.email, "password": PASSWORD})

    def last_seen(seconds_ago: float) -> int:
        session = browser.session
        session[LAST_USED_KEY] = time.time() - seconds_ago
        session.save()
        return browser.get("/admin/").status_code

    assert last_seen(1700) == 200
    assert time.time() - browser.session[LAST_USED_KEY] < 10, "it was used"
    assert last_seen(1900) == 302
    assert "_auth_user_id" not in browser.session
    assert browser.get("/api/patients").status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "patient"}, {"password": "x"}])
def test_session_ends_with_the_power_of_its_account(people: People, change: dict[str, Any]) -> None:
    from accounts import services

    browser = Client()
    browser.post("/admin/login/", {"username": people.other_doctor.email, "password": PASSWORD})
    assert browser.get("/admin/").status_code == 200
    if "password" in change:
        new = "another uncommon phrase"
        services.change_password(actor=people.other_doctor, current_password=PASSWORD, new_password=new)
    else:
        services.change_account(actor=people.admin, user_id=people.other_doctor.pk, **change)
    assert browser.get("/admin/").status_code == 302
    assert browser.get("/api/patients").status_code == 401


@pytest.mark.django_db
def test_own_password_change_in_the_admin_is_recorded_and_ends_other_sessions(people: People) -> None:
    from tests.audit.entries import recording

    here, elsewhere = Client(), Client()
    for browser in (here, elsewhere):
        browser.post("/admin/login/", {"username": people.admin.email, "password": PASSWORD})
    new = "another uncommon phrase"
    with recording() as made:
        form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
        assert here.post("/admin/password_change/", form).status_code == 302
    assert [(entry.action, entry.actor_id) for entry in made.entries] == [("account.password_changed", people.admin.pk)]
    assert here.get("/admin/").status_code == 200
    assert elsewhere.get("/admin/").status_code == 302


# --- Other origins ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_other_origin_by_default() -> None:
    response = Client().get("/api", HTTP_ORIGIN="https://evil.example")
    assert "Access-Control-Allow-Origin" not in response
    preflight = Client().options(
        "/api/patients", HTTP_ORIGIN="https://evil.example", HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET"
    )
    assert preflight.status_code == 405


def test_named_origins_only() -> None:
    """Start a process for it, because the CORS middleware is installed only if origins are set."""
    code = """
import django; django.setup()
from django.test import Client
ask = dict(HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET", HTTP_HOST="localhost", secure=True)
for path in ("/api/patients", "/admin/"):
    for origin in ("https://app.example.org", "https://evil.example"):
        answer = Client().options(path, HTTP_ORIGIN=origin, **ask)
        print(path, origin, answer.headers.get("Access-Control-Allow-Origin"),
              answer.headers.get("Access-Control-Allow-Credentials"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "healthcare.settings",
             "CORS_ALLOWED_ORIGINS": "https://app.example.org"},
    )  # fmt: skip
    assert done.stdout.splitlines()[:2] == [
        "/api/patients https://app.example.org https://app.example.org None",
        "/api/patients https://evil.example None None",
    ], done.stderr
    assert all(line.endswith("None None") for line in done.stdout.splitlines()[2:])


# --- Tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_answer_with_a_token_is_not_stored(people: People) -> None:
    """No cache may store a response of the API, because it holds personal data."""
    for path in ("/api/patients", "/api/patients/P1", "/api/auth/me", "/api/none", "/api/reports/top-doctors.csv"):
        answer = people.client("admin").get(path)
        assert answer["Cache-Control"] == "no-store", path
    pair = APIClient().post("/api/auth/login", {"email": people.patient.email, "password": PASSWORD}, format="json")
    fresh = APIClient().post("/api/auth/refresh", {"refresh_token": pair.json()["refresh_token"]}, format="json")
    assert [answer["Cache-Control"] for answer in (pair, fresh)] == ["no-store", "no-store"]


@pytest.mark.django_db
def test_deleted_account_ends_its_tokens(people: People) -> None:
    from accounts import tokens

    pair = tokens.start_family(people.staff)
    people.staff.delete()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}")
    assert client.get("/api/auth/me").status_code == 401
    answer = client.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}, format="json")
    assert answer.status_code == 401


# --- The table of threats in docs/security.md ------------------------------------------------------------------------


def test_every_threat_has_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    threats = text.partition("## Threats")[2].partition("## Rate limits")[0]
    rows = [line.split("|")[1:-1] for line in threats.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 23
    known = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for *_, threat, _, shown in rows:
        named = re.findall(r"`([^`]+)`", shown)
        assert named, threat
        folder = ""
        for name in named:
            if name.startswith("make "):
                assert f"\n{name.removeprefix('make ')}:" in (ROOT / "Makefile").read_text(), name
            elif "/" in name or name.endswith(".py"):
                folder = name.rpartition("/")[0] if "/" in name else folder
                assert (ROOT / name).exists() or (ROOT / folder / name).exists(), name
            else:
                assert f"def {name}(" in known, name

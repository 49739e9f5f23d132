"""Rate limits: counters, their keys and the responses. tests/live/test_limits.py tests several processes."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as project
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import cache, caches
from django.db import OperationalError, transaction
from django.test import Client, override_settings
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import User
from healthcare.postgresql import cache as postgresql_cache
from healthcare.web import rate_limits
from tests.people import PASSWORD, make_account

pytestmark = pytest.mark.django_db

WRONG = "not the password"
MINUTE = 60


@pytest.fixture(autouse=True)
def limits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the default rates, empty counters, and windows that do not end during a test."""
    now = time.time()
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: now))
    settings.LOGIN_RATE = settings.PASSWORD_RATE = "5/m"
    settings.REGISTER_RATE = settings.REFRESH_RATE = "7/m"
    cache.clear()


@pytest.fixture(params=["PostgreSQL", "Redis"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test with each cache that can hold counters."""
    if request.param == "Redis":
        with override_settings(CACHES=redis_caches(request.getfixturevalue("redis_url"))):
            cache.clear()
            yield "Redis"
    else:
        yield "PostgreSQL"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Redis server for this run, on a unix socket."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed; on Debian and Ubuntu: apt-get install redis-server")
    # The length of a path of a unix socket is limited.
    folder = tmp_path_factory.mktemp("redis")
    path = Path(f"/tmp/redis-{os.getpid()}.sock")  # noqa: S108
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                program,
                "--port",
                "0",
                "--unixsocket",
                str(path),
                "--unixsocketperm",
                "700",
                "--save",
                "",
                "--dir",
                folder,
            ],
            stdout=log,
        )
    try:
        while not path.exists():
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)
        yield f"unix://{path}"
    finally:
        server.terminate()
        server.wait()
        path.unlink(missing_ok=True)


def redis_caches(url: str) -> dict[str, Any]:
    return {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": url,
            "OPTIONS": {"socket_timeout": 3, "socket_connect_timeout": 3},
        }
    }


def log_in(email: str = "ali@example.org", password: str = PASSWORD, address: str = "192.0.2.1") -> Any:
    body = {"email": email, "password": password}
    client = APIClient(raise_request_exception=False, REMOTE_ADDR=address)
    return client.post("/api/auth/login", body, format="json")


def assert_too_many(response: Any) -> None:
    assert response.status_code == 429
    assert response["Content-Type"] == "application/problem+json"
    assert 1 <= int(response["Retry-After"]) <= MINUTE
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["code"]) == ("", "throttled")


@pytest.fixture
def user() -> User:
    return make_account("patient", "ali@example.org")


# --- Logging in ------------------------------------------------------------------------------------------------------


def test_five_attempts_for_an_account_whether_they_succeed_or_not(store: str, user: User) -> None:
    """Attempts come from different addresses: the sixth has the right password, and exceeds the limit."""
    for number in range(5):
        password = PASSWORD if number == 2 else WRONG
        assert log_in(password=password, address=f"192.0.2.{number}").status_code == (200 if number == 2 else 401)
    assert_too_many(log_in(address="192.0.2.9"))
    assert_too_many(log_in("  ALI@example.org ", address="192.0.2.10"))


def test_unknown_account_has_the_same_limit(user: User) -> None:
    for number in range(5):
        assert log_in("nobody@example.org", address=f"192.0.2.{number}").status_code == 401
    assert_too_many(log_in("nobody@example.org", address="192.0.2.9"))


def test_five_failures_of_an_address_and_successes_are_given_back(store: str, user: User) -> None:
    others = [make_account("patient", f"p{number}@example.org") for number in range(12)]
    for other in others[:8]:
        assert log_in(other.email).status_code == 200
    for number in range(5):
        assert log_in(f"nobody{number}@example.org").status_code == 401
    assert_too_many(log_in(others[9].email))
    # Another address has a counter of its own; addresses of one IPv6 network share one.
    assert log_in(others[10].email, address="198.51.100.7").status_code == 200
    for number in range(5):
        log_in(f"nobody{number}@example.net", address=f"2001:db8:1:1::{number:x}")
    assert_too_many(log_in(others[11].email, address="2001:db8:1:1:ffff::1"))
    assert log_in(others[11].email, address="2001:db8:1:2::1").status_code == 200


def test_limited_attempt_hashes_nothing(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        log_in(password=WRONG)
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *_: pytest.fail("hashed"))
    monkeypatch.setattr(MD5PasswordHasher, "verify", lambda *_: pytest.fail("hashed"))
    assert_too_many(log_in())


def test_forwarded_address_counts_from_a_named_proxy_only(user: User, settings: Settings) -> None:
    def attempt(number: int) -> int:
        client = APIClient(REMOTE_ADDR="10.0.0.5", HTTP_X_FORWARDED_FOR=f"192.0.2.{number}")
        body = {"email": f"nobody{number}@example.org", "password": WRONG}
        return client.post("/api/auth/login", body, format="json").status_code

    assert [attempt(number) for number in range(6)] == [401] * 5 + [429]
    cache.clear()
    settings.TRUSTED_PROXIES = [rate_limits.ip_network("10.0.0.5/32")]
    assert [attempt(number) for number in range(6)] == [401] * 6


@pytest.mark.parametrize("path", ["/admin/login/", "/session/login/"])
def test_log_in_pages_share_the_limit_of_the_api(store: str, user: User, path: str) -> None:
    admin = make_account("admin", "admin@example.org")
    for number in range(5):
        log_in("admin@example.org", WRONG, address=f"192.0.2.{number}")
    browser = Client(REMOTE_ADDR="198.51.100.7")
    response = browser.post(path, {"username": admin.email, "password": PASSWORD})
    assert response.status_code == 429
    assert int(response["Retry-After"]) >= 1
    assert "Too many attempts" in response.content.decode()
    assert "_auth_user_id" not in browser.session


@pytest.mark.parametrize("path", ["/admin/login/", "/session/login/"])
def test_failures_on_a_page_count_for_the_address(path: str) -> None:
    admin = make_account("admin", "admin@example.org")
    for number in range(5):
        page = Client(REMOTE_ADDR="192.0.2.1").post(path, {"username": f"n{number}@example.org", "password": WRONG})
        assert page.status_code == 200
    assert_too_many(log_in(admin.email, address="192.0.2.1"))


# --- The other limits ------------------------------------------------------------------------------------------------


def test_registrations_of_an_address(store: str) -> None:
    def register(number: int, address: str = "192.0.2.1") -> Any:
        body = {"email": f"new{number}@example.org", "password": "an uncommon phrase", "name": "Lin Tao"}
        return APIClient(REMOTE_ADDR=address).post("/api/auth/register", body, format="json")

    assert [register(number).status_code for number in range(7)] == [201] * 7
    assert_too_many(register(8))
    assert not User.objects.filter(email="new8@example.org").exists()
    assert register(9, address="192.0.2.2").status_code == 201


def test_refreshes_of_an_address(store: str, user: User) -> None:
    def refresh(token: str) -> Any:
        return APIClient().post("/api/auth/refresh", {"refresh_token": token}, format="json")

    assert [refresh("made up").status_code for _ in range(7)] == [401] * 7
    token = tokens.start_family(user)["refresh_token"]
    assert_too_many(refresh(token))
    # The server did not read the refresh token, so it is still valid.
    cache.clear()
    assert refresh(token).status_code == 200


def test_password_changes_of_an_account(store: str, user: User) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.start_family(user)['access_token']}")

    def change(current: str) -> Any:
        body = {"current_password": current, "new_password": "another uncommon phrase"}
        return client.post("/api/auth/password", body, format="json")

    assert [change(WRONG).status_code for _ in range(5)] == [400] * 5
    assert_too_many(change(PASSWORD))
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_own_password_in_the_admin_has_the_same_limit() -> None:
    admin = make_account("admin", "admin@example.org")
    browser = Client()
    browser.force_login(admin)
    new = {"new_password1": "another uncommon phrase", "new_password2": "another uncommon phrase"}
    for _ in range(5):
        browser.post("/admin/password_change/", {"old_password": WRONG, **new})
    page = browser.post("/admin/password_change/", {"old_password": PASSWORD, **new})
    assert page.status_code == 429
    assert int(page["Retry-After"]) >= 1
    assert "Too many attempts" in page.content.decode()
    admin.refresh_from_db()
    assert admin.check_password(PASSWORD)


# --- The counters ----------------------------------------------------------------------------------------------------


def test_counter_is_atomic_among_threads(store: str) -> None:
    cache.add("n", 0, 60)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.incr("n"), range(80)))
    assert cache.get("n") == 80


def test_add_has_one_winner(store: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: cache.add("once", "y", 60), range(40))) == 1


def test_cache_keeps_what_caches_keep(store: str) -> None:
    with pytest.raises(ValueError, match="n"):
        cache.incr("n")
    cache.set("text", "y", 60)
    assert (cache.get("text"), cache.get("none", "default")) == ("y", "default")
    assert cache.touch("text", 60)
    assert not cache.touch("none", 60)
    assert cache.delete("text")
    assert not cache.delete("text")
    cache.set("forever", 1, None)
    assert cache.get("forever") == 1
    cache.set("gone", 1, -1)
    assert cache.get("gone") is None
    assert cache.add("gone", 2, 60)


def test_expired_counters_are_cleared_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from healthcare.postgresql.models import Counter

    monkeypatch.setattr(postgresql_cache, "CLEAR_EVERY", 1)
    cache.set("old", 1, -1)
    cache.add("new", 1, 60)
    assert {key.split(":")[-1] for key in Counter.objects.values_list("key", flat=True)} == {"new"}


def test_an_attempt_stays_counted_when_the_request_is_rolled_back(user: User) -> None:
    with transaction.atomic():
        cache.add("kept", 1, 60)
        transaction.set_rollback(True)
    assert cache.get("kept") == 1


# --- Without counters nobody can log in ------------------------------------------------------------------------------


def assert_unavailable(user: User) -> None:
    response = log_in()
    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert "Retry-After" in response
    assert not user.token_families.exists()
    admin = make_account("admin", "admin@example.org")
    browser = Client()
    page = browser.post("/admin/login/", {"username": admin.email, "password": PASSWORD})
    assert page.status_code == 503
    assert "Retry-After" in page
    assert "_auth_user_id" not in browser.session


def test_login_is_503_while_redis_is_down(user: User) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    with override_settings(CACHES=redis_caches(f"redis://127.0.0.1:{closed}/0")):
        assert_unavailable(user)


def test_login_is_503_while_the_counters_are_down(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def out(*_: Any) -> None:
        raise OperationalError("out")

    monkeypatch.setattr(postgresql_cache, "_run", out)
    assert_unavailable(user)


def test_settings_name_a_shared_store() -> None:
    assert project.CACHES["default"]["BACKEND"] == "healthcare.postgresql.cache.PostgreSQLCache"
    assert caches["default"] is not None


@pytest.mark.parametrize("rate", ["5", "0/m", "five/m", "5/x", "5/m5", "-1/m", "5/0s", ""])
def test_invalid_rate_is_an_error_at_the_start(rate: str) -> None:
    from tests.test_settings import GIVEN, settings_in

    refused = settings_in({**GIVEN, "SECRET_KEY": "s" * 50, "JWT_SECRET_KEY": "j" * 50, "LOGIN_RATE": rate})
    assert refused.returncode != 0
    assert "LOGIN_RATE is a number of attempts and a time" in refused.stderr

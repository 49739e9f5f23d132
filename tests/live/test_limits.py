"""Rate limits and token families with three worker processes, which share their counters."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import override_settings
from django_ratelimit.core import _get_window

from accounts import tokens
from accounts.models import TokenFamily, User
from tests.live.client import Answer, at_once
from tests.live.conftest import LOGS, environment_of_this_run, token_of
from tests.live.server import LiveServer
from tests.people import PASSWORD, make_account

pytestmark = pytest.mark.django_db(transaction=True)

WRONG = "not the password"
#: Rates per hour, so that a window rarely ends during a test.
RATES = {"LOGIN_RATE": "5/h", "PASSWORD_RATE": "5/h", "REGISTER_RATE": "8/h", "REFRESH_RATE": "40/h"}
#: The tests request only the redirect to the provider, so the provider need not exist.
PROVIDER = {"OAUTH_GITHUB_CLIENT_ID": "nobody", "OAUTH_GITHUB_CLIENT_SECRET": "nothing"}
HOUR = 3600
#: The longest time of the attempts of a test, including bcrypt.
TEST_SECONDS = 20


@pytest.fixture(scope="module")
def limited(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[LiveServer]:
    log = tmp_path_factory.mktemp("limited") / "server.log"
    pytestconfig.stash[LOGS].append(log)
    with LiveServer({**environment_of_this_run(), **RATES, **PROVIDER}, log) as started:
        yield started


@pytest.fixture(autouse=True)
def nothing_counted(transactional_db: None) -> None:
    cache.clear()


@pytest.fixture
def user() -> User:
    # The server's hasher; the tests use a faster one.
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.BCryptSHA256PasswordHasher"]):
        return make_account("patient", "ali@example.org")


def wait_for_full_window(*values: str) -> None:
    """Wait until no window of these counters ends during the test."""
    while any(_get_window(value, HOUR) - time.time() < TEST_SECONDS for value in values):
        time.sleep(0.5)


def log_in(server: LiveServer, email: str, password: str) -> Answer:
    return server.client().post("/auth/login", {"email": email, "password": password})


def at_once_by_all(server: LiveServer, number: int, call: Callable[[], Answer]) -> Counter[int]:
    """Make simultaneous calls on separate connections, so that all processes get some, and count the statuses."""
    answers = at_once([call] * number)
    assert all(int(answer.headers["Retry-After"]) <= HOUR for answer in answers if answer.status == 429)
    return Counter(answer.status for answer in answers)


def test_five_logins_of_an_account(limited: LiveServer, user: User) -> None:
    wait_for_full_window(user.email, "127.0.0.1")
    assert at_once_by_all(limited, 24, partial(log_in, limited, user.email, PASSWORD)) == {200: 5, 429: 19}
    assert user.token_families.count() == 5


def test_five_failures_of_an_address(limited: LiveServer, user: User) -> None:
    wait_for_full_window("127.0.0.1", user.email)
    emails = [f"nobody{number}@example.org" for number in range(24)]
    answers = at_once([partial(log_in, limited, email, WRONG) for email in emails])
    assert Counter(answer.status for answer in answers) == {401: 5, 429: 19}
    assert log_in(limited, user.email, PASSWORD).status == 429


def test_successful_logins_are_not_counted(limited: LiveServer) -> None:
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.BCryptSHA256PasswordHasher"]):
        emails = [make_account("patient", f"p{number}@example.org").email for number in range(9)]
    wait_for_full_window("127.0.0.1", *emails)
    for email in emails:
        assert log_in(limited, email, PASSWORD).status == 200
    assert [log_in(limited, f"x{number}@example.org", WRONG).status for number in range(6)] == [401] * 5 + [429]


def test_admin_login_counts_with_the_api(limited: LiveServer) -> None:
    wait_for_full_window("boss@example.org", "127.0.0.1")
    assert [log_in(limited, "boss@example.org", WRONG).status for _ in range(5)] == [401] * 5
    page = admin_login(limited, "boss@example.org")
    assert page == 429


def admin_login(server: LiveServer, email: str) -> int:
    """Log in like a browser, with the page's cookie and token, and return the status."""
    import http.client
    import re
    from urllib.parse import urlencode

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/admin/login/")
    response = connection.getresponse()
    cookie = response.getheader("Set-Cookie", "").split(";")[0]
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', response.read().decode())
    assert token is not None
    form = urlencode({"username": email, "password": WRONG, "csrfmiddlewaretoken": token[1]})
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/admin/login/", form, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def test_registrations_of_an_address(limited: LiveServer) -> None:
    wait_for_full_window("127.0.0.1")

    def register(number: int) -> Answer:
        body = {"email": f"new{number}@example.org", "password": "an uncommon phrase", "name": "Lin Tao"}
        return limited.client().post("/auth/register", body)

    answers = at_once([partial(register, number) for number in range(16)])
    assert Counter(answer.status for answer in answers) == {201: 8, 429: 8}
    assert User.objects.count() == 8


def test_password_changes_of_an_account(limited: LiveServer, user: User) -> None:
    wait_for_full_window(str(user.pk))
    token = token_of(user)

    def change() -> Answer:
        body = {"current_password": WRONG, "new_password": "another uncommon phrase"}
        return limited.client(token).post("/auth/password", body)

    assert at_once_by_all(limited, 16, change) == {400: 5, 429: 11}


def test_provider_logins_of_an_address(limited: LiveServer) -> None:
    wait_for_full_window("127.0.0.1")
    assert at_once_by_all(limited, 16, lambda: limited.client().get("/auth/oauth/github")) == {302: 8, 429: 8}


def refresh(server: LiveServer, token: str) -> Answer:
    return server.client().post("/auth/refresh", {"refresh_token": token})


def test_refreshes_of_an_address(limited: LiveServer) -> None:
    wait_for_full_window("127.0.0.1")
    assert at_once_by_all(limited, 48, partial(refresh, limited, "made up")) == {401: 40, 429: 8}


def test_one_of_twenty_concurrent_refreshes_wins_and_other_devices_stay_logged_in(
    limited: LiveServer, user: User
) -> None:
    wait_for_full_window("127.0.0.1")
    phone, laptop = tokens.start_family(user), tokens.start_family(user)
    assert at_once_by_all(limited, 20, partial(refresh, limited, phone["refresh_token"])) == {200: 1, 401: 19}
    # Nineteen requests were replays, which end this family with its access tokens, and no other family.
    assert TokenFamily.objects.filter(user=user, ended_at=None).count() == 1
    assert me(limited, phone) == 401
    assert me(limited, laptop) == 200
    assert refresh(limited, laptop["refresh_token"]).status == 200


def me(server: LiveServer, pair: dict[str, Any]) -> int:
    return server.client(pair["access_token"]).get("/auth/me").status


def test_tests_share_the_servers_store() -> None:
    """`cache.clear()` above clears the server's counters."""
    assert settings.CACHES["default"]["BACKEND"] == "healthcare.postgresql.cache.PostgreSQLCache"

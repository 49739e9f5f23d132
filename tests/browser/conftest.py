"""Fixtures for tests with a browser and the production server, on the databases of the test run.

Playwright drives Debian's Chromium. A page that requests anything from another host fails the test. The server and the
test process use the same databases, as in `tests.live`.
"""

import shutil
from collections.abc import Iterator
from importlib import import_module
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from accounts.models import User
from operations.serving import HOST
from tests.live.conftest import environment_of_this_run
from tests.live.server import LiveServer
from tests.people import People, make_account

WAIT_MS = 15_000


@pytest.fixture(scope="module")
def chromium(django_db_setup: None) -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Debian's Chromium: apt-get install chromium")
    opened = {alias: connections[alias] for alias in connections}
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's synchronous API runs an event loop in this thread. Django would therefore refuse to query the
        # databases, and open other connections than those of earlier tests.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        for alias, connection in opened.items():
            connections[alias] = connection
        expect.set_options(timeout=WAIT_MS)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(environment_of_this_run(), tmp_path_factory.mktemp("browser") / "server.log", workers=1) as started:
        yield started


@pytest.fixture
def people(transactional_db: None) -> People:
    return People.make()


@pytest.fixture
def groups(transactional_db: None) -> None:
    Group.objects.all().delete()
    import_module("accounts.migrations.0002_staff_groups").create(apps, None)


class Visitor:
    """A user with a browser of their own. Errors of their pages are collected in `wrong`."""

    def __init__(self, browser: Browser, site: LiveServer) -> None:
        self.root = f"http://{HOST}:{site.port}"
        self.context: BrowserContext = browser.new_context(
            base_url=self.root, viewport={"width": 1280, "height": 900}, color_scheme="light", timezone_id="UTC",
            locale="en-GB", reduced_motion="reduce",
        )  # fmt: skip
        self.context.set_default_timeout(WAIT_MS)
        self.wrong: list[str] = []
        self.context.on("request", self._look_at)
        self.context.on("response", lambda answer: self._note(f"{answer.status} {answer.url}", answer.status >= 500))
        self.context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        # A page with status 403 is an error to the console, too. The tests check the statuses themselves.
        self.context.on(
            "console",
            lambda said: self._note(f"{said.text} on {said.page and said.page.url}", is_wrong(said.type, said.text)),
        )
        self.page: Page = self.context.new_page()

    def log_in(self, account: User) -> "Visitor":
        """Log in without the form, because the server's password hashing is slow. One test uses the form."""
        client = Client()
        client.force_login(account)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        self.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": self.root}])
        return self

    def open(self, path: str) -> Page:
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.status == 200, f"{path} answered {answer.status}"
        return self.page

    def status_of(self, path: str) -> int:
        """Return the status of the response, without following redirects."""
        return self.context.request.get(path, max_redirects=0).status

    def post(self, path: str, form: dict[str, str]) -> int:
        """Send a form that no page offers, with a CSRF token and a Referer."""
        token = next(each["value"] for each in self.context.cookies() if each["name"] == settings.CSRF_COOKIE_NAME)
        sent: dict[str, str | float | bool] = {"csrfmiddlewaretoken": token, **form}
        return self.context.request.post(path, form=sent, headers={"Referer": self.root}, max_redirects=0).status

    def _look_at(self, request: Request) -> None:
        where = urlsplit(request.url)
        self._note(f"asked for {request.url}", where.scheme.startswith("http") and where.hostname != HOST)

    def _note(self, what: str, is_it: bool) -> None:
        if is_it:
            self.wrong.append(what)


def is_wrong(kind: str, text: str) -> bool:
    return kind == "error" and not text.startswith("Failed to load resource")


class Visitors:
    """Creates a browser for each user of a test."""

    def __init__(self, browser: Browser, site: LiveServer) -> None:
        self.browser, self.site = browser, site
        self.all: list[Visitor] = []

    def __call__(self, account: User | None = None) -> Visitor:
        visitor = Visitor(self.browser, self.site)
        self.all.append(visitor)
        return visitor.log_in(account) if account is not None else visitor

    def of_group(self, group: str) -> Visitor:
        account = make_account("staff", f"{group.split()[0].lower()}@example.org")
        account.groups.add(Group.objects.get(name=group))
        return self(account)


@pytest.fixture
def visitors(chromium: Browser, site: LiveServer, groups: None) -> Iterator[Visitors]:
    made = Visitors(chromium, site)
    yield made
    for visitor in made.all:
        visitor.context.close()
    assert [each for visitor in made.all for each in visitor.wrong] == []

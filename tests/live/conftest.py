"""A running server on the databases of the test run; the tests also read both databases directly.

The server's processes and the test must see the same data, so no transaction can be rolled back: each test is marked
`django_db(transaction=True)`, and PostgreSQL is emptied after it.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from django.db import connections

from accounts import tokens
from accounts.models import User
from tests.live.client import Client
from tests.live.server import LiveServer
from tests.people import People

LOGS = pytest.StashKey[list[Path]]()
LOG_LINES = 60


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LOGS] = []


def environment_of_this_run() -> dict[str, str]:
    """Return the environment of another process that uses the test databases."""
    base, name = os.environ["DATABASE_URL"], connections["default"].settings_dict["NAME"]
    return {
        "DATABASE_URL": base.replace("/healthcare?", f"/{name}?", 1),
        "MONGODB_DB": connections["clinical"].settings_dict["NAME"],
    }


@pytest.fixture(scope="session")
def server(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[LiveServer]:
    log = tmp_path_factory.mktemp("live") / "server.log"
    pytestconfig.stash[LOGS].append(log)
    with LiveServer(environment_of_this_run(), log) as started:
        yield started


@pytest.fixture
def people(transactional_db: None) -> People:
    return People.make()


@pytest.fixture
def admin(server: LiveServer, people: People) -> Client:
    return server.client(token_of(people.admin))


def token_of(user: User) -> str:
    return tokens.start_family(user)["access_token"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the servers' logs to the report of a failure."""
    report = yield
    if report.failed:
        for log in item.config.stash[LOGS]:
            if log.exists():
                last = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                report.sections.append((f"the end of {log}", "\n".join(last)))
    return report

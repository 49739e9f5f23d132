"""Fixtures of every test: the real databases, emptied around each test, and people who act in it.

A test that uses the databases has the mark `django_db`. PostgreSQL is rolled back after the test; MongoDB is emptied
before it, because no outer transaction can undo what it has committed.
"""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import signals
from django.db import close_old_connections, connection, connections
from django.test import TransactionTestCase
from django.test.utils import override_settings, setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient
from whitenoise.middleware import WhiteNoiseMiddleware

from billing.models import Fee
from healthcare.postgresql import cache, circuit_breaker
from tests.databases import TableEmptier, empty_collections
from tests.fees import restore_fees
from tests.people import People
from tests.people_template import PeopleTemplate


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Make and migrate both test databases, and connect to MongoDB.

    This replaces pytest-django's fixture, which makes only the databases that a test declares. A test that declared
    `clinical`, where nothing can be rolled back, would make pytest-django flush PostgreSQL after it as well. Tests that
    do not declare it cannot open a new connection to it, so the connection is opened here.
    """
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases=dict.fromkeys(connections))
        connections["clinical"].ensure_connection()
        emptier = TableEmptier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: emptier.empty())
        yield
    with django_db_blocker.unblock():
        cache.close()
        _end_other_sessions()
        teardown_databases(made, verbosity=0)


def _end_other_sessions() -> None:
    """End the sessions of threads that a test has left, because PostgreSQL drops no database that is in use."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session", autouse=True)
def fast_passwords() -> Iterator[None]:
    """Hash passwords with MD5: bcrypt takes a quarter of a second for each. The test of bcrypt sets it again."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session", autouse=True)
def static_files_found_once() -> Iterator[None]:
    """Find the static files once: every test client has its own WhiteNoise, which takes 10 ms to find 400 files."""
    method = "add_files_from_finders"
    find = getattr(WhiteNoiseMiddleware, method)
    files: dict[str, Any] = {}

    def take_or_find(middleware: WhiteNoiseMiddleware) -> None:
        if not files:
            find(middleware)
            files.update(middleware.files)
        middleware.files = files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, method, take_or_find)
        yield


@pytest.fixture(autouse=True)
def empty_clinical_database(request: pytest.FixtureRequest) -> None:
    """Empty the apps' collections before a test that uses the databases."""
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("django_db_setup")
        empty_collections()


@pytest.fixture(autouse=True)
def first_fees(request: pytest.FixtureRequest) -> None:
    """Restore the fees that the migrations make, because a test that commits leaves an empty table."""
    if marker := request.node.get_closest_marker("django_db"):
        request.getfixturevalue("transactional_db" if marker.kwargs.get("transaction") else "db")
        if not Fee.objects.exists():
            restore_fees()


@pytest.fixture(autouse=True)
def no_outage_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with a closed circuit breaker: after an outage in a test it stays open for seconds."""
    monkeypatch.setattr(circuit_breaker, "postgresql", circuit_breaker.CircuitBreaker())


@pytest.fixture
def kept_connections() -> Iterator[None]:
    """Keep the test's transaction open while the test calls the WSGI application, as Django's test client does."""
    ends = (signals.request_started, signals.request_finished)
    for each in ends:
        each.disconnect(close_old_connections)
    yield
    for each in ends:
        each.connect(close_old_connections)


@pytest.fixture(scope="session")
def people_template(django_db_setup: None, django_db_blocker: DjangoDbBlocker, fast_passwords: None) -> PeopleTemplate:
    """Make the people once for all tests of this process, before anything that a test changes."""
    with django_db_blocker.unblock():
        empty_collections()
        return PeopleTemplate()


@pytest.fixture
def people(db: None, people_template: PeopleTemplate) -> People:
    """Store one account of each role with its records: see `tests.people`."""
    return people_template.restore()


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


def pytest_collection_finish() -> None:
    """Freeze what is loaded by now, because the garbage collector would traverse all of it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

"""Tests of /healthz and /readyz: the databases that they query, their problem reports, and how they can be reached."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings
from pytest_django import Settings

from billing.models import Fee
from healthcare import clock
from healthcare.audit_log.models import AuditEntry
from healthcare.mongodb import raw
from healthcare.outbox import events
from healthcare.outbox.models import Event
from tests.databases import clinical_database, existing
from tests.people import People
from tests.records import complete, make_appointment

pytestmark = pytest.mark.django_db

UNREACHABLE_HOSTS = {
    "default": "/nonexistent",
    "clinical": "mongodb://127.0.0.1:9/?replicaSet=rs0",
}


@contextmanager
def unreachable(*aliases: str) -> Iterator[None]:
    """Point these databases to addresses where no server listens. The real connections keep their transactions."""
    real = {alias: connections[alias] for alias in aliases}
    for alias in aliases:
        broken: Any = connections.create_connection(alias)
        broken.settings_dict = {**broken.settings_dict, "HOST": UNREACHABLE_HOSTS[alias]}
        if alias == "clinical":
            broken.settings_dict["OPTIONS"] = {**broken.settings_dict["OPTIONS"], "serverSelectionTimeoutMS": 200}
        # These are kept by alias for the whole process.
        broken._connection_pools, broken._no_primary_since = {}, {}
        connections[alias] = broken
    try:
        yield
    finally:
        for alias in aliases:
            connections[alias].close()
            connections[alias] = real[alias]


def ask(path: str, **headers: Any) -> Any:
    return Client().get(path, **headers)


def problems(answer: Any) -> dict[str, str]:
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert int(answer["Retry-After"]) > 0
    return {error["pointer"]: error["code"] for error in answer.json()["errors"]}


def test_alive_queries_no_database() -> None:
    with unreachable("default", "clinical"):
        answer = ask("/healthz", HTTP_AUTHORIZATION="Bearer nonsense")
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert answer["Cache-Control"] == "no-store"


def test_ready() -> None:
    entries = AuditEntry.objects.count()
    answer = ask("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "event_lag_seconds": 0.0})
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize(
    ("aliases", "expected"),
    [
        (["default"], {"/postgresql": "unavailable"}),
        (["clinical"], {"/mongodb": "unavailable"}),
        (["default", "clinical"], {"/postgresql": "unavailable", "/mongodb": "unavailable"}),
    ],
    ids=["PostgreSQL", "MongoDB", "both"],
)
def test_not_ready_without_a_database(aliases: list[str], expected: dict[str, str]) -> None:
    with unreachable(*aliases):
        answer = ask("/readyz")
        assert problems(answer) == expected
        text = answer.content.decode()
        assert not any(word in text for word in ("nonexistent", "127.0.0.1", "Traceback", "Error"))
    assert ask("/readyz").status_code in (200, 503)


@pytest.mark.parametrize(("alias", "where"), [("default", "/postgresql"), ("clinical", "/mongodb")])
def test_not_ready_while_a_migration_is_unapplied(alias: str, where: str) -> None:
    one = {"app": "billing", "name": "0002_first_fees"}
    if alias == "default":
        MigrationRecorder(connections[alias]).migration_qs.filter(**one).delete()
        answer = ask("/readyz")
    else:
        # The test deletes the record without the ORM and inserts it again, because MongoDB is not rolled back.
        applied = clinical_database()["django_migrations"]
        removed = existing(applied.find_one_and_delete(one))
        answer = ask("/readyz")
        applied.insert_one(removed)
    assert problems(answer) == {where: "migrations"}
    assert "first_fees" not in answer.content.decode()


def test_event_lag_is_reported_and_counts_only_if_the_setting_says_so(people: People, settings: Settings) -> None:
    Fee.objects.all().delete()
    complete(people, make_appointment(people))
    hour_ago = clock.now() - timedelta(hours=1)
    # After its failed attempt the event is due later than one that has just happened.
    raw.collection(Event).update_one({"kind": "appointment.completed"}, {"$set": {"at": hour_ago}})
    answer = ask("/readyz")
    assert answer.status_code == 200
    assert 3600 <= answer.json()["event_lag_seconds"] < 3700
    assert events.lag()[1:] == (1, 0)
    settings.READY_EVENT_LAG_SECONDS = 4000
    assert ask("/readyz").status_code == 200
    settings.READY_EVENT_LAG_SECONDS = 3000
    assert problems(ask("/readyz")) == {"/events": "late"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_endpoints_accept_no_parameters_and_only_get(path: str) -> None:
    assert ask(f"{path}?verbose=1").status_code == 400
    assert Client().post(path).status_code == 405
    assert Client().head(path).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_endpoints_answer_by_address_and_over_plain_http(path: str) -> None:
    with override_settings(ALLOWED_HOSTS=["hospital.example.org"], SECURE_SSL_REDIRECT=True):
        client = Client(headers={"host": "10.1.2.3:8000"})
        assert client.get(path).status_code == 200
        assert client.get("/api", secure=True).status_code == 400
        assert Client(headers={"host": "hospital.example.org"}).get("/api").status_code == 301

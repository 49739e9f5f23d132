"""A clinical database for these tests alone, and beside it the same on the stock engine, to show what ours
mends."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import connections
from pymongo import MongoClient, monitoring

from healthcare.mongodb.base import DatabaseWrapper
from tests.mongodb.models import Tally, Visit

STOCK = "stock"
MODELS = (Visit, Tally)


@pytest.fixture(scope="package", autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """`clinical` in a database of its own, and the alias `stock` on the same server with the library's
    engine."""
    ours = connections["clinical"]
    usual_name = ours.settings_dict["NAME"]
    name = f"engine_{secrets.token_hex(4)}"
    with django_db_blocker.unblock():
        ours.settings_dict["NAME"] = name
        ours.__dict__.pop("database", None)
        connections.settings[STOCK] = {
            **ours.settings_dict,
            "ENGINE": "django_mongodb_backend",
            "NAME": f"{name}_stock",
        }
        ours.connect()
        for alias in ("clinical", STOCK):
            with connections[alias].schema_editor() as editor:
                for model in MODELS:
                    editor.create_model(model)
        try:
            yield
        finally:
            # First, so that whatever else fails, the tests behind these work on their own database. And connected:
            # tests that declare no database may not connect anew.
            # It may be another wrapper by now: some of these tests replace it.
            ours = connections["clinical"]
            ours.settings_dict["NAME"] = usual_name
            ours.connect()
            connections[STOCK].close_pool()
            del connections[STOCK]
            del connections.settings[STOCK]
        # The stock engine leaves transactions open, as these tests show; a drop would wait for them.
        ours.connection.admin.command("killAllSessions", [])
        ours.connection.drop_database(name)
        ours.connection.drop_database(f"{name}_stock")


@pytest.fixture(autouse=True)
def _empty(databases: None) -> Iterator[None]:
    yield
    for alias in ("clinical", STOCK):
        assert connections[alias].session is None, "the test left a transaction open"
        for model in MODELS:
            connections[alias].database[model._meta.db_table].delete_many({})


@pytest.fixture
def client() -> MongoClient:
    """A driver's client outside every transaction: what another process would see."""
    return connections["clinical"].connection


@pytest.fixture
def stored() -> Callable[[type], list[dict[str, Any]]]:
    """The documents of a model as they are in the database, outside every transaction, by `_id`."""

    def documents(model: type) -> list[dict[str, Any]]:
        return list(connections["clinical"].database[model._meta.db_table].find().sort("_id"))

    return documents


@pytest.fixture
def fail_command(client: MongoClient) -> Callable[..., AbstractContextManager[None]]:
    """Let the server itself fail the next commands of a name, as its fail point `failCommand` does."""

    @contextmanager
    def failing(command: str, *, times: int = 1, **how: Any) -> Iterator[None]:
        data = {"failCommands": [command], **how}
        client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
        try:
            yield
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")

    return failing


class Commands(monitoring.CommandListener):
    """The commands that the driver sends."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The commands of this test, from a client with a listener in the place of the usual one."""
    listener = Commands()
    usual = connections["clinical"]
    options = {**usual.settings_dict["OPTIONS"], "event_listeners": [listener]}
    watched = DatabaseWrapper({**usual.settings_dict, "OPTIONS": options}, alias="watched")
    # A client that was made a moment ago knows of no primary yet; that is no outage since the test before.
    DatabaseWrapper._no_primary_since.pop("watched", None)
    watched.connect()
    with monkeypatch.context() as patch:
        patch.setattr(connections._connections, "clinical", watched)
        yield listener.sent
    watched.close_pool()

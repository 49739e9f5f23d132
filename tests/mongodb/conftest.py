"""A clinical database for these tests only, and the same on the stock engine, to show which defects ours corrects."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import connections
from django.db.models import Model
from pymongo import MongoClient, monitoring

from healthcare.mongodb.base import DatabaseWrapper
from tests.databases import clinical_database, opened_connections
from tests.mongodb.models import Tally, Visit

STOCK = "stock"
MODELS = (Visit, Tally)


@pytest.fixture(scope="package", autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """Use a separate database for `clinical`, and the alias `stock` on the same server with the library's engine."""
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
            # Restore the database first, so that later tests use their own even if something else fails here. Connect
            # it, because tests that declare no database must not connect. Look it up again, because some of these
            # tests replace the wrapper.
            ours = connections["clinical"]
            ours.settings_dict["NAME"] = usual_name
            ours.connect()
            stock: Any = connections[STOCK]
            stock.close_pool()
            del connections[STOCK]
            del connections.settings[STOCK]
        # The stock engine leaves transactions open, as these tests show, and a drop would wait for them.
        ours.connection.admin.command("killAllSessions", [])
        ours.connection.drop_database(name)
        ours.connection.drop_database(f"{name}_stock")


@pytest.fixture(autouse=True)
def _empty(databases: None) -> Iterator[None]:
    yield
    for alias in ("clinical", STOCK):
        connection: Any = connections[alias]
        assert connection.session is None, "the test left a transaction open"
        for model in MODELS:
            connection.database[model._meta.db_table].delete_many({})


@pytest.fixture
def client() -> MongoClient:
    """Return a client of the driver outside all transactions, which sees what another process would see."""
    return connections["clinical"].connection


@pytest.fixture
def stored() -> Callable[[type], list[dict[str, Any]]]:
    """Return the documents of a model as stored, outside all transactions, in the order of `_id`."""

    def documents(model: type[Model]) -> list[dict[str, Any]]:
        return list(clinical_database()[model._meta.db_table].find().sort("_id"))

    return documents


@pytest.fixture
def fail_command(client: MongoClient) -> Callable[..., AbstractContextManager[None]]:
    """Make the server fail the next commands of a name, by its fail point `failCommand`."""

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
    """A listener that keeps the commands that the driver sends."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Return the commands of this test, which are sent by a client with a listener."""
    listener = Commands()
    usual = connections["clinical"]
    options = {**usual.settings_dict["OPTIONS"], "event_listeners": [listener]}
    watched = DatabaseWrapper({**usual.settings_dict, "OPTIONS": options}, alias="watched")
    # A new client knows no primary yet, which must not count as an outage since the test before.
    DatabaseWrapper._no_primary_since.pop("watched", None)
    watched.connect()
    with monkeypatch.context() as patch:
        patch.setattr(opened_connections(), "clinical", watched)
        yield listener.sent
    watched.close_pool()

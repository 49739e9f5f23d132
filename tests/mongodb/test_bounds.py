"""Queries of the ORM are limited in time, like raw operations."""

from typing import Any

import pytest
from django.db import DatabaseError, connections
from pymongo.errors import ExecutionTimeout

from healthcare.errors import is_outage
from healthcare.mongodb import compiler
from tests.mongodb.models import Tally


@pytest.mark.parametrize("read", [lambda q: list(q), lambda q: q.count(), lambda q: q.exists(), lambda q: q.first()])
def test_every_read_has_a_limit(commands: list[dict[str, Any]], read: Any) -> None:
    commands.clear()
    read(Tally.objects.filter(total=1))
    [command] = commands
    assert command["maxTimeMS"] == compiler.MAX_TIME_MS


def test_a_query_that_takes_longer_is_ended_and_is_no_500() -> None:
    client = connections["clinical"].connection
    client.admin.command("configureFailPoint", "maxTimeAlwaysTimeOut", mode="alwaysOn")
    try:
        with pytest.raises(DatabaseError) as caught:
            list(Tally.objects.filter(total=1))
    finally:
        client.admin.command("configureFailPoint", "maxTimeAlwaysTimeOut", mode="off")
    assert isinstance(caught.value.__cause__, ExecutionTimeout)
    assert is_outage(caught.value)

"""Load the dump of the version before into two new databases of the test servers, and connect to these instead."""

import gzip
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from bson import json_util
from django.db import connections
from pymongo.database import Database

from healthcare.postgresql import cache

DUMP = Path(__file__).resolve().parents[1] / "data/upgrade"
NAME = "upgraded"


@contextmanager
def upgraded_databases() -> Iterator[None]:
    """Yield while both connections lead to databases that hold the dump; drop these databases afterwards."""
    client = connections["clinical"].connection
    names = {"default": NAME, "clinical": f"{connections['clinical'].settings_dict['NAME']}_{NAME}"}
    with ExitStack() as undo:
        undo.callback(client.drop_database, names["clinical"])
        _load_mongodb(client[names["clinical"]])
        undo.enter_context(_postgresql_database())
        for alias, name in names.items():
            undo.enter_context(_connected_to(alias, name))
        undo.callback(cache.close)
        yield


def _load_mongodb(database: Database[Any]) -> None:
    """Read the lines that `make_dump.py` describes: a head for each collection, then its documents."""
    with gzip.open(DUMP / "mongodb.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = (json_util.loads(line, json_options=json_util.CANONICAL_JSON_OPTIONS) for line in file)
        for head in lines:
            name = head["collection"]
            database.create_collection(name, **head["options"])
            if documents := [next(lines) for _ in range(head["documents"])]:
                database[name].insert_many(documents)
            if head["indexes"]:
                database.command("createIndexes", name, indexes=head["indexes"])


@contextmanager
def _postgresql_database() -> Iterator[None]:
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {NAME}")
        try:
            with psycopg.connect(url.replace("/healthcare?", f"/{NAME}?", 1)) as new:
                new.execute(gzip.decompress((DUMP / "postgresql.sql.gz").read_bytes()))
            yield
        finally:
            connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


@contextmanager
def _connected_to(alias: str, name: str) -> Iterator[None]:
    """Give this thread, and threads that begin meanwhile, a new connection to that database."""
    usual, settings = connections[alias], connections.settings[alias]
    usual_name, settings["NAME"] = settings["NAME"], name
    del connections[alias]
    try:
        yield
    finally:
        connections[alias].close()
        settings["NAME"] = usual_name
        connections[alias] = usual

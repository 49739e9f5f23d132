"""Writes and reads a document and a row through the servers' addresses, as any program would."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection

import devstack


def write(directory: Path, text: str) -> None:
    write_document(directory, text)
    with psycopg.connect(devstack.addresses(directory)["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        connection.execute("INSERT INTO notes VALUES (%s)", [text])


def read(directory: Path) -> tuple[list[str], list[str]]:
    """Return the texts in MongoDB and the texts in PostgreSQL."""
    with psycopg.connect(devstack.addresses(directory)["DATABASE_URL"]) as connection:
        rows = [text for (text,) in connection.execute("SELECT text FROM notes")]
    return documents(directory), rows


def write_document(directory: Path, text: str) -> None:
    with _notes(directory) as notes:
        notes.insert_one({"text": text})


def documents(directory: Path) -> list[str]:
    with _notes(directory) as notes:
        return [note["text"] for note in notes.find().sort("_id")]


@contextmanager
def _notes(directory: Path) -> Iterator[Collection]:
    with MongoClient[dict[str, Any]](
        devstack.addresses(directory)["MONGODB_URI"], serverSelectionTimeoutMS=10000
    ) as client:
        yield client["trial"].get_collection("notes", write_concern=WriteConcern("majority", wtimeout=5000))

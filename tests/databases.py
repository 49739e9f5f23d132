"""Direct access of the tests to both databases without the application, and functions that empty them."""

from typing import Any, TypeVar, cast

from django.core.management import call_command
from django.db import connection, connections
from pymongo.database import Database

from healthcare.mongodb.base import clinical_connection
from healthcare.mongodb.raw import Document

Record = TypeVar("Record")

#: Tables whose rows come with the migrations and that no test changes; `empty_tables` checks that.
KEPT_TABLES = ("auth_permission", "django_content_type")


def opened_connections() -> Any:
    """Return the object whose attributes are this thread's connections by alias."""
    return cast(Any, connections)._connections


def clinical_database() -> Database[Document]:
    """Return PyMongo's handle of the clinical database, and connect first if this context has no connection yet.

    For a test that does not declare `clinical`, Django replaces `connect` of the connection object by a function that
    raises. Playwright runs the tests of a browser in a context of its own, whose connection object can be a new one.
    """
    connection = clinical_connection()
    if connection.connection is None:
        type(connection).connect(connection)
    return connection.database


def existing(record: Record | None) -> Record:
    """Return a record that the test has stored, and fail if it is missing."""
    assert record is not None
    return record


def empty_collections() -> None:
    """Delete every document of the clinical database but the migrations'."""
    database = clinical_database()
    for name in _filled_collections(database):
        database[name].delete_many({})


def _filled_collections(database: Database[Document]) -> list[str]:
    """Return the collections that hold a document, in one aggregation: most are empty before most tests."""
    names = [name for name in database.list_collection_names() if name != "django_migrations"]
    first, *others = [name for name in names if not name.startswith("system.")]

    def its_name(name: str) -> list[Document]:
        return [{"$limit": 1}, {"$project": {"_id": {"$literal": name}}}]

    united = [{"$unionWith": {"coll": name, "pipeline": its_name(name)}} for name in others]
    return [row["_id"] for row in database[first].aggregate([*its_name(first), *united])]


class TableEmptier:
    """Empties PostgreSQL after a test that commits, as Django's `flush` does, in a tenth of the time.

    `flush` truncates every table and makes all permissions and content types again. This truncates the tables that
    hold rows, and leaves permissions and content types alone unless the test has changed them.
    """

    def __init__(self) -> None:
        """Remember the permissions and content types that the migrations have made."""
        tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
        self._tables = sorted(set(tables) - {*KEPT_TABLES, "django_migrations"})
        self._kept = self._kept_rows()

    def empty(self) -> None:
        if self._kept_rows() != self._kept:
            call_command("flush", verbosity=0, interactive=False)
            self._kept = self._kept_rows()
            return
        quoted = {name: connection.ops.quote_name(name) for name in self._tables}
        with connection.cursor() as cursor:
            has_rows = (f"SELECT %s WHERE EXISTS (SELECT FROM {quoted[name]})" for name in self._tables)  # noqa: S608
            cursor.execute(" UNION ALL ".join(has_rows), self._tables)
            if filled := [quoted[name] for (name,) in cursor.fetchall()]:
                cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")

    def _kept_rows(self) -> Any:
        hashes = (f"(SELECT md5(string_agg(t::text, '|' ORDER BY t.id)) FROM {name} t)" for name in KEPT_TABLES)  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(hashes)}")
            return cursor.fetchone()

"""What both databases hold, to be compared before and after: a refused write has changed nothing.

The audit trail is left out, and so are the counters of rate limits: refused attempts are just what both are for.
"""

from typing import Any

from django.db import connection, connections

Snapshot = dict[str, list[Any]]


def everything() -> Snapshot:
    """Every document of every collection and every row of every table, by name."""
    return {**documents(), **rows()}


def documents() -> Snapshot:
    database = connections["clinical"].database
    names = [name for name in database.list_collection_names() if not name.startswith("system.")]
    return {f"mongodb {name}": list(database[name].find().sort("_id", 1)) for name in sorted(names)}


def rows() -> Snapshot:
    found: Snapshot = {}
    with connection.cursor() as cursor:
        for name in sorted(connection.introspection.table_names(cursor)):
            if name.startswith("audit_") or name == "healthcare_counter":
                continue
            table = connection.ops.quote_name(name)
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")  # noqa: S608 - a table's own name
            found[f"postgresql {name}"] = [text for (text,) in cursor.fetchall()]
    return found


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """The collections and tables that differ."""
    return {name for name in before.keys() | after.keys() if before.get(name, []) != after.get(name, [])}

"""PostgreSQL's half: each table by COPY, all of them in one REPEATABLE READ transaction.

Not by pg_dump: it has to be of the server's version and beside the application, and it dumps a schema that the
migrations make anyway. The tables are read as this version's migrations have made them, and only put back into such.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connections, transaction
from psycopg import sql

from healthcare.routers import DEFAULT
from operations.backups import files

#: Which migrations there were stands in the manifest. Whoever was logged in is not after a restore: a token or session
#: that was ended since would be good again. Counters of attempts are of the moment.
LEFT_OUT = frozenset({"django_migrations", "django_session", "accounts_tokenfamily", "healthcare_counter"})
#: What migrations fill in an empty database; everything else is somebody's.
FILLED_BY_MIGRATIONS = frozenset(
    {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions",
     "billing_fee"}
)  # fmt: skip
#: Which nobody may empty, and need not: they are empty before a restore.
_INSERT_ONLY = frozenset({"audit_entries", "audit_patients", "audit_heads"})
_HEADS = "audit_heads"
_MONTH = re.compile(r"audit_entries_(\d{4})_(\d{2})")
#: Tokens that were issued after the backup name families that it does not know: no new one gets their numbers.
_FAMILIES_SKIPPED = 1_000_000
_CHUNK_BYTES = 1 << 20


def is_postgresql() -> bool:
    return connections[DEFAULT].vendor == "postgresql"


@contextmanager
def at_one_moment() -> Iterator[datetime]:
    """Read all tables as they are at the beginning of the block; yields the server's time then."""
    with transaction.atomic(using=DEFAULT, durable=True), connections[DEFAULT].cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT clock_timestamp()")
        yield cursor.fetchone()[0]


def tables() -> list[str]:
    """All that hold rows of their own; partitions are read through their table."""
    return [name for (name,) in _rows(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = current_schema()::regnamespace ORDER BY 1"
    )]  # fmt: skip


def months() -> list[str]:
    """The months that the audit trail has partitions for, as days."""
    names = _rows("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_entries'::regclass")
    found = [_MONTH.fullmatch(name) for (name,) in names]
    return sorted(f"{match[1]}-{match[2]}-01" for match in found if match)


def sequences() -> dict[str, int]:
    """Every sequence that was used, and how far."""
    return dict(_rows(
        "SELECT sequencename::text, last_value FROM pg_sequences"
        " WHERE schemaname = current_schema() AND last_value IS NOT NULL ORDER BY 1"
    ))  # fmt: skip


def copy_out(directory: Path, table: str, *, audit_head: int) -> dict[str, Any]:
    """Write a table into a file; what the manifest says of it. Of the noted heads those of the backup's seals."""
    columns = _columns(table)
    where = sql.SQL(" WHERE number <= {}").format(audit_head) if table == _HEADS else sql.SQL("")
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(_listed(columns), sql.Identifier(table), where)
    rows = 0
    with (
        files.writing(directory, f"postgresql/{table}.copy.gz") as (out, described),
        _cursor() as cursor,
        cursor.copy(query) as data,
    ):
        for block in data:
            # A row is a line: line breaks inside a value are escaped.
            rows += bytes(block).count(b"\n")
            out.write(block)
    return {"table": table, "columns": columns, "rows": rows, **described[0]._asdict()}


def occupied() -> list[str]:
    """The tables that hold what no migration has put there."""
    found = []
    for table in tables():
        if table not in FILLED_BY_MIGRATIONS and table not in LEFT_OUT:
            with _cursor() as cursor:
                cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table)))
                if cursor.fetchone()[0]:
                    found.append(table)
    return found


def copy_in(directory: Path, said: dict[str, Any]) -> None:
    """Put all tables back; to be called in a transaction. Raises: NoBackup."""
    for month in said["months"]:
        _rows("SELECT audit_make_month(%s)", [month])
    with _cursor() as cursor:
        names = [each["table"] for each in said["tables"] if each["table"] not in _INSERT_ONLY]
        # Those that were left out as well: they name accounts, and are empty.
        names += sorted(LEFT_OUT - {"django_migrations"})
        cursor.execute(sql.SQL("TRUNCATE {}").format(_listed(names)))
        for each in said["tables"]:
            query = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(each["table"]), _listed(each["columns"]))
            with files.reading(directory, each["file"]) as opened, cursor.copy(query) as data:
                while chunk := opened.read(_CHUNK_BYTES):
                    data.write(chunk)
            if cursor.rowcount != each["rows"]:
                raise files.NoBackup(f"{each['file']} has {cursor.rowcount} rows, and the manifest {each['rows']}.")
        for name, value in said["sequences"].items():
            skipped = _FAMILIES_SKIPPED if name.startswith("accounts_tokenfamily") else 0
            cursor.execute("SELECT setval(%s::regclass, %s)", [name, value + skipped])


def _columns(table: str) -> list[str]:
    return [name for (name,) in _rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum", [table]
    )]  # fmt: skip


def _listed(names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _rows(query: str, parameters: list[Any] | None = None) -> list[Any]:
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def _cursor() -> Any:
    """The driver's own, on the connection and in the transaction of Django's."""
    connections[DEFAULT].ensure_connection()
    return connections[DEFAULT].connection.cursor()

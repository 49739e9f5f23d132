"""Copies PostgreSQL's tables to files and back, with COPY in one REPEATABLE READ transaction.

pg_dump is not used: it must have the server's version and be installed beside the application, and it dumps a schema
that the migrations create anyway. A backup is restored only into tables that the same migrations have created.
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

#: Tables that a backup leaves out. The manifest lists the migrations. Sessions and token families are left out, because
#: a session or token that was ended after the backup would be valid again. Rate counters are short-lived.
EXCLUDED_TABLES = frozenset({"django_migrations", "django_session", "accounts_tokenfamily", "healthcare_counter"})
#: Tables that contain rows after the migrations of an empty database. Rows in any other table are somebody's data.
FILLED_BY_MIGRATIONS = frozenset(
    {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions",
     "billing_fee"}
)  # fmt: skip
#: Tables whose triggers refuse TRUNCATE. They are empty before a restore.
_INSERT_ONLY = frozenset({"audit_entries", "audit_patients", "audit_heads"})
_HEADS = "audit_heads"
_MONTH = re.compile(r"audit_entries_(\d{4})_(\d{2})")
#: Tokens that were issued after the backup name token families that the backup lacks. A restore skips this many
#: numbers, so that no new family gets the number of such a token.
_SKIPPED_FAMILY_NUMBERS = 1_000_000
_CHUNK_BYTES = 1 << 20


def is_postgresql() -> bool:
    return connections[DEFAULT].vendor == "postgresql"


@contextmanager
def snapshot() -> Iterator[datetime]:
    """Read all tables as of the beginning of the block; yield the server's time at that point."""
    with transaction.atomic(using=DEFAULT, durable=True), connections[DEFAULT].cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT clock_timestamp()")
        yield cursor.fetchone()[0]


def tables() -> list[str]:
    """Return the tables that hold rows; partitions are read through their partitioned table."""
    return [name for (name,) in _rows(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = current_schema()::regnamespace ORDER BY 1"
    )]  # fmt: skip


def partition_months() -> list[str]:
    """Return the first day of each month for which the audit log has a partition."""
    names = _rows("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_entries'::regclass")
    matches = [_MONTH.fullmatch(name) for (name,) in names]
    return sorted(f"{match[1]}-{match[2]}-01" for match in matches if match)


def sequence_values() -> dict[str, int]:
    """Return the last value of each sequence that was used."""
    return dict(_rows(
        "SELECT sequencename::text, last_value FROM pg_sequences"
        " WHERE schemaname = current_schema() AND last_value IS NOT NULL ORDER BY 1"
    ))  # fmt: skip


def copy_out(directory: Path, table: str, *, audit_head: int) -> dict[str, Any]:
    """Write a table to a file and return its description for the manifest.

    Of the seal hashes in `audit_heads` only those of the backup's seals are written.
    """
    columns = _columns(table)
    where = sql.SQL(" WHERE number <= {}").format(audit_head) if table == _HEADS else sql.SQL("")
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(_identifiers(columns), sql.Identifier(table), where)
    rows = 0
    with (
        files.compressed_file(directory, f"postgresql/{table}.copy.gz") as (out, written),
        _cursor() as cursor,
        cursor.copy(query) as data,
    ):
        for block in data:
            # COPY writes one line for each row and escapes line breaks inside values.
            rows += bytes(block).count(b"\n")
            out.write(block)
    return {"table": table, "columns": columns, "rows": rows, **written[0]._asdict()}


def nonempty_tables() -> list[str]:
    """Return the tables with rows that no migration has inserted."""
    nonempty = []
    for table in tables():
        if table not in FILLED_BY_MIGRATIONS and table not in EXCLUDED_TABLES:
            with _cursor() as cursor:
                cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table)))
                if cursor.fetchone()[0]:
                    nonempty.append(table)
    return nonempty


def copy_in(directory: Path, manifest: dict[str, Any]) -> None:
    """Fill all tables from PostgreSQL's part of the manifest. Call this in a transaction. Raises: InvalidBackup."""
    for month in manifest["months"]:
        _rows("SELECT audit_make_month(%s)", [month])
    with _cursor() as cursor:
        names = [each["table"] for each in manifest["tables"] if each["table"] not in _INSERT_ONLY]
        # TRUNCATE must name the excluded tables as well, because they reference accounts. They are empty.
        names += sorted(EXCLUDED_TABLES - {"django_migrations"})
        cursor.execute(sql.SQL("TRUNCATE {}").format(_identifiers(names)))
        for each in manifest["tables"]:
            query = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(each["table"]), _identifiers(each["columns"])
            )
            with files.open_compressed(directory, each["file"]) as opened, cursor.copy(query) as data:
                while chunk := opened.read(_CHUNK_BYTES):
                    data.write(chunk)
            if cursor.rowcount != each["rows"]:
                raise files.InvalidBackup(
                    f"{each['file']} has {cursor.rowcount} rows; the manifest says {each['rows']}."
                )
        for name, value in manifest["sequences"].items():
            skipped = _SKIPPED_FAMILY_NUMBERS if name.startswith("accounts_tokenfamily") else 0
            cursor.execute("SELECT setval(%s::regclass, %s)", [name, value + skipped])


def _columns(table: str) -> list[str]:
    return [name for (name,) in _rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum", [table]
    )]  # fmt: skip


def _identifiers(names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _rows(query: str, parameters: list[Any] | None = None) -> list[Any]:
    with connections[DEFAULT].cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def _cursor() -> Any:
    """Return psycopg's own cursor, which has `copy`, on Django's connection and in its transaction."""
    connections[DEFAULT].ensure_connection()
    return connections[DEFAULT].connection.cursor()

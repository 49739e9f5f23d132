"""A template of `tests.people.People`: the services make the people once, and every test restores a copy.

Calling the services for each test took 66 of the 172 ms that one cell of the permission matrix took; restoring the
stored rows and documents takes about 5 ms. `tests/test_people.py` compares the two.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from django.db import connection, transaction

from accounts.models import User
from healthcare import clock
from healthcare.audit_log.models import AuditEntry
from tests.databases import clinical_database
from tests.people import People

#: Collections that hold a document of the people, in the order in which they are restored.
COLLECTIONS = ("patients", "doctors", "events")
ENTRY_COLUMNS = [field.name for field in AuditEntry._meta.concrete_fields if field.name != "id"]

# One statement, because PostgreSQL is a round trip away. The audit entries get their ids from the table's default, as
# those of the application do (healthcare/sql/audit_log.sql).
RESTORE = f"""
    WITH accounts AS (
        INSERT INTO accounts_user SELECT * FROM jsonb_populate_recordset(NULL::accounts_user, %s)
    ), entries AS (
        INSERT INTO audit_entries ({", ".join(ENTRY_COLUMNS)})
        SELECT {", ".join(ENTRY_COLUMNS)} FROM jsonb_populate_recordset(NULL::audit_entries, %s)
        RETURNING at, id, patient_ids
    )
    INSERT INTO audit_patients (patient_id, at, entry_id)
    SELECT patient_id, at, id FROM entries, unnest(patient_ids) AS patient_id
"""  # noqa: S608 -- only column names


class PeopleTemplate:
    """The rows and documents of one `People.make()`, without their account ids, event ids and timestamps."""

    def __init__(self) -> None:
        """Make the people in a transaction that is rolled back. MongoDB, which must be empty, keeps its documents."""
        block = transaction.atomic(using="default")
        # The mark of Django's TestCase: events are delivered in this transaction, as in a test.
        setattr(block, "_from_testcase", True)  # noqa: B010
        with block:
            before = _last_entry_id()
            self.people = People.make()
            accounts = [person.pk for field in fields(People) if isinstance(person := self._person(field.name), User)]
            self.accounts = list(User.objects.filter(pk__in=accounts).order_by("pk").values())
            self.entries = list(AuditEntry.objects.filter(id__gt=before).order_by("id").values(*ENTRY_COLUMNS))
            transaction.set_rollback(True)
        database = clinical_database()
        self.documents = {name: list(database[name].find().sort("_id", 1)) for name in COLLECTIONS}
        self.made_at = max(entry["at"] for entry in self.entries)

    def _person(self, name: str) -> Any:
        return getattr(self.people, name)

    def restore(self) -> People:
        """Store the people as if they had been made just now, and return them."""
        accounts = dict(zip((row["id"] for row in self.accounts), _new_account_ids(len(self.accounts)), strict=True))
        events: dict[Any, Any] = {document["_id"]: ObjectId() for document in self.documents["events"]}
        copier = _Copier(accounts, events, clock.now() - self.made_at)
        rows = [[copier.copy(row) for row in table] for table in (self.accounts, self.entries)]
        with connection.cursor() as cursor:
            cursor.execute(RESTORE, [json.dumps(table, default=datetime.isoformat) for table in rows])
        database = clinical_database()
        for name, documents in self.documents.items():
            database[name].insert_many([copier.copy(document) for document in documents])
        return replace(
            self.people,
            **{field.name: copier.copy_instance(self._person(field.name)) for field in fields(self.people)},
        )


class _Copier:
    """Copies rows, documents and model instances with new account ids, event ids and timestamps."""

    def __init__(self, accounts: Mapping[int, int], events: Mapping[Any, Any], age: timedelta) -> None:
        self._ids: dict[Any, Any] = {**accounts, **events}
        self._texts = {str(old): str(new) for old, new in self._ids.items()}
        self._age = age

    def copy(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._value(name, value) for name, value in row.items()}

    def copy_instance(self, instance: Any) -> Any:
        copied = copy.deepcopy(instance)
        for name in ("id", "user_id", "created_at"):
            if hasattr(copied, name):
                setattr(copied, name, self._value(name, getattr(copied, name)))
        return copied

    def _value(self, name: str, value: Any) -> Any:
        if name in ("id", "_id", "user_id", "actor_id"):
            return self._ids.get(value, value)
        if name in ("subject", "source"):
            return self._texts.get(value, value)
        if name in ("at", "created_at"):
            return value + self._age
        return self.copy(value) if isinstance(value, dict) else copy.copy(value)


def _last_entry_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_entry_id")
        return int(cursor.fetchone()[0])


def _new_account_ids(count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('accounts_user', 'id')) FROM generate_series(1, %s)", [count]
        )
        return [number for (number,) in cursor.fetchall()]

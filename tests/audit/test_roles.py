"""Changes that PostgreSQL refuses: to everybody by triggers, to the application by the privileges of its role."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import ProgrammingError, connection, transaction
from pytest_django import Settings

from accounts.models import Role, User
from audit import queries, services
from healthcare import clock
from healthcare.audit_log.models import AuditEntry, AuditLogIsInsertOnly, AuditPatient
from tests.audit.test_seals import verify, write
from tests.people import PASSWORD, People
from tests.records import complete, make_appointment, make_bill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_audit_log")]

SCRIPT = Path(settings.BASE_DIR) / "healthcare" / "sql" / "database_roles.sql"


def execute(sql: str, *values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def roles() -> Iterator[None]:
    execute(SCRIPT.read_text(encoding="utf-8"))
    execute(SCRIPT.read_text(encoding="utf-8"))  # the script can be run any number of times
    yield
    for role in ("healthcare_app", "healthcare_archivist"):
        execute(f"DROP OWNED BY {role}")
        execute(f"DROP ROLE {role}")


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    execute(f"SET ROLE {role}")
    try:
        yield
    finally:
        execute("RESET ROLE")


def sqlstate_of(sql: str, *values: Any) -> str:
    """Run a statement that PostgreSQL refuses, and return the SQLSTATE of the error."""
    with pytest.raises(ProgrammingError) as error, transaction.atomic(using="default"):
        execute(sql, *values)
    return str(getattr(error.value.__cause__, "sqlstate", ""))


CHANGES = [
    "UPDATE audit_entries SET role = 'admin'",
    "DELETE FROM audit_entries",
    "TRUNCATE audit_entries",
    "UPDATE audit_patients SET patient_id = 'P2'",
    "DELETE FROM audit_patients",
    "TRUNCATE audit_patients",
    "UPDATE audit_entries_other SET role = 'admin'",
    "DELETE FROM {month}",
    "TRUNCATE {month}",
    "TRUNCATE audit_entries_other",
    "UPDATE audit_entries SET role = 'admin' WHERE false",
    "DELETE FROM {coming}",
    "UPDATE audit_heads SET hash = 'another'",
    "DELETE FROM audit_heads",
    "TRUNCATE audit_heads",
]


def on_partitions(sql: str) -> str:
    """Insert the partition of this month, or of the coming one, which is empty, into the statement."""
    now = clock.now()
    following = now.replace(day=1) + timedelta(days=32)
    return sql.format(month=f"audit_entries_{now:%Y_%m}", coming=f"audit_entries_{following:%Y_%m}")


@pytest.mark.parametrize("sql", CHANGES)
def test_triggers_refuse_every_change_to_the_owner_too(sql: str) -> None:
    write(2)
    services.seal()
    before = list(AuditEntry.objects.order_by("id").values())
    assert sqlstate_of(on_partitions(sql)) == "42501"
    assert verify()[0]
    assert list(AuditEntry.objects.order_by("id").values()) == before
    assert AuditPatient.objects.count() == 2


def test_the_orm_offers_no_change() -> None:
    write(1)
    entry, row = AuditEntry.objects.get(), AuditPatient.objects.get()
    for attempt in (
        entry.save, entry.delete, row.save, row.delete, AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(role="admin"),
        lambda: AuditEntry.objects.create(role="admin"),
        lambda: AuditEntry.objects.bulk_create([entry]),
        lambda: AuditEntry.objects.bulk_update([entry], ["role"]),
        lambda: AuditEntry.objects.filter(pk=1).get_or_create(),
        lambda: AuditEntry.objects.update_or_create(pk=1),
    ):  # fmt: skip
        with pytest.raises(AuditLogIsInsertOnly):
            attempt()
    assert AuditEntry.objects.count() == 1


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize(
    "sql",
    [
        *CHANGES,
        "SELECT * FROM {month}",
        "INSERT INTO {month} SELECT * FROM audit_entries",
        "DROP TABLE audit_entries",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "ALTER TABLE audit_entries DETACH PARTITION {month}",
        "DROP TRIGGER audit_insert_only ON audit_entries",
        "SELECT audit_drop_month('2020-01-01', 0)",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "SELECT setval('audit_entry_id', 1)",
        "UPDATE django_migrations SET name = 'x'",
    ],
)
def test_the_application_can_only_insert_and_read_entries(sql: str) -> None:
    write(1)
    with acting_as("healthcare_app"):
        assert sqlstate_of(on_partitions(sql)) == "42501"
    assert AuditEntry.objects.count() == 1


@pytest.mark.usefixtures("roles")
def test_the_application_works_as_its_role(people: People) -> None:
    with acting_as("healthcare_app"):
        anonymous = people.client("anonymous")
        answer = anonymous.post("/api/auth/login", {"email": "doctor@example.org", "password": PASSWORD}, format="json")
        assert answer.status_code == 200
        admin = people.client("admin")
        assert admin.get("/api/patients/P1").status_code == 200
        bill = make_bill(people)
        complete(people, make_appointment(people))
        assert admin.patch(f"/api/billing/{bill.pk}", {"status": "paid"}, format="json").status_code == 200
        assert admin.delete(f"/api/billing/{bill.pk}").status_code == 204
        assert admin.get("/api/patients/P1/access-log").json()["results"][0]["action"] == "bill.deleted"
        assert User.objects.create_user("new@example.org", PASSWORD, role=Role.STAFF).pk
        services.make_months()
        assert services.seal().entries > 5
        assert verify()[0]


@pytest.mark.usefixtures("roles")
def test_the_archivist_can_read_entries_and_drop_months_that_have_ended() -> None:
    execute("SELECT audit_make_month('2024-03-01')")
    execute(
        "INSERT INTO audit_entries (at, role, action, patient_ids, outcome, channel)"
        " VALUES ('2024-03-05', 'doctor', 'patient.viewed', '{}', 'success', 'api')"
    )
    with acting_as("healthcare_archivist"):
        assert AuditEntry.objects.count() == 1
        for sql in (
            *CHANGES,
            "INSERT INTO audit_entries SELECT * FROM audit_entries",
            "SELECT * FROM accounts_user",
            "SELECT * FROM billing",
            "DROP TABLE audit_entries_2024_03",
        ):
            assert sqlstate_of(on_partitions(sql)) == "42501", sql
        with pytest.raises(Exception, match="Only whole months that have ended"), transaction.atomic(using="default"):
            execute("SELECT audit_drop_month(%s, 0)", clock.now().date())
        assert execute("SELECT audit_drop_month('2024-03-01', %s)", AuditEntry.objects.get().pk) == [(True,)]
    assert AuditEntry.objects.count() == 0


@pytest.mark.usefixtures("roles")
def test_archiving_uses_the_role_of_archive_database_url(tmp_path: Path, settings: Settings) -> None:
    """The role of the application cannot drop a month, and the login of the archivist can."""
    execute("SELECT audit_make_month('2024-03-01')")
    execute(
        "INSERT INTO audit_entries (at, role, action, patient_ids, outcome, channel)"
        " VALUES ('2024-03-05', 'doctor', 'patient.viewed', '{}', 'success', 'api')"
    )
    services.seal()
    execute("CREATE ROLE test_archive LOGIN IN ROLE healthcare_archivist")
    values = connection.get_connection_params()
    try:
        with acting_as("healthcare_app"):
            with pytest.raises(services.MonthNotArchived, match="may not drop months"):
                list(services.archive(before=date(2024, 4, 1), directory=tmp_path / "mine"))
            # Without the privilege the command writes neither a file nor a seal.
            assert not (tmp_path / "mine").exists()
            assert not queries.archive_seal_of("2024-03")
            settings.ARCHIVE_DATABASE_URL = (
                f"postgresql://test_archive@/{values['dbname']}?host={values['host']}&port={values.get('port') or 5432}"
            )
            (done,) = services.archive(before=date(2024, 4, 1), directory=tmp_path)
        assert (done.month, done.entries) == ("2024-03", 1)
        assert queries.archive_seal_of("2024-03")
        assert verify("--archive", str(tmp_path))[0]
    finally:
        execute("DROP ROLE test_archive")

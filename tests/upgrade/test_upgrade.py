"""An upgrade: the databases of the version before are migrated by this version and work.

`tests/data/upgrade/README.md` says what is in them and how the dump is made.
"""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings
from django.urls import reverse
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from accounts.models import TokenFamily, User
from audit import queries as audit_queries
from billing.models import Bill
from datasets.seed.demo import DEMO_PASSWORD
from healthcare.mongodb import encryption, raw
from healthcare.observability import health
from healthcare.outbox import events
from healthcare.outbox.models import Event
from operations.backups import mongodb
from patients.models import Patient
from tests.consistency.commands import assert_clean, check
from tests.phi.conftest import configured
from tests.upgrade.databases import upgraded_databases

#: The encryption key that `make_dump.py` uses. It protects nothing, because the patients are invented.
PHI_MASTER_KEY = bytes(range(96))
#: Partitions of the audit log are named by months, so that they depend on the day on which a database was made.
PARTITION = re.compile(r"audit_(entries|patients)_\d{4}_\d{2}")

#: Differences that do not matter. PostgreSQL shows an expression that pg_dump has written with other casts and brackets
#: than the original. Comments and error messages of functions may be reworded without a migration.
IMMATERIAL = re.compile(r"::[a-z ]+(\[\])?|[()]|--.*?\\n|RAISE EXCEPTION '[^']*'|\\'")


@pytest.fixture(scope="module")
def usual_schema(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[str, Any]:
    """The schema of both test databases, which this version has made from nothing."""
    with django_db_blocker.unblock():
        return schema()


@pytest.fixture(scope="module")
def upgraded(usual_schema: dict[str, Any], django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Both databases of the version before, migrated as docs/deployment.md describes."""
    with (
        django_db_blocker.unblock(),
        # The accounts of the dump have passwords that bcrypt has hashed.
        override_settings(
            PHI_ENCRYPTION=configured(PHI_MASTER_KEY),
            PASSWORD_HASHERS=["django.contrib.auth.hashers.BCryptSHA256PasswordHasher"],
        ),
        upgraded_databases(),
    ):
        encryption.forget()
        for alias in settings.DATABASES:
            call_command("migrate", database=alias, verbosity=0, interactive=False)
        # The relay does this every minute. The months of the dump may have ended.
        call_command("seal_audit", verbosity=0)
        yield
        encryption.forget()


pytestmark = pytest.mark.usefixtures("upgraded")


def schema() -> dict[str, Any]:
    """Columns, constraints and indexes of PostgreSQL's tables, and the indexes of MongoDB's collections."""
    queries = {
        "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default, character_maximum_length"
        " FROM information_schema.columns WHERE table_schema = 'public'",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conrelid <> 0",
        "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "triggers": "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE NOT tgisinternal",
        "functions": "SELECT proname, proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    }
    found: dict[str, Any] = {}
    with connections["default"].cursor() as cursor:
        for name, query in queries.items():
            cursor.execute(query)
            found[name] = sorted(
                IMMATERIAL.sub("", repr(row)) for row in cursor.fetchall() if not PARTITION.fullmatch(row[0])
            )
    for name in mongodb.collection_names():
        # The key vault and its index are made when encryption is first used.
        if name != encryption.DATA_KEYS:
            found[f"mongodb {name}"] = sorted(map(repr, mongodb.indexes_of(name)))
    return found


def log_in(role: str) -> tuple[APIClient, dict[str, Any]]:
    """Log in as the demo account, and return a client with its token, and the account."""
    client = APIClient()
    body = {"email": f"{role}@example.org", "password": DEMO_PASSWORD}
    answer = client.post("/api/auth/login", body, format="json")
    assert answer.status_code == 200, answer.json()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['access_token']}")
    return client, client.get("/api/auth/me").json()


def test_no_migration_is_missing() -> None:
    assert health.readiness().problems == []


def test_schema_is_that_of_a_new_database(usual_schema: dict[str, Any]) -> None:
    assert len(usual_schema) > 15
    found = schema()
    assert found.keys() == usual_schema.keys()
    for name, expected in usual_schema.items():
        assert set(found[name]) ^ set(expected) == set(), name


def test_dead_letter_and_waiting_event_are_delivered_and_everything_agrees() -> None:
    (dead_letter,) = raw.collection(Event).find({"set_aside_at": {"$exists": True}})
    (waiting,) = raw.collection(Event).find({"due_at": {"$exists": True}, "subject_id": "UPGRADE-5"})
    assert (dead_letter["subject_id"], dead_letter["pending"]) == ("UPGRADE-4", ["billing"])
    assert waiting["pending"] == ["audit", "billing"]
    browser = Client()
    browser.force_login(User.objects.get(email="admin@example.org"))
    listing = browser.get(reverse("admin:healthcare_event_changelist")).content.decode()
    assert "LookupError" in listing
    assert events.retry(dead_letter["_id"])
    call_command("relay_events", verbosity=0)
    assert Bill.objects.filter(appointment_id__in=["UPGRADE-4", "UPGRADE-5"]).count() == 2
    assert events.pending_ids() == []

    assert_clean(check())
    call_command("verify_reports", stdout=StringIO())
    call_command("seal_audit", verbosity=0)
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert audit_queries.head()["_id"] > 1, "the seals of this version continue the chain of the one before"
    assert f"The head is {audit_queries.head()['hash']}" in out.getvalue()


def test_people_log_in_and_work() -> None:
    families = TokenFamily.objects.count()
    assert families >= 3, "the logins of the version before are there"
    patient, account = log_in("patient")
    assert TokenFamily.objects.count() == families + 1
    patient_id = account["patient_id"]
    chart = patient.get(f"/api/patients/{patient_id}").json()
    stored = raw.collection(Patient).find_one({"_id": patient_id})
    assert stored is not None
    assert {"UPGRADE-1", "UPGRADE-2", "UPGRADE-3"} <= {each["appointment_id"] for each in chart["appointments"]}
    assert encryption.is_encrypted(stored["phone"])
    assert re.fullmatch(r"[+0-9 ()-]+", chart["phone"]), "the phone number is decrypted"

    doctor, account = log_in("doctor")
    free = patient.get(f"/api/doctors/{account['doctor_id']}/slots").json()["results"][-1]
    visit = {"patient_id": patient_id, "doctor_id": account["doctor_id"], "date": free["date"], "time": free["time"]}
    booked = patient.post("/api/appointments", visit, format="json")
    assert booked.status_code == 201, booked.json()
    again = patient.post("/api/appointments", visit, format="json")
    assert (again.status_code, again.json()["errors"][0]["code"]) == (409, "slot_taken")
    path = f"/api/appointments/{booked.json()['appointment_id']}"
    completed = doctor.patch(path, {"status": "completed", "disease": "Asthma"}, format="json")
    assert completed.status_code == 200, completed.json()
    bills = patient.get("/api/billing").json()["results"]
    (bill,) = (each for each in bills if each["appointment_id"] == booked.json()["appointment_id"])
    assert bill["disease"] == "Asthma"
    assert Bill.objects.get(pk=bill["id"]).source_event_id

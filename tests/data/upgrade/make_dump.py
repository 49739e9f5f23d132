"""Make the dump that `tests/upgrade` starts from: run this file in a checkout of the version before.

    cd CHECKOUT_OF_THE_VERSION_BEFORE
    python THIS_REPOSITORY/tests/data/upgrade/make_dump.py THIS_REPOSITORY/tests/data/upgrade

The script starts servers of its own in a temporary folder, fills both databases through that version's own commands,
API and services, and writes `postgresql.sql.gz` and `mongodb.jsonl.gz`. Its imports are the module names of revision
d5dad10; a dump of a later version needs those of that version.
"""

import base64
import gzip
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

#: All imports of the project are from the old revision, in whose checkout the script runs.
CHECKOUT = Path.cwd()
sys.path.insert(0, str(CHECKOUT))

# A key that protects nothing: the patients are invented, and the test must be able to decrypt them.
PHI_MASTER_KEY = base64.b64encode(bytes(range(96))).decode()


def main(output: Path) -> None:
    ephemeral = import_module("healthcare.devstack.ephemeral")
    with ephemeral.EphemeralStack(durable=True) as stack:
        os.environ.update(
            stack.addresses,
            DEVSTACK_DIR=str(stack.directory),
            DJANGO_SETTINGS_MODULE="healthcare.settings",
            ENV_FILE=os.devnull,
            SECRET_KEY="a secret for tests, long enough for every check that measures it",
            JWT_SECRET_KEY="another secret for tests, long enough for HMAC with SHA-256 as well",
            PHI_MASTER_KEY=PHI_MASTER_KEY,
            DEBUG="0",
            HTTPS_ONLY="0",
        )
        import django

        django.setup()
        audit_context = import_module("healthcare.trail")
        with audit_context.opened(channel="command", request_id="make-dump"):
            fill()
        dump_postgresql(stack.addresses["DATABASE_URL"], output / "postgresql.sql.gz")
        dump_mongodb(output / "mongodb.jsonl.gz")


def fill() -> None:
    from django.conf import settings
    from django.core.management import call_command

    for alias in settings.DATABASES:
        call_command("migrate", database=alias, verbosity=0, interactive=False)
    call_command(
        "seed", patients=5, doctors=3, appointments=30, prescriptions=15, bills=3, workers=1, demo_accounts=True,
        verbosity=0,
    )  # fmt: skip
    use_api()
    leave_dead_letter_and_waiting_event()
    import_module("healthcare.heard").write()
    call_command("seal_audit", verbosity=0)
    # Entries that are not sealed yet, and the one for this read.
    call_command("check_consistency", only=["references"], verbosity=0)


def use_api() -> None:
    """Book, complete, cancel and prescribe as the demo accounts; leave a token family and rate counters."""
    from django.test import Client

    demo = import_module("healthcare.management.seeding.demo")
    client = Client(SERVER_NAME="localhost")

    def ask(method: str, path: str, body: object = None, *, token: str = "", status: int) -> dict:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = client.generic(method, path, encode(body), "application/json", headers=headers)
        if answer.status_code != status:
            raise SystemExit(f"{method} {path} was answered {answer.status_code}: {answer.content!r}")
        return answer.json()

    def log_in(role: str) -> str:
        body = {"email": f"{role}@example.org", "password": demo.DEMO_PASSWORD}
        return ask("POST", "/api/auth/login", body, status=200)["access_token"]

    ask("POST", "/api/auth/login", {"email": "patient@example.org", "password": "not the password"}, status=401)
    admin, doctor, patient = log_in("admin"), log_in("doctor"), log_in("patient")
    doctor_id = ask("GET", "/api/auth/me", token=doctor, status=200)["doctor_id"]
    patient_id = ask("GET", "/api/auth/me", token=patient, status=200)["patient_id"]
    slots = ask("GET", f"/api/doctors/{doctor_id}/slots", token=admin, status=200)["results"]
    for number, status in enumerate(("completed", "cancelled", "scheduled"), start=1):
        slot = slots[-2 * number]
        visit = {
            "appointment_id": f"UPGRADE-{number}", "patient_id": patient_id, "doctor_id": doctor_id,
            "date": slot["date"], "time": slot["time"], "disease": "Asthma",
        }  # fmt: skip
        ask("POST", "/api/appointments", visit, token=admin, status=201)
        if status != "scheduled":
            ask("PATCH", f"/api/appointments/UPGRADE-{number}", {"status": status}, token=admin, status=200)
    prescription = {
        "patient_id": patient_id, "doctor_id": doctor_id, "drug": "Salbutamol", "dosage": "2 puff",
        "frequency": "As needed", "disease": "Asthma",
    }  # fmt: skip
    ask("POST", "/api/prescriptions", prescription, token=doctor, status=201)
    ask("GET", f"/api/patients/{patient_id}", token=patient, status=200)
    # Refused, which the audit log records as well.
    ask("DELETE", f"/api/patients/{patient_id}", token=patient, status=403)


def encode(body: object) -> bytes:
    import json

    return b"" if body is None else json.dumps(body).encode()


def leave_dead_letter_and_waiting_event() -> None:
    """Complete a visit while no fee is defined until its event is a dead letter, and another while nothing delivers."""
    from accounts.models import User
    from appointments import services
    from appointments.models import Appointment
    from billing.models import Fee
    from healthcare.models import Event
    from healthcare.mongodb import raw

    events = import_module("healthcare.events")
    admin = User.objects.get(email="admin@example.org")
    like = Appointment.objects.get(pk="UPGRADE-3")
    for key in ("UPGRADE-4", "UPGRADE-5"):
        services.book_appointment(
            actor=admin, appointment_id=key, patient_id=like.patient_id, doctor_id=like.doctor_id, date=like.date,
            disease="Asthma",
        )  # fmt: skip

    def complete(key: str) -> None:
        services.change_appointment(actor=admin, appointment_id=key, status="completed")

    def event_of(key: str) -> dict:
        return raw.collection(Event).find({"kind": "appointment.completed", "subject_id": key}, limit=1)[0]

    fees = list(Fee.objects.values())
    Fee.objects.all().delete()
    complete("UPGRADE-4")
    for _ in range(events.MAX_ATTEMPTS - 1):
        events.deliver(event_of("UPGRADE-4"))
    Fee.objects.bulk_create(Fee(**row) for row in fees)
    with patch.object(events, "_deliver_at_once"):
        complete("UPGRADE-5")
    if "set_aside_at" not in event_of("UPGRADE-4") or "due_at" not in event_of("UPGRADE-5"):
        raise SystemExit("The dump would have no dead letter or no waiting event.")


def dump_postgresql(url: str, file: Path) -> None:
    binaries = import_module("healthcare.devstack.binaries")
    text = subprocess.run(
        [binaries.find_postgresql() / "pg_dump", "--no-owner", "--no-privileges", "--inserts", url],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    # `\restrict` and `\unrestrict` are for psql; the test executes the file with a driver.
    lines = [line for line in text.splitlines() if not line.startswith("\\")]
    write(file, "\n".join(lines) + "\n")


def dump_mongodb(file: Path) -> None:
    """Each collection: a line with its options and indexes, then a line of extended JSON for each document."""
    from bson import json_util
    from django.db import connections

    connection: Any = connections["clinical"]
    connection.ensure_connection()
    database = connection.database
    lines = []
    for described in sorted(database.list_collections(), key=lambda each: each["name"]):
        name = described["name"]
        if name.startswith("system."):
            continue
        documents = list(database[name].find().sort("_id", 1))
        indexes = [dict(index) for index in database[name].list_indexes() if index["name"] != "_id_"]
        head = {"collection": name, "options": described["options"], "indexes": indexes, "documents": len(documents)}
        lines += [head, *documents]
    options = json_util.CANONICAL_JSON_OPTIONS
    write(file, "".join(json_util.dumps(line, json_options=options) + "\n" for line in lines))


def write(file: Path, text: str) -> None:
    # No time inside: the same data make the same file.
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    sys.stdout.write(f"{file.name}: {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

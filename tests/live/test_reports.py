"""Reports under load: after concurrent writes every figure of a report agrees with the records.

    LOAD_SECONDS=30 python -m pytest -s tests/live/test_reports.py

runs for half a minute; the default is 6 s.
"""

import os
import random
import threading
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from doctors.models import Doctor
from patients.models import Patient
from reports import queries
from tests.databases import clinical_database
from tests.live import test_crash
from tests.live.client import Client, at_once
from tests.live.conftest import environment_of_this_run, token_of
from tests.live.server import LiveServer
from tests.people import People, make_doctor
from tests.records import days_from_now

pytestmark = pytest.mark.django_db(transaction=True)

LOAD_SECONDS = float(os.environ.get("LOAD_SECONDS", "6"))
CLIENTS = 8
PATIENTS = [f"LOAD-P{number}" for number in range(2_000)]
DOCTORS = [f"LOAD-D{number}" for number in range(500)]
MAX_RETRIES = 0.1


def aborted() -> int:
    """Return the number of aborted transactions: conflicts, which are retried, and errors of services."""
    return connections["clinical"].connection.admin.command("serverStatus")["transactions"]["totalAborted"]


def test_figures_are_exact_after_concurrent_writes(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Patient.objects.bulk_create([Patient(patient_id=key, name="Ali Raza") for key in PATIENTS])
    Doctor.objects.bulk_create([Doctor(doctor_id=key, name="Amara Okafor", specialty="Cardiology") for key in DOCTORS])
    monkeypatch.setattr(test_crash, "PATIENTS", PATIENTS)
    monkeypatch.setattr(test_crash, "DOCTORS", DOCTORS)
    is_over = threading.Event()
    with LiveServer(environment_of_this_run(), tmp_path / "server.log", workers=3) as server:
        writers = [
            test_crash.Writer(
                number,
                server.client(token_of(people.admin)),
                server.client(token_of(people.doctor)),
                random.Random(number),
            )
            for number in range(CLIENTS)
        ]
        before = aborted()
        threads = [threading.Thread(target=writer.run, args=[is_over]) for writer in writers]
        for thread in threads:
            thread.start()
        time.sleep(LOAD_SECONDS)
        is_over.set()
        for thread in threads:
            thread.join()
        aborts = aborted() - before
    answers = [status for writer in writers for status in writer.answers]
    refused = sum(status >= 400 for status in answers)
    retries = (aborts - refused) / len(answers)
    print(f"{len(answers)} writes in {LOAD_SECONDS:.0f} s, {refused} refused, {retries:.3f} retries each")  # noqa: T201
    assert len(answers) > 20 * LOAD_SECONDS
    assert set(answers) <= {200, 201, 204, 409}
    assert retries < MAX_RETRIES
    out = StringIO()
    call_command("verify_reports", stdout=out)
    assert "agree with the records" in out.getvalue()
    assert queries.top_doctors(limit=200).rows


def test_rebuild_during_writes_loses_nothing(people: People, tmp_path: Path) -> None:
    """Half of the rollups are deleted; clients write while they are rebuilt."""
    is_over = threading.Event()
    for key in test_crash.PATIENTS:
        Patient(patient_id=key, name="Ali Raza").save(force_insert=True)
    for key in test_crash.DOCTORS:
        make_doctor(people.admin, key)
    with LiveServer(environment_of_this_run(), tmp_path / "server.log", workers=2) as server:
        admin, doctor = token_of(people.admin), token_of(people.doctor)
        writers = [
            test_crash.Writer(number, server.client(admin), server.client(doctor), random.Random(number))
            for number in range(4)
        ]
        threads = [threading.Thread(target=writer.run, args=[is_over]) for writer in writers]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                time.sleep(0.7)
                database = clinical_database()
                database["report_pairs"].delete_many({"_id.p": {"$in": test_crash.PATIENTS[:2]}})
                database["report_counters"].delete_many({"_id": {"$regex": "^(month|doctor)"}})
                server.manage("rebuild_reports")
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    # A write may have used rollups that were deleted at that time, so they are rebuilt once more at rest.
    call_command("rebuild_reports", verbosity=0)
    call_command("verify_reports", stdout=StringIO())


def test_doctor_is_not_deleted_during_a_booking(people: People, server: LiveServer, admin: Client) -> None:
    """Either the doctor is deleted and the booking refused, or the other way round."""
    clients = [server.client(token_of(people.admin)) for _ in range(6)]
    for number in range(20):
        key = f"LEAVING-{number}"
        make_doctor(people.admin, key)
        visit = {"patient_id": "P1", "doctor_id": key, "date": str(days_from_now(number + 1))}
        deletes = [lambda path=f"/doctors/{key}": admin.call("DELETE", path)]
        books = [lambda client=client, visit=visit: client.post("/appointments", visit) for client in clients]
        outcome, *booked = (answer.status for answer in at_once([*deletes, *books]))
        exists = Doctor.objects.filter(pk=key).exists()
        assert exists == (outcome != 204)
        assert (201 in booked) <= exists, (outcome, booked)
        assert outcome in (204, 409)
        assert set(booked) <= {201, 400, 409}

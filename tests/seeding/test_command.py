"""`manage.py seed` against the real databases."""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone
from pymongo.collection import Collection
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import create_account, set_password
from appointments.models import Appointment
from billing.models import Bill
from datasets.seed import demo, records, staff, writing
from datasets.seed.plan import Plan, Sizes
from doctors.models import Doctor, ScheduleException, WeeklyHours
from healthcare import clock
from healthcare.mongodb import raw
from patients.models import ChartAppointment, ChartPrescription, Patient
from prescriptions.models import Prescription
from tests.databases import clinical_database
from tests.people import People

AS_OF = "2025-09-12"
SMALL = {"patients": 40, "doctors": 12, "appointments": 300, "prescriptions": 150, "bills": 30}
PLAN = Plan(seed=1, as_of=date.fromisoformat(AS_OF), sizes=Sizes(**SMALL))
COLLECTIONS = ("patients", "doctors", "appointments", "prescriptions")

pytestmark = pytest.mark.django_db


def seed(**options: Any) -> str:
    output = StringIO()
    call_command("seed", stdout=output, **{"as_of": PLAN.as_of, "workers": 1, **SMALL, **options})
    return output.getvalue()


def stored() -> dict[str, int]:
    return writing.counts()


def fingerprint() -> str:
    """Return a hash of all stored records, byte for byte."""
    found = hashlib.sha256()
    for name in COLLECTIONS:
        documents = raw_documents(name)
        assert documents
        for document in documents:
            found.update(document.raw)
    for row in Bill.objects.order_by("id").values_list():
        found.update(repr(row).encode())
    return found.hexdigest()


def raw_documents(name: str) -> list[RawBSONDocument]:
    options = CodecOptions(document_class=RawBSONDocument)
    collection: Collection[Any] = clinical_database().get_collection(name, codec_options=options)
    return list(collection.find().sort("_id"))


def test_the_stored_records_are_those_of_the_plan():
    output = seed()
    made = [records.make_block(PLAN, number) for number in range(PLAN.block_count)]
    completed = sum(each["status"] == "completed" for block in made for each in block.appointments)
    assert stored() == {**SMALL, "bills": SMALL["bills"] + completed}
    assert f"bills of visits{completed:>13,}" in output
    assert set(Patient.objects.values_list("pk", flat=True)) == {
        each["_id"] for block in made for each in block.patients
    }
    visit = Appointment.objects.get(pk=made[0].appointments[0]["_id"])
    assert visit.starts_at == made[0].appointments[0]["starts_at"]
    bill = Bill.objects.get(appointment_id=made[0].bills[0].appointment_id)
    assert bill.total_cost == Decimal(made[0].bills[0].total_cost)
    assert bill.created_at == made[0].bills[0].created_at


def test_documents_have_the_fields_and_types_that_the_orm_writes():
    seed()
    database = clinical_database()
    day = date(2025, 1, 2)
    Patient(
        patient_id="orm",
        name="x",
        birth_date=day,
        sex="male",
        diseases=["x"],
        phone="1",
        email="x@example.org",
        address="x",
        national_id="1",
        notes="x",
        appointments=[
            ChartAppointment(
                appointment_id="A", doctor_id="D", date=day, time="", duration_minutes=30, status="x", disease="x"
            )
        ],
        prescriptions=[
            ChartPrescription(
                prescription_id="65a1b2c3d4e5f60718293a4b",
                doctor_id="D",
                drug="x",
                dosage="x",
                frequency="x",
                start_date=day,
                duration_days=3,
                disease="x",
            )
        ],
    ).save(force_insert=True)
    Doctor(
        doctor_id="orm",
        name="x",
        specialty="x",
        specialty_key="x",
        availability=[WeeklyHours(weekday=0, start="08:00", end="12:00", slot_minutes=20)],
        exceptions=[ScheduleException(date=day)],
    ).save(force_insert=True)
    Appointment(
        appointment_id="orm",
        patient_id="P",
        doctor_id="D",
        date=day,
        time="10:00",
        duration_minutes=30,
        disease="x",
        starts_at=clock.now(),
    ).save(force_insert=True)
    by_orm = Prescription(
        patient_id="P",
        doctor_id="D",
        appointment_id="A",
        drug="x",
        dosage="x",
        frequency="x",
        cost=Decimal("1.50"),
        disease="x",
        start_date=day,
        duration_days=3,
        instructions="x",
    )
    by_orm.save(force_insert=True)
    for name in COLLECTIONS:
        documents = database[name]
        of_orm = by_orm.pk if name == "prescriptions" else "orm"
        expected = documents.find_one({"_id": of_orm})
        others = list(documents.find({"_id": {"$ne": of_orm}}))
        assert others
        for each in others:
            assert_alike(each, expected)


def assert_alike(value: Any, expected: Any) -> None:
    """Assert that both values have the same keys in the same order, and the same types. A value may be null."""
    if isinstance(expected, dict):
        assert list(value) == list(expected)
        for key in expected:
            assert_alike(value[key], expected[key])
    elif isinstance(expected, list):
        for each in value:
            assert_alike(each, expected[0])
    elif value is not None:
        assert type(value) is type(expected)


def test_days_are_midnights_and_wide_numbers_are_long():
    seed()
    day = {"$dateToString": {"date": "$date", "format": "%H:%M:%S.%L"}}
    assert raw.aggregate(Appointment, [{"$group": {"_id": day}}]) == [{"_id": "00:00:00.000"}]
    assert raw.aggregate(Patient, [{"$group": {"_id": {"$type": "$revision"}}}]) == [{"_id": "long"}]
    assert raw.collection(Patient).count({"revision": 0}) == SMALL["patients"]
    assert raw.aggregate(Appointment, [{"$group": {"_id": {"$type": "$duration_minutes"}}}]) == [{"_id": "int"}]


def test_the_same_seed_and_date_give_the_same_data():
    # The first run flushes as well, so that bills are numbered from 1: a rollback leaves the sequence where it was.
    seed(flush=True, interactive=False)
    first = fingerprint()
    seed(flush=True, interactive=False)
    assert fingerprint() == first
    seed(flush=True, interactive=False, seed=2)
    assert fingerprint() != first
    seed(flush=True, interactive=False, as_of=date(2025, 9, 13))
    assert fingerprint() != first


@pytest.mark.django_db(transaction=True)
def test_neither_the_number_of_workers_nor_the_hash_seed_matters():
    sizes = {"patients": 150, "doctors": 12, "appointments": 900, "prescriptions": 300, "bills": 60}
    found = []
    for workers, hash_seed in ((1, "1"), (3, "2")):
        arguments = [f"--{name}={number}" for name, number in sizes.items()]
        subprocess.run(
            [
                sys.executable,
                "-c",
                RUN_SEED,
                f"--workers={workers}",
                f"--as-of={AS_OF}",
                "--flush",
                "--noinput",
                *arguments,
            ],
            check=True,
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "TEST_DATABASES": " ".join(
                    connections[alias].settings_dict["NAME"] for alias in ("default", "clinical")
                ),
            },
        )
        found.append(fingerprint())
    assert stored()["appointments"] == 900
    assert found[0] == found[1]


# Does what manage.py does, on the databases of the test.
RUN_SEED = """
import os, sys, django
from django.core.management import execute_from_command_line
from django.db import connections  # noqa: E402
from django.utils import timezone  # noqa: E402
if __name__ == "__main__":
    django.setup()
    for alias, name in zip(("default", "clinical"), os.environ["TEST_DATABASES"].split()):
        connections[alias].settings_dict["NAME"] = name
    execute_from_command_line(["manage.py", "seed", *sys.argv[1:]])
"""


def test_seeding_is_refused_while_there_are_records():
    seed()
    before = fingerprint()
    with pytest.raises(CommandError, match=r"--append.*--flush"):
        seed()
    assert fingerprint() == before


@pytest.mark.parametrize("model", ["bill", "patient", "prescription"])
def test_a_single_record_is_enough_to_refuse(model):
    if model == "bill":
        Bill.objects.create(patient_id="P1", total_cost=1)
    elif model == "patient":
        Patient(patient_id="P9", name="x").save(force_insert=True)
    else:
        raw.collection(Prescription).insert_one({"patient_id": "P1"})
    with pytest.raises(CommandError, match="There are records already"):
        seed()
    assert sum(stored().values()) == 1


def test_if_empty_adds_nothing_while_there_are_records():
    seed(if_empty=True)
    before = fingerprint()
    assert "nothing was added" in seed(if_empty=True)
    assert fingerprint() == before


def test_append_adds_others_each_time():
    seed()
    once = stored()
    for times in (2, 3):
        seed(append=True)
        assert {name: stored()[name] for name in SMALL if name != "bills"} == {
            name: times * number for name, number in once.items() if name != "bills"
        }
    billed = Bill.objects.exclude(appointment_id=None)
    assert billed.values("appointment_id").distinct().count() == billed.count()
    completed = set(Appointment.objects.filter(status="completed").values_list("pk", flat=True))
    assert set(billed.values_list("appointment_id", flat=True)) == completed


def test_append_leaves_existing_records_unchanged():
    before = Patient(patient_id="P1", name="x")
    before.save(force_insert=True)
    seed(append=True)
    assert Patient.objects.get(pk="P1").created_at == before.created_at
    assert Patient.objects.count() == 1 + SMALL["patients"]


def test_bills_made_afterwards_get_numbers_of_their_own():
    seed()
    later = Bill.objects.create(patient_id="P1", total_cost=1)
    assert later.pk > SMALL["appointments"] + SMALL["bills"]


def test_flush_deletes_records_and_leaves_accounts_and_indexes(people: People):
    seed(append=True)
    database = clinical_database()
    accounts = set(User.objects.values_list("email", flat=True))
    indexes = {name: database[name].index_information() for name in COLLECTIONS}
    seed(flush=True, interactive=False)
    assert not Patient.objects.filter(pk="P1").exists()
    assert stored()["patients"] == SMALL["patients"]
    assert set(User.objects.values_list("email", flat=True)) == accounts
    assert {name: database[name].index_information() for name in COLLECTIONS} == indexes
    assert all(len(each) > 3 for each in indexes.values())
    assert [name for name in database.list_collection_names() if "emptied" in name] == []


def test_flush_clears_an_interrupted_run(monkeypatch):
    seed(flush=True, interactive=False)
    expected = fingerprint()
    writing.flush()

    def be_interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("datasets.seed.workers.write_blocks", be_interrupted)
        with pytest.raises(CommandError, match="Interrupted"):
            seed()
    assert stored()["doctors"] == SMALL["doctors"]
    raw.collection("patients.emptied").insert_one({"left": "by a flush that was killed"})
    for options in ({}, {"append": True}, {"if_empty": True}):
        with pytest.raises(CommandError, match="earlier run was interrupted"):
            seed(**options)
    seed(flush=True, interactive=False)
    assert fingerprint() == expected
    seed(if_empty=True)


def test_flush_asks_before_it_deletes(monkeypatch):
    seed(flush=True, interactive=False)
    before = fingerprint()
    with pytest.raises(CommandError, match="--noinput"):
        seed(flush=True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    asked: list[str] = []

    def answer_yes(question: str) -> str:
        asked.append(question)
        return "yes"

    monkeypatch.setattr("builtins.input", answer_yes)
    # The test names its servers by URLs and DEBUG is off, as in production, so the confirmation is the database's name.
    with pytest.raises(CommandError, match="Nothing was deleted"):
        seed(flush=True)
    assert fingerprint() == before
    assert "40 patients" in asked[0]
    monkeypatch.setattr("builtins.input", lambda question: connections["clinical"].settings_dict["NAME"])
    seed(flush=True, seed=2)
    assert fingerprint() != before
    monkeypatch.setattr(settings, "DEBUG", True)
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    seed(flush=True)
    assert fingerprint() == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patients": -1}, "--patients must be 0 or more"),
        ({"bills": -3}, "--bills must be 0 or more"),
        ({"doctors": 0}, "--appointments 300 needs doctors"),
        ({"doctors": 0, "appointments": 0}, "--prescriptions 150 needs doctors"),
        ({"patients": 0}, "--appointments 300 needs patients"),
        ({"patients": 0, "appointments": 0, "prescriptions": 0}, "--bills 30 needs patients"),
        ({"appointments": 40 * 501, "doctors": 90}, "more than 500 for each patient"),
        ({"patients": 500, "appointments": 90_000, "doctors": 2}, r"do not fit into .* 2 doctors"),
        ({"workers": 0}, "--workers must be 1 or more"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_a_sentence(options, sentence):
    with pytest.raises(CommandError, match=sentence):
        seed(**options)
    assert sum(stored().values()) == 0


@pytest.mark.parametrize("as_of", ["yesterday", "2025-02-30", "1066-10-14", "9999-12-31"])
def test_a_date_that_cannot_be_is_refused(as_of):
    with pytest.raises(CommandError, match="--as-of must be a da"):
        seed(as_of=as_of)
    assert sum(stored().values()) == 0


def test_the_date_can_be_a_text():
    seed(as_of=AS_OF)
    assert stored()["patients"] == SMALL["patients"]


def test_the_date_is_today_by_default():
    seed(as_of=None)
    today = datetime.combine(timezone.localdate(), time.min, tzinfo=UTC)
    assert not raw.collection(Appointment).find_one({"status": "scheduled", "date": {"$lt": today}})
    assert raw.collection(Appointment).find_one({"status": "scheduled", "date": {"$gt": today}})


def test_documents_do_not_stay_in_memory_when_queries_are_logged(monkeypatch):
    monkeypatch.setattr(settings, "DEBUG", True)
    connections["clinical"].queries_log.clear()
    seed()
    assert not any("insert" in entry["sql"] for entry in connections["clinical"].queries_log)


def test_all_sizes_may_be_zero():
    seed(**dict.fromkeys(SMALL, 0))
    assert sum(stored().values()) == 0


def test_sizes_that_are_left_out_follow_from_the_patients():
    seed(patients=30, doctors=None, appointments=None, prescriptions=None, bills=None)
    found = stored()
    assert {name: found[name] for name in found if name != "bills"} == {
        "patients": 30,
        "doctors": 24,
        "appointments": 300,
        "prescriptions": 150,
    }
    assert Bill.objects.filter(appointment_id=None).count() == 15


def test_progress_is_printed_in_lines_without_a_terminal(monkeypatch):
    monkeypatch.setattr("datasets.seed.progress.SECONDS_BETWEEN_LINES", 0)
    output = seed(patients=100)
    assert "of 592 records" in output
    assert "/s, " in output
    assert " s left" in output
    assert "total" in output.splitlines()[-1]
    assert seed(flush=True, interactive=False, verbosity=0) == ""


class TestDemoAccounts:
    def login(self, login: demo.DemoLogin, password: str | None = None) -> APIClient:
        answer = APIClient().post(
            "/api/auth/login", {"email": login.email, "password": password or login.password}, format="json"
        )
        assert answer.status_code == 200, answer.json()
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['access_token']}")
        return client

    def test_no_account_is_created_unless_asked_for(self):
        seed()
        assert not User.objects.exists()

    def test_each_role_can_log_in_and_doctor_and_patient_have_records(self):
        output = seed(demo_accounts=True)
        assert [login.role for login in demo.demo_logins()] == ["admin", "staff", "doctor", "patient"]
        clients = {login.role: self.login(login) for login in demo.demo_logins()}
        for login in demo.demo_logins():
            assert login.email in output
            me = clients[login.role].get("/api/auth/me").json()
            assert (me["email"], me["role"]) == (login.email, login.role)
        doctor, patient = staff.doctor_id(PLAN, 0), records.patient_id(PLAN, 0)
        assert clients["doctor"].get("/api/auth/me").json()["doctor_id"] == doctor
        assert clients["patient"].get("/api/auth/me").json()["patient_id"] == patient
        with_one_another = [
            each
            for each in clients["patient"].get("/api/appointments").json()["results"]
            if each["doctor_id"] == doctor
        ]
        assert {"completed", "scheduled"} <= {each["status"] for each in with_one_another}
        assert Prescription.objects.filter(doctor_id=doctor, patient_id=patient).exists()

    def test_creating_them_again_changes_nothing(self):
        seed(demo_accounts=True)
        admin = User.objects.get(email="admin@example.org")
        set_password(actor=admin, user=admin, password="changed by its owner")
        linked = list(Patient.objects.exclude(user_id=None).values_list("pk", flat=True))
        seed(demo_accounts=True, if_empty=True)
        seed(demo_accounts=True, append=True)
        assert User.objects.count() == 4
        self.login(demo.demo_logins()[0], password="changed by its owner")
        assert list(Patient.objects.exclude(user_id=None).values_list("pk", flat=True)) == linked
        assert Doctor.objects.exclude(user_id=None).count() == 1

    def test_they_are_linked_to_new_records_after_a_flush(self):
        seed(demo_accounts=True)
        seed(demo_accounts=True, flush=True, interactive=False, seed=2)
        assert User.objects.count() == 4
        patient = User.objects.get(email="patient@example.org")
        assert Patient.objects.get(user_id=patient.pk).pk == records.patient_id(
            Plan(seed=2, as_of=PLAN.as_of, sizes=PLAN.sizes), 0
        )

    def test_they_are_linked_to_the_people_of_a_visit_if_records_existed(self):
        seed()
        seed(demo_accounts=True, if_empty=True)
        doctor = Doctor.objects.exclude(user_id=None).get()
        patient = Patient.objects.exclude(user_id=None).get()
        assert Appointment.objects.filter(doctor_id=doctor.pk, patient_id=patient.pk, status="completed").exists()

    def test_they_are_created_without_records_if_there_are_none(self):
        seed(demo_accounts=True, **dict.fromkeys(SMALL, 0))
        assert User.objects.count() == 4
        assert sum(stored().values()) == 0

    def test_an_account_of_that_address_in_another_role_is_left_alone(self):
        create_account(actor=None, email="doctor@example.org", password="a password of its own", role="staff")
        seed(demo_accounts=True)
        assert User.objects.get(email="doctor@example.org").role == "staff"
        assert not Doctor.objects.exclude(user_id=None).exists()

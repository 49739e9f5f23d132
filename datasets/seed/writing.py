"""Storage of seeded records in both databases: bulk inserts, counts, and deletion before a new run.

MongoDB gets the documents of a block in one unordered bulk write for each collection, with the majority write concern.
Waiting for the majority costs little, because the other processes work meanwhile. So a weaker write concern is not
worth its risk. The indexes stay as the migrations made them. PostgreSQL gets the bills by COPY.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models, router, transaction
from pymongo import InsertOne

from appointments import claims
from appointments.models import Appointment, Claim, Status
from billing.models import Bill, Fee
from datasets.seed import records, staff
from datasets.seed.plan import Plan
from doctors.models import Doctor
from healthcare import audit_context, clock
from healthcare.audit_log import recorder
from healthcare.mongodb import raw
from healthcare.mongodb.emptying import drop_collection, empty_collection
from healthcare.mongodb.encrypted_fields import encrypted_document
from healthcare.outbox import events
from healthcare.outbox.models import Event
from healthcare.routers import CLINICAL, DEFAULT
from patients.models import Patient
from prescriptions.models import Prescription
from reports import services as report_services

T = TypeVar("T")

#: The apps whose collections and tables a run fills, directly or through the rollups of the reports.
APPS = ("patients", "doctors", "appointments", "prescriptions", "billing", "reports")
MODELS: dict[str, type[models.Model]] = {
    "patients": Patient,
    "doctors": Doctor,
    "appointments": Appointment,
    "prescriptions": Prescription,
    "bills": Bill,
}
#: The collection that exists while a run is not complete.
UNFINISHED_RUNS = "seeding"
MAX_TIME_MS = 120_000
DOCTORS_PER_INSERT = 1_000
PATIENTS_PER_ENTRY = 1_000
KEYS_CHECKED = 200

_BILL_COLUMNS = records.Bill._fields


class Written(NamedTuple):
    """The number of records that were stored, by kind."""

    patients: int = 0
    doctors: int = 0
    appointments: int = 0
    prescriptions: int = 0
    visit_bills: int = 0
    other_bills: int = 0

    def plus(self, other: "Written") -> "Written":
        return Written(*(mine + more for mine, more in zip(self, other, strict=True)))


# --- Stored records


def is_empty() -> bool:
    """Return whether the databases hold no patient, doctor, appointment, prescription or bill."""
    clinical = (Patient, Doctor, Appointment, Prescription)
    return not any(raw.collection(model).find_one({}, projection=["_id"]) for model in clinical) and not (
        Bill.objects.exists()
    )


def counts() -> dict[str, int]:
    """Return the number of stored records of each kind."""
    return {name: model._default_manager.using(_database(model)).count() for name, model in MODELS.items()}


def has_keys_of(plan: Plan) -> bool:
    """Return whether one of the first keys of each kind in the run is taken."""
    wanted = {
        Patient: [records.patient_id(plan, number) for number in range(KEYS_CHECKED)],
        Doctor: [staff.doctor_id(plan, number) for number in range(KEYS_CHECKED)],
        Appointment: [records.appointment_id(plan, number) for number in range(KEYS_CHECKED)],
    }
    return any(raw.collection(model).find_one({"_id": {"$in": found}}) for model, found in wanted.items())


# --- Unfinished runs


def mark_unfinished(plan: Plan) -> None:
    """Store that a run has begun, until `mark_finished` or `flush`."""
    raw.collection(UNFINISHED_RUNS).update_one(
        {"_id": "unfinished"},
        {"$set": {"seed": plan.seed, "as_of": plan.as_of, "began_at": clock.now()}},
        upsert=True,
    )


def mark_finished() -> None:
    drop_collection(UNFINISHED_RUNS)


def is_unfinished() -> bool:
    """Return whether a run began and did not end, because it was interrupted or is still at work."""
    return raw.collection(UNFINISHED_RUNS).find_one({}) is not None


# --- Inserts


def write_doctors(plan: Plan) -> Written:
    documents = (staff.doctor(plan, number).document(plan) for number in range(plan.sizes.doctors))
    for batch in _batches(documents, DOCTORS_PER_INSERT):
        _insert(Doctor, batch)
    return Written(doctors=plan.sizes.doctors)


def write_block(plan: Plan, number: int) -> Written:
    block = records.make_block(plan, number)
    _insert(Appointment, block.appointments)
    _insert(Claim, claims.documents_for(_scheduled(block.appointments)))
    _insert(Prescription, block.prescriptions)
    _insert(Patient, block.patients)
    _copy(block.bills)
    report_services.add_new(
        appointments=[{**each, "disease": each.get("disease")} for each in block.appointments],
        prescriptions=block.prescriptions,
    )
    _record_seeding([document["_id"] for document in block.patients], plan)
    visit_bills = sum(bill.appointment_id is not None for bill in block.bills)
    return Written(
        patients=len(block.patients),
        appointments=len(block.appointments),
        prescriptions=len(block.prescriptions),
        visit_bills=visit_bills,
        other_bills=len(block.bills) - visit_bills,
    )


def _record_seeding(patient_ids: Sequence[str], plan: Plan) -> None:
    """Record in the audit log which patients were seeded. A worker process has no audit context, so this opens one."""
    with audit_context.audit_context(channel="command", request_id=audit_context.as_id(f"seed-{plan.seed}")):
        for batch in _batches(iter(patient_ids), PATIENTS_PER_ENTRY):
            recorder.record("patient.seeded", actor=None, patient_ids=batch)


def _scheduled(documents: list[raw.Document]) -> Iterator[Appointment]:
    for document in documents:
        if document["status"] == Status.SCHEDULED.value:
            yield Appointment(appointment_id=document["_id"], **{n: v for n, v in document.items() if n != "_id"})


def _insert(model: type[models.Model], documents: list[raw.Document]) -> None:
    """Insert documents with one command.

    With DEBUG on, the engine keeps the text of everything that goes through `insert_many`: a gigabyte for a million
    visits. A bulk write is not kept.
    """
    if documents:
        inserts = [InsertOne(encrypted_document(model, each)) for each in documents]
        raw.collection(model).bulk_write(inserts, is_ordered=False, max_time_ms=MAX_TIME_MS)


def _copy(bills: Sequence[records.Bill]) -> None:
    connection = connections[_database(Bill)]
    if connection.vendor != "postgresql":
        Bill.objects.bulk_create([Bill(**bill._asdict()) for bill in bills], batch_size=500)
        return
    statement = f"COPY {connection.ops.quote_name(Bill._meta.db_table)} ({', '.join(_BILL_COLUMNS)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for bill in bills:
            copy.write_row(bill)


def reserve_bill_numbers(count: int) -> int:
    """Reserve `count` numbers for a run and return the first. Bills that others create get numbers after them.

    The number of a bill follows from the number of its visit, so that it does not depend on which worker is faster.
    """
    connection = connections[_database(Bill)]
    with transaction.atomic(using=connection.alias):
        highest = Bill.objects.aggregate(highest=models.Max("id"))["highest"] or 0
        if connection.vendor == "postgresql" and count:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [Bill._meta.db_table])
                sequence = cursor.fetchone()[0]
                cursor.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")  # noqa: S608
                highest = max(highest, cursor.fetchone()[0])
                cursor.execute("SELECT setval(%s, %s)", [sequence, highest + count])
    return highest + 1


# --- Deletion


def flush() -> None:
    """Delete all records of the apps in `APPS`, and the outbox events about them.

    Accounts stay. Fees stay too, because a migration or an admin made them and nobody is billed without them. The audit
    log stays, with the entries that outbox events hold: these events are delivered first.
    """
    for _ in events.relay():
        pass
    app_models = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    emptied: list[type[models.Model]] = [
        Event,
        *(model for model in app_models if _is_stored(model) and model is not Fee),
    ]
    connection = connections[DEFAULT]
    tables = [model._meta.db_table for model in emptied if _database(model) == DEFAULT]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables, reset_sequences=True))
    for model in emptied:
        if _database(model) == CLINICAL:
            empty_collection(model)
    drop_collection(UNFINISHED_RUNS)
    recorder.record("patient.flushed", actor=None)


def _is_stored(model: type[models.Model]) -> bool:
    """Return whether the model has a collection or table of its own. An embedded model has none."""
    return router.allow_migrate_model(_database(model), model) and model._meta.managed


def _database(model: type[models.Model]) -> str:
    return router.db_for_write(model)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch

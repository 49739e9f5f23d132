"""Where a run is stored, and how what is there is counted and emptied.

MongoDB: one unordered write of a block's documents through the raw door, which waits for a majority. That wait costs
little (a block is one command for each collection, and the other process works meanwhile), so there is no weaker write
concern to make good for at the end. The indexes stay as the migrations made them, whatever happens. PostgreSQL: COPY.
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

#: The rooms whose collections and tables a run fills, or which keep what follows from them.
ROOMS = ("patients", "doctors", "appointments", "prescriptions", "billing", "reports")
KINDS: dict[str, type[models.Model]] = {
    "patients": Patient,
    "doctors": Doctor,
    "appointments": Appointment,
    "prescriptions": Prescription,
    "bills": Bill,
}
#: The collection that says, while it is there, that a run is not complete.
MARKS = "seeding"
MAX_TIME_MS = 120_000
DOCTORS_AT_ONCE = 1_000
PATIENTS_AN_ENTRY = 1_000
KEYS_PROBED = 200

_BILL_COLUMNS = records.Bill._fields


class Written(NamedTuple):
    """How much of a run was stored."""

    patients: int = 0
    doctors: int = 0
    appointments: int = 0
    prescriptions: int = 0
    visit_bills: int = 0
    other_bills: int = 0

    def plus(self, other: "Written") -> "Written":
        return Written(*(mine + more for mine, more in zip(self, other, strict=True)))


# --- What is there


def is_empty() -> bool:
    """Whether there is no patient, doctor, appointment, prescription and bill at all."""
    clinical = (Patient, Doctor, Appointment, Prescription)
    return not any(raw.collection(model).find_one({}, projection=["_id"]) for model in clinical) and not (
        Bill.objects.exists()
    )


def counts() -> dict[str, int]:
    return {name: model._default_manager.using(_database(model)).count() for name, model in KINDS.items()}


def has_keys_of(plan: Plan) -> bool:
    """Whether one of the first keys of the run is taken."""
    wanted = {
        Patient: [records.patient_id(plan, number) for number in range(KEYS_PROBED)],
        Doctor: [staff.doctor_id(plan, number) for number in range(KEYS_PROBED)],
        Appointment: [records.appointment_id(plan, number) for number in range(KEYS_PROBED)],
    }
    return any(raw.collection(model).find_one({"_id": {"$in": found}}) for model, found in wanted.items())


# --- Beginning and ending


def begin(plan: Plan) -> None:
    """Leave a mark that is there until the run is complete, or its data flushed."""
    raw.collection(MARKS).update_one(
        {"_id": "unfinished"},
        {"$set": {"seed": plan.seed, "as_of": plan.as_of, "began_at": clock.now()}},
        upsert=True,
    )


def finish() -> None:
    drop_collection(MARKS)


def is_unfinished() -> bool:
    """Whether a run began and did not end: it was interrupted, or another process is at it."""
    return raw.collection(MARKS).find_one({}) is not None


# --- Storing


def write_doctors(plan: Plan) -> Written:
    documents = (staff.doctor(plan, number).document(plan) for number in range(plan.sizes.doctors))
    for some in _in_parts(documents, DOCTORS_AT_ONCE):
        _insert(Doctor, some)
    return Written(doctors=plan.sizes.doctors)


def write_block(plan: Plan, number: int) -> Written:
    made = records.make_block(plan, number)
    _insert(Appointment, made.appointments)
    _insert(Claim, claims.documents_for(_scheduled(made.appointments)))
    _insert(Prescription, made.prescriptions)
    _insert(Patient, made.patients)
    _copy(made.bills)
    report_services.add_new(
        appointments=[{**each, "disease": each.get("disease")} for each in made.appointments],
        prescriptions=made.prescriptions,
    )
    _put_on_record([document["_id"] for document in made.patients], plan)
    of_visits = sum(bill.appointment_id is not None for bill in made.bills)
    return Written(
        patients=len(made.patients),
        appointments=len(made.appointments),
        prescriptions=len(made.prescriptions),
        visit_bills=of_visits,
        other_bills=len(made.bills) - of_visits,
    )


def _put_on_record(patient_ids: Sequence[str], plan: Plan) -> None:
    """Say in the audit trail whose data was made; a worker process has no trail of its own."""
    with audit_context.audit_context(channel="command", request_id=audit_context.as_id(f"seed-{plan.seed}")):
        for some in _in_parts(iter(patient_ids), PATIENTS_AN_ENTRY):
            recorder.record("patient.seeded", actor=None, patient_ids=some)


def _scheduled(documents: list[raw.Document]) -> Iterator[Appointment]:
    for document in documents:
        if document["status"] == Status.SCHEDULED.value:
            yield Appointment(appointment_id=document["_id"], **{n: v for n, v in document.items() if n != "_id"})


def _insert(model: type[models.Model], documents: list[raw.Document]) -> None:
    """Insert a block's documents at once.

    Not by `insert_many`: with DEBUG on, the engine copies and keeps the text of everything that goes through it, which
    for a million visits is a gigabyte.
    """
    if documents:
        inserts = [InsertOne(encrypted_document(model, each)) for each in documents]
        raw.collection(model).bulk_write(inserts, is_ordered=False, max_time_ms=MAX_TIME_MS)


def _copy(bills: Sequence[records.Bill]) -> None:
    connection = connections[_database(Bill)]
    if connection.vendor != "postgresql":
        made = [Bill(**bill._asdict()) for bill in bills]
        Bill.objects.bulk_create(made, batch_size=500)
        return
    statement = f"COPY {connection.ops.quote_name(Bill._meta.db_table)} ({', '.join(_BILL_COLUMNS)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for bill in bills:
            copy.write_row(bill)


def reserve_bill_numbers(count: int) -> int:
    """Keep `count` numbers for a run and return the first: bills made meanwhile get numbers after them.

    The bill of a visit has the number of the visit, so that it does not depend on which process is faster.
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


# --- Emptying


def flush() -> None:
    """Empty the rooms' tables and collections, and the events, which tell of what was in them.

    Accounts stay, and the fees: they come with a migration or from an admin, and without them nobody is billed. So does
    the audit trail, with what waits to be in it.
    """
    for _ in events.relay():
        pass
    of_rooms = [model for room in ROOMS for model in apps.get_app_config(room).get_models()]
    found: list[type[models.Model]] = [Event, *(model for model in of_rooms if _is_stored(model) and model is not Fee)]
    connection = connections[DEFAULT]
    tables = [model._meta.db_table for model in found if _database(model) == DEFAULT]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables, reset_sequences=True))
    for model in found:
        if _database(model) == CLINICAL:
            empty_collection(model)
    drop_collection(MARKS)
    recorder.record("patient.flushed", actor=None)


def _is_stored(model: type[models.Model]) -> bool:
    """Whether the model has a collection or table of its own; embedded ones have not."""
    return router.allow_migrate_model(_database(model), model) and model._meta.managed


def _database(model: type[models.Model]) -> str:
    return router.db_for_write(model)


def _in_parts(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while part := list(islice(items, size)):
        yield part

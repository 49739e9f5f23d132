"""Everything that changes a bill."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, connections, transaction

from accounts.models import User
from appointments import queries as appointment_queries
from billing import queries
from billing.models import Bill, DeletedBill, Fee, Status
from doctors import queries as doctor_queries
from doctors.models import specialty_key
from healthcare import audit_context
from healthcare.audit_log import recorder
from healthcare.errors import Conflict, InvalidValue
from healthcare.routers import DEFAULT
from patients import queries as patient_queries

#: Any number, as long as nobody else locks with it.
_LOCK = 0x51A7_3EA0


#: What it is on record as that a bill is no longer open.
SETTLED: Mapping[str, str] = {Status.PAID: "bill.paid", Status.VOID: "bill.voided"}


class NotOpen(Conflict):
    code = "not_open"

    def __init__(self, status: str) -> None:
        super().__init__(f"The bill is {status} already.", field="status")


class DuplicateFee(Conflict):
    code = "duplicate"

    def __init__(self) -> None:
        super().__init__("There is a fee for this specialty already.", field="specialty")


def create_bill(
    *,
    actor: User,
    patient_id: str,
    total_cost: Decimal,
    appointment_id: str | None = None,
    disease: str | None = None,
    status: str = Status.OPEN,
) -> Bill:
    """Raises: InvalidValue for a patient or appointment that is not there."""
    audit_context.involves(patient_id)
    if not patient_queries.exists(patient_id):
        raise InvalidValue("There is no such patient.", code="unknown", field="patient_id")
    appointment_queries.require_of_patient(appointment_id, patient_id)
    bill = Bill(
        patient_id=patient_id,
        total_cost=total_cost,
        appointment_id=appointment_id,
        disease=disease,
        status=status,
    )
    bill.full_clean()
    with transaction.atomic(using="default"):
        bill.save()
        recorder.record("bill.created", actor=actor, patient_ids=[patient_id], subject=bill.pk)
    return bill


def change_bill(*, actor: User, bill_id: int, **changes: Any) -> Bill:
    """Raises: NotVisible, InvalidValue."""
    bill = queries.get_visible(actor, bill_id)
    if "appointment_id" in changes:
        appointment_queries.require_of_patient(changes["appointment_id"], bill.patient_id)
    with transaction.atomic(using="default"):
        for name, value in changes.items():
            setattr(bill, name, value)
        bill.full_clean()
        bill.save(update_fields=[*changes])
        recorder.record("bill.amended", actor=actor, patient_ids=[bill.patient_id], subject=bill_id)
    return bill


def settle_bill(*, actor: User, bill_id: int, status: str) -> Bill:
    """Mark an open bill as paid, or void it. Raises: NotVisible, NotOpen."""
    bill = queries.get_visible(actor, bill_id)
    with transaction.atomic(using="default"):
        # Conditional, so that the write itself decides which of two clerks was first.
        if not Bill.objects.filter(pk=bill_id, status=Status.OPEN).update(status=status):
            raise NotOpen(queries.get_visible(actor, bill_id).status)
        bill.status = status
        recorder.record(SETTLED[status], actor=actor, patient_ids=[bill.patient_id], subject=bill_id)
    return bill


def delete_bill(*, actor: User, bill_id: int) -> None:
    """Raises: NotVisible."""
    bill = queries.get_visible(actor, bill_id)
    with transaction.atomic(using="default"):
        deleted = DeletedBill(source_event_id=bill.source_event_id, appointment_id=bill.appointment_id)
        # It may have been deleted before, if a delivery of its event crossed that.
        DeletedBill.objects.bulk_create([deleted], ignore_conflicts=True)
        bill.delete()
        recorder.record("bill.deleted", actor=actor, patient_ids=[bill.patient_id], subject=bill_id)


def bill_completed_visit(event: Mapping[str, Any]) -> None:
    """Bill a completed visit, once however often it is told: the consumer of `appointment.completed`.

    The amount is the fee of the doctor's specialty, the disease the visit's.
    Raises: LookupError when there is neither a fee for it nor one for all others.
    """
    source = str(event["_id"])
    with transaction.atomic(using="default"):
        _bill_once(event["after"], source=source)
        for number in Bill.objects.filter(source_event_id=source).values_list("pk", flat=True):
            recorder.record_consequence("bill.created", event, subject=number)


def bill_visit_without_event(visit: Mapping[str, Any]) -> None:
    """Bill a completed visit that no event tells of, once however often it is asked, unless it has a bill or had one.

    The bill's source is made from the visit's id: the database, too, refuses a second one.
    Raises: LookupError when there is neither a fee for it nor one for all others.
    """
    with transaction.atomic(using="default"):
        lock_bills_without_event()
        if not queries.billed([visit["appointment_id"]]):
            _bill_once(visit, source=_source_of_visit(visit["appointment_id"]))
            recorder.record(
                "bill.created", actor=None, patient_ids=[visit["patient_id"]], subject=visit["appointment_id"]
            )


def lock_bills_without_event() -> None:
    """Wait until nobody else makes bills of visits that no event tells of, and let nobody to the transaction's end.

    Such a bill has no event that would make it unique: whoever makes one looks first what there is. SQLite has one
    writer anyway.
    """
    connection = connections[DEFAULT]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _source_of_visit(appointment_id: str) -> str:
    """As long as an event's id at most, and never one: those have no "v"."""
    return "v" + hashlib.blake2b(appointment_id.encode(), digest_size=11).hexdigest()


def _bill_once(visit: Mapping[str, Any], *, source: str) -> None:
    fee = queries.fee_for(doctor_queries.specialty_key_of(visit["doctor_id"]) or "")
    with transaction.atomic(using="default"):
        Bill.objects.bulk_create(
            [
                Bill(
                    patient_id=visit["patient_id"],
                    appointment_id=visit["appointment_id"],
                    disease=visit["disease"],
                    total_cost=fee.amount,
                    source_event_id=source,
                )
            ],
            ignore_conflicts=True,
        )
        # Looked up afterwards: the insert waits for a deletion that is under way, and would not have seen it before.
        if DeletedBill.objects.filter(source_event_id=source).exists():
            Bill.objects.filter(source_event_id=source).delete()


def save_fee(*, actor: User, fee: Fee) -> Fee:
    """Store a fee under its specialty's one spelling. Raises: DuplicateFee."""
    fee.specialty_key = specialty_key(fee.specialty)
    try:
        with transaction.atomic(using="default"):
            is_new = fee._state.adding
            fee.save()
            recorder.record(f"fee.{'created' if is_new else 'amended'}", actor=actor, subject=fee.pk)
    except IntegrityError as error:
        raise DuplicateFee from error
    return fee

"""Services that write bills and fees."""

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

#: The number of the advisory lock. The value is arbitrary, but no other lock may have the same number.
_LOCK = 0x51A7_3EA0

#: Final status → the action in the audit log.
CLOSING_ACTIONS: Mapping[str, str] = {Status.PAID: "bill.paid", Status.VOID: "bill.voided"}


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
    """Create a bill. Raises: InvalidValue for an unknown patient, and for an appointment of another patient."""
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
    """Change fields of a bill. Raises: NotVisible, InvalidValue."""
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


def close_bill(*, actor: User, bill_id: int, status: str) -> Bill:
    """Give an open bill its final status, paid or void. Raises: NotVisible, NotOpen."""
    bill = queries.get_visible(actor, bill_id)
    with transaction.atomic(using="default"):
        # The condition decides between two concurrent requests: only one of them updates the row.
        if not Bill.objects.filter(pk=bill_id, status=Status.OPEN).update(status=status):
            raise NotOpen(queries.get_visible(actor, bill_id).status)
        bill.status = status
        recorder.record(CLOSING_ACTIONS[status], actor=actor, patient_ids=[bill.patient_id], subject=bill_id)
    return bill


def delete_bill(*, actor: User, bill_id: int) -> None:
    """Delete a bill, and store a marker of its deletion. Raises: NotVisible."""
    bill = queries.get_visible(actor, bill_id)
    with transaction.atomic(using="default"):
        deleted = DeletedBill(source_event_id=bill.source_event_id, appointment_id=bill.appointment_id)
        # The marker may exist: a delivery of the event that ran at the same time may have created the bill again.
        DeletedBill.objects.bulk_create([deleted], ignore_conflicts=True)
        bill.delete()
        recorder.record("bill.deleted", actor=actor, patient_ids=[bill.patient_id], subject=bill_id)


def bill_completed_visit(event: Mapping[str, Any]) -> None:
    """Create the bill of a completed visit: the idempotent consumer of `appointment.completed`.

    The amount is the fee of the doctor's specialty.
    Raises: LookupError if there is neither a fee for the specialty nor one for all others.
    """
    source = str(event["_id"])
    with transaction.atomic(using="default"):
        _bill_once(event["after"], source=source)
        for number in Bill.objects.filter(source_event_id=source).values_list("pk", flat=True):
            recorder.record_consequence("bill.created", event, subject=number)


def bill_visit_without_event(visit: Mapping[str, Any]) -> None:
    """Create the bill of a completed visit that has no event, unless it has a bill or a marker of a deleted one.

    Idempotent: the source of the bill is derived from the id of the visit, and the database keeps sources unique.
    Raises: LookupError if there is neither a fee for the specialty nor one for all others.
    """
    with transaction.atomic(using="default"):
        lock_bills_without_event()
        if not queries.billed([visit["appointment_id"]]):
            _bill_once(visit, source=_source_of_visit(visit["appointment_id"]))
            recorder.record(
                "bill.created", actor=None, patient_ids=[visit["patient_id"]], subject=visit["appointment_id"]
            )


def lock_bills_without_event() -> None:
    """Hold an exclusive lock, until the end of the transaction, on creating bills of visits without an event.

    Such a bill has no event that would make it unique, so that its creator must first read which bills exist. SQLite
    needs no lock, because it admits one writer at a time.
    """
    connection = connections[DEFAULT]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _source_of_visit(appointment_id: str) -> str:
    """Return the `source_event_id` of a bill without an event.

    The value fits the column. No id of an event contains a "v", so the value equals no id of an event.
    """
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
        # The marker is read after the insert, because the insert waits for a concurrent deletion that stores it.
        if DeletedBill.objects.filter(source_event_id=source).exists():
            Bill.objects.filter(source_event_id=source).delete()


def save_fee(*, actor: User, fee: Fee) -> Fee:
    """Create or change a fee. Raises: DuplicateFee."""
    fee.specialty_key = specialty_key(fee.specialty)
    try:
        with transaction.atomic(using="default"):
            is_new = fee._state.adding
            fee.save()
            recorder.record(f"fee.{'created' if is_new else 'amended'}", actor=actor, subject=fee.pk)
    except IntegrityError as error:
        raise DuplicateFee from error
    return fee

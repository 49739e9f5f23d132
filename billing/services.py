"""Everything that changes a bill."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from appointments import queries as appointment_queries
from billing import queries
from billing.models import Bill, DeletedBill, Fee, Status
from doctors import queries as doctor_queries
from doctors.models import specialty_key
from healthcare.exceptions import Conflict, InvalidValue
from patients import queries as patient_queries


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
    if not patient_queries.exists(patient_id):
        raise InvalidValue("There is no such patient.", code="unknown", field="patient_id")
    _check_appointment(appointment_id, patient_id)
    bill = Bill(
        patient_id=patient_id,
        total_cost=total_cost,
        appointment_id=appointment_id,
        disease=disease,
        status=status,
    )
    bill.full_clean()
    bill.save()
    return bill


def change_bill(*, actor: User, bill_id: int, **changes: Any) -> Bill:
    """Raises: NotVisible, InvalidValue."""
    bill = queries.get_visible(actor, bill_id)
    if "appointment_id" in changes:
        _check_appointment(changes["appointment_id"], bill.patient_id)
    with transaction.atomic(using="default"):
        for name, value in changes.items():
            setattr(bill, name, value)
        bill.full_clean()
        bill.save(update_fields=[*changes])
    return bill


def delete_bill(*, actor: User, bill_id: int) -> None:
    """Raises: NotVisible."""
    bill = queries.get_visible(actor, bill_id)
    with transaction.atomic(using="default"):
        DeletedBill.objects.create(source_event_id=bill.source_event_id, appointment_id=bill.appointment_id)
        bill.delete()


def bill_completed_visit(event: Mapping[str, Any]) -> None:
    """Bill a completed visit, once however often it is told: the consumer of `appointment.completed`.

    The amount is the fee of the doctor's specialty, the disease the visit's.
    Raises: LookupError when there is neither a fee for it nor one for all others.
    """
    visit = event["after"]
    source = str(event["_id"])
    doctor = doctor_queries.find(visit["doctor_id"])
    fee = queries.fee_for(doctor.specialty_key if doctor else "")
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
            fee.save()
    except IntegrityError as error:
        raise DuplicateFee from error
    return fee


def _check_appointment(appointment_id: str | None, patient_id: str) -> None:
    if appointment_id is None:
        return
    visit = appointment_queries.find(appointment_id)
    if visit is None or visit.patient_id != patient_id:
        raise InvalidValue("This patient has no such appointment.", code="unknown", field="appointment_id")

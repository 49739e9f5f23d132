"""Everything that changes a bill."""

from decimal import Decimal
from typing import Any

from django.db import transaction

from accounts.models import User
from appointments import queries as appointment_queries
from billing import queries
from billing.models import Bill, Status
from healthcare.exceptions import InvalidValue
from patients import queries as patient_queries


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
    queries.get_visible(actor, bill_id).delete()


def _check_appointment(appointment_id: str | None, patient_id: str) -> None:
    if appointment_id is None:
        return
    visit = appointment_queries.find(appointment_id)
    if visit is None or visit.patient_id != patient_id:
        raise InvalidValue("This patient has no such appointment.", code="unknown", field="appointment_id")

"""Everything that changes a prescription."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.utils import timezone

from accounts.models import Role, User
from appointments import queries as appointment_queries
from doctors import queries as doctor_queries
from healthcare.exceptions import InvalidValue, NotAllowed
from healthcare.mongodb.transactions import clinical_transaction
from patients import queries as patient_queries
from prescriptions import queries
from prescriptions.models import Prescription


@clinical_transaction
def issue_prescription(
    *,
    actor: User,
    patient_id: str,
    drug: str,
    dosage: str,
    frequency: str,
    doctor_id: str | None = None,
    appointment_id: str | None = None,
    cost: Decimal | None = None,
    disease: str | None = None,
    start_date: date | None = None,
    duration_days: int | None = None,
    instructions: str | None = None,
) -> Prescription:
    """Write a prescription; a doctor does so as themself, any patient's.

    Raises: NotAllowed, InvalidValue.
    """
    if actor.role == Role.DOCTOR:
        own = doctor_queries.own_doctor_id(actor)
        if own is None or doctor_id not in (None, own):
            raise NotAllowed("A doctor prescribes as themself only.")
        doctor_id = own
    elif doctor_id is None or doctor_queries.find(doctor_id) is None:
        raise InvalidValue("There is no such doctor.", code="unknown", field="doctor_id")
    if not patient_queries.exists(patient_id):
        raise InvalidValue("There is no such patient.", code="unknown", field="patient_id")
    _check_appointment(appointment_id, patient_id)
    prescription = Prescription(
        patient_id=patient_id,
        doctor_id=doctor_id,
        appointment_id=appointment_id,
        drug=drug,
        dosage=dosage,
        frequency=frequency,
        cost=cost,
        disease=disease,
        start_date=start_date or timezone.localdate(),
        duration_days=duration_days,
        instructions=instructions,
    )
    prescription.clean_fields(exclude=["id"])
    prescription.save(force_insert=True)
    return prescription


@clinical_transaction
def amend_prescription(*, actor: User, prescription_id: str, **changes: Any) -> Prescription:
    """Raises: NotVisible, NotAllowed, InvalidValue."""
    prescription = queries.get_changeable(actor, prescription_id)
    if "appointment_id" in changes:
        _check_appointment(changes["appointment_id"], prescription.patient_id)
    for name, value in changes.items():
        setattr(prescription, name, value)
    prescription.clean_fields()
    prescription.save(update_fields=[*changes])
    return prescription


@clinical_transaction
def delete_prescription(*, actor: User, prescription_id: str) -> None:
    """Raises: NotVisible, NotAllowed."""
    prescription = queries.get_changeable(actor, prescription_id)
    Prescription.objects.filter(pk=prescription.pk).delete()


def _check_appointment(appointment_id: str | None, patient_id: str) -> None:
    """Raises: InvalidValue unless it is an appointment of the same patient; the answer for others is the same."""
    if appointment_id is None:
        return
    visit = appointment_queries.find(appointment_id)
    if visit is None or visit.patient_id != patient_id:
        raise InvalidValue("This patient has no such appointment.", code="unknown", field="appointment_id")

"""Services that write prescriptions."""

from datetime import date
from decimal import Decimal
from typing import Any

from bson import ObjectId
from django.utils import timezone

from accounts.models import Role, User
from appointments import queries as appointment_queries
from doctors import queries as doctor_queries
from healthcare import audit_context
from healthcare.errors import InvalidValue, NotAllowed
from healthcare.mongodb import document_query
from healthcare.mongodb.raw import Document
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from patients import chart
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
    """Issue a prescription. A doctor prescribes in their own name, for any patient; an admin names the doctor.

    `start_date` defaults to today. `duration_days` is None for an open end.
    Raises: NotAllowed, InvalidValue.
    """
    audit_context.involves(patient_id)
    if actor.role == Role.DOCTOR:
        own = doctor_queries.own_doctor_id(actor)
        if own is None or doctor_id not in (None, own):
            raise NotAllowed("A doctor prescribes as themself only.")
        doctor_id = own
    elif doctor_id is None or not doctor_queries.exists(doctor_id):
        raise InvalidValue("There is no such doctor.", code="unknown", field="doctor_id")
    prescription = Prescription(
        pk=ObjectId(),
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
    prescription.clean_fields()
    # The chart is written first, because two writes about one patient conflict on it.
    if not chart.add("prescriptions", patient_id, queries.chart_entry(as_document(prescription))):
        raise InvalidValue("There is no such patient.", code="unknown", field="patient_id")
    appointment_queries.require_of_patient(appointment_id, patient_id)
    document_query.insert(prescription)
    _publish(actor, "prescription.issued", prescription, before=None, after=as_document(prescription))
    return prescription


@clinical_transaction
def amend_prescription(*, actor: User, prescription_id: str, **changes: Any) -> Prescription:
    """Change fields of a prescription. Raises: NotVisible, NotAllowed, InvalidValue."""
    prescription = queries.get_changeable(actor, prescription_id)
    if "appointment_id" in changes:
        appointment_queries.require_of_patient(changes["appointment_id"], prescription.patient_id)
    before = as_document(prescription)
    for name, value in changes.items():
        setattr(prescription, name, value)
    prescription.clean_fields()
    prescription.save(update_fields=[*changes])
    after = as_document(prescription)
    if "start_date" in changes:
        # The order of the chart may change, and an older prescription may enter it.
        chart.replace("prescriptions", prescription.patient_id, queries.newest_entries(prescription.patient_id))
    else:
        entry = queries.chart_entry(after)
        entry_changes = {name: entry[name] for name in changes if name in entry}
        chart.amend("prescriptions", prescription.patient_id, prescription.pk, entry_changes)
    _publish(actor, "prescription.amended", prescription, before=before, after=after)
    return prescription


@clinical_transaction
def delete_prescription(*, actor: User, prescription_id: str) -> None:
    """Delete a prescription. Raises: NotVisible, NotAllowed."""
    prescription = queries.get_changeable(actor, prescription_id)
    Prescription.objects.filter(pk=prescription.pk).delete()
    chart.replace("prescriptions", prescription.patient_id, queries.newest_entries(prescription.patient_id))
    _publish(actor, "prescription.deleted", prescription, before=as_document(prescription), after=None)


def as_document(prescription: Prescription) -> Document:
    """Return the prescription as events contain it: its fields by their API names."""
    return {field.name: getattr(prescription, field.name) for field in prescription._meta.concrete_fields}


def _publish(
    actor: User, kind: str, prescription: Prescription, *, before: Document | None, after: Document | None
) -> None:
    events.publish(
        kind,
        actor=actor,
        patient_id=prescription.patient_id,
        subject_id=str(prescription.pk),
        before=before,
        after=after,
    )

"""Services that write appointments."""

from datetime import date
from typing import Any

from django.db import IntegrityError

from accounts.models import Role, User
from appointments import claims, queries
from appointments.models import Appointment, Status
from appointments.permissions import MAY_COMPLETE
from doctors import hours
from doctors import queries as doctor_queries
from healthcare import audit_context, protected_references
from healthcare.errors import Conflict, InvalidValue, NotAllowed
from healthcare.ids import new_id
from healthcare.mongodb import document_query
from healthcare.mongodb.duplicate_keys import duplicated_field
from healthcare.mongodb.raw import Document
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from patients import chart
from patients import queries as patient_queries

KEY_PREFIX = "A"
#: Fields whose change moves a visit to another time.
_TIME_FIELDS = frozenset({"date", "time", "duration_minutes"})


class DuplicateAppointment(Conflict):
    code = "duplicate"

    def __init__(self) -> None:
        super().__init__("There is an appointment with this id already.", field="appointment_id")


class FinalStatus(Conflict):
    code = "final"

    def __init__(self, status: str) -> None:
        super().__init__(f"The appointment is {status}, which is final.", field="status")


def book_appointment(
    *,
    actor: User,
    patient_id: str,
    doctor_id: str,
    date: date,
    time: str | None = None,
    duration_minutes: int | None = None,
    disease: str | None = None,
    appointment_id: str | None = None,
    status: str = Status.SCHEDULED,
) -> Appointment:
    """Book a visit.

    `time`: "HH:MM" in the doctor's time zone, None for an untimed visit. `duration_minutes` defaults to the length of
    the doctor's slots. Patients book for themselves and from today on, doctors book visits with themselves, admins book
    any visit.
    Raises: NotAllowed, InvalidValue, DuplicateAppointment, SlotTaken.
    """
    audit_context.involves(patient_id)
    if actor.role == Role.PATIENT and patient_id != patient_queries.own_patient_id(actor):
        raise NotAllowed("A patient books for themself only.")
    if actor.role == Role.DOCTOR and doctor_id != doctor_queries.own_doctor_id(actor):
        raise NotAllowed("A doctor books visits with themself only.")
    if status != Status.SCHEDULED:
        raise InvalidValue("A new appointment is scheduled.", field="status")
    visit = Appointment(
        patient_id=patient_id,
        doctor_id=doctor_id,
        date=date,
        time=time or "",
        disease=disease,
        status=status,
    )
    if duration_minutes is not None:
        visit.duration_minutes = duration_minutes
    if appointment_id is not None:
        visit.appointment_id = appointment_id
        return _insert(actor=actor, visit=visit)
    while True:
        visit.appointment_id = new_id(KEY_PREFIX)
        try:
            return _insert(actor=actor, visit=visit)
        except DuplicateAppointment:
            continue


@clinical_transaction
def change_appointment(*, actor: User, appointment_id: str, **changes: Any) -> Appointment:
    """Complete, cancel or move a scheduled visit, or correct its disease.

    `changes`: fields of the model by name.
    Raises: NotVisible, NotAllowed, InvalidValue, FinalStatus, SlotTaken.
    """
    visit = queries.get_changeable(actor, appointment_id)
    target = changes.get("status", visit.status)
    if target == Status.COMPLETED and actor.role not in MAY_COMPLETE:
        raise NotAllowed("Only the doctor of a visit or an admin says that it took place.")
    if visit.status != Status.SCHEDULED:
        raise FinalStatus(visit.status)
    is_moved = bool(_TIME_FIELDS & set(changes))
    if is_moved and target != Status.SCHEDULED:
        raise InvalidValue("One request cannot both move and end a visit: move it first.", field="status")
    before, held = as_document(visit), claims.ids_of(visit)
    if "time" in changes:
        changes["time"] = changes["time"] or ""
    for name, value in changes.items():
        setattr(visit, name, value)
    if is_moved:
        _resolve_time(actor, visit)
        changes |= {"starts_at": visit.starts_at, "duration_minutes": visit.duration_minutes}
    visit.clean_fields()
    # The update requires the scheduled status, so that only one of two concurrent requests ends the visit.
    if not Appointment.objects.filter(pk=appointment_id, status=Status.SCHEDULED).update(**changes):
        raise FinalStatus(queries.get_visible(actor, appointment_id)["status"])
    if is_moved:
        # The visit's place in the chart may change, and an older visit may enter the chart.
        chart.replace("appointments", visit.patient_id, queries.newest_entries(visit.patient_id))
    else:
        entry: Document = {name: changes[name] for name in ("status", "disease") if name in changes}
        chart.amend("appointments", visit.patient_id, appointment_id, entry)
    claims.replace(appointment_id=appointment_id, held=held, wanted=claims.ids_of(visit))
    _publish(actor, _event_kind(target, is_moved), visit, before=before, after=as_document(visit))
    return visit


@clinical_transaction
def delete_appointment(*, actor: User, appointment_id: str) -> None:
    """Delete an appointment. Raises: NotVisible, FinalStatus for a completed visit, StillReferenced."""
    visit = queries.get_changeable(actor, appointment_id)
    if visit.status == Status.COMPLETED:
        raise FinalStatus(visit.status)
    protected_references.raise_if_referenced("appointment", appointment_id)
    Appointment.objects.filter(pk=appointment_id).delete()
    chart.replace("appointments", visit.patient_id, queries.newest_entries(visit.patient_id))
    claims.replace(appointment_id=appointment_id, held=claims.ids_of(visit), wanted=[])
    _publish(actor, "appointment.deleted", visit, before=as_document(visit), after=None)


@clinical_transaction
def _insert(*, actor: User, visit: Appointment) -> Appointment:
    _resolve_time(actor, visit)
    visit.clean_fields()
    # The chart is written first, because two bookings of one patient conflict on it.
    if not chart.add("appointments", visit.patient_id, queries.chart_entry(as_document(visit))):
        raise InvalidValue("There is no such patient.", code="unknown", field="patient_id")
    try:
        document_query.insert(visit)
    except IntegrityError as error:
        raise (DuplicateAppointment() if duplicated_field(error) == "_id" else error) from error
    claims.replace(appointment_id=visit.appointment_id, held=[], wanted=claims.ids_of(visit))
    _publish(actor, "appointment.booked", visit, before=None, after=as_document(visit))
    return visit


def _resolve_time(actor: User, visit: Appointment) -> None:
    """Set the visit's duration and UTC instant. Raises: InvalidValue for a time at which it cannot take place."""
    doctor = doctor_queries.schedule_of(visit.doctor_id)
    if doctor is None:
        raise InvalidValue("There is no such doctor.", code="unknown", field="doctor_id")
    if actor.role == Role.PATIENT and visit.date < hours.today_of(doctor):
        raise InvalidValue("A patient books from today on.", field="date")
    # The model has no default duration, because it depends on the doctor.
    if visit.duration_minutes is None:
        visit.duration_minutes = hours.slot_minutes(doctor, visit.date, visit.time)
    if not visit.time:
        visit.starts_at = None
        return
    if not hours.is_within_hours(doctor, visit.date, visit.time, visit.duration_minutes):
        raise InvalidValue("The doctor does not work then; ask for the free slots.", code="outside_hours", field="time")
    try:
        visit.starts_at = hours.instant(visit.date, visit.time, doctor.time_zone)
    except hours.SkippedTime as error:
        raise InvalidValue(str(error), code="skipped", field="time") from error


def as_document(visit: Appointment) -> Document:
    """Return the appointment as events contain it: its fields by their API names."""
    return {field.name: getattr(visit, field.name) for field in visit._meta.concrete_fields}


def _event_kind(status: str, is_moved: bool) -> str:
    if status != Status.SCHEDULED:
        return f"appointment.{status}"
    return "appointment.moved" if is_moved else "appointment.amended"


def _publish(actor: User, kind: str, visit: Appointment, *, before: Document | None, after: Document | None) -> None:
    events.publish(
        kind,
        actor=actor,
        patient_id=visit.patient_id,
        subject_id=visit.appointment_id,
        before=before,
        after=after,
    )

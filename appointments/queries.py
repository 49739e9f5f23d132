"""Reads of appointments. Each one about people's data starts from `visible_to`."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from appointments import claims
from appointments.models import Appointment, Status
from doctors import hours
from doctors import queries as doctor_queries
from doctors.models import Doctor
from healthcare import audit_context, clock
from healthcare.errors import InvalidValue, required
from healthcare.mongodb import raw
from healthcare.mongodb.document_query import DocumentQuery
from healthcare.mongodb.raw import Document
from healthcare.protected_references import COUNT_LIMIT
from patients import queries as patient_queries
from patients.models import CHART_LENGTH, ChartAppointment

#: The longest period, in days, that one request for free slots covers.
MAX_SLOT_DAYS = 31


def visible_to(user: User) -> DocumentQuery[Appointment]:
    """Return the appointments that the account may see, and mark appointments as queried.

    Admins and staff whose groups grant `appointments.view_appointment` see every appointment; patients and doctors
    see their own.
    """
    audit_context.mark_queried("appointment")
    everyone = DocumentQuery(Appointment)
    if user.role == Role.ADMIN or is_permitted_staff(user, "appointments.view_appointment"):
        return everyone
    own: dict[str, str | None] = {}
    if user.role == Role.PATIENT:
        own = {"patient_id": patient_queries.own_patient_id(user)}
    elif user.role == Role.DOCTOR:
        own = {"doctor_id": doctor_queries.own_doctor_id(user)}
    if not own or None in own.values():
        return everyone.none()
    return everyone.filter(**own)


def get_visible(user: User, appointment_id: str) -> Document:
    """Return the appointment as a document. Raises: NotVisible."""
    found = visible_to(user).filter(pk=appointment_id).first()
    audit_context.involves(found["patient_id"] if found else _patient_of(appointment_id))
    return required(found)


def get_changeable(user: User, appointment_id: str) -> Appointment:
    """Return the appointment as a model, for a service that changes it. Raises: NotVisible."""
    found = visible_to(user).filter(pk=appointment_id).as_queryset().first()
    audit_context.involves(found.patient_id if found else _patient_of(appointment_id))
    return required(found)


def _patient_of(appointment_id: str) -> str | None:
    """Return the patient of an appointment that the account may not see.

    The audit log names the patient of a denied attempt, so that the patient's access log shows who tried.
    """
    found = raw.collection(Appointment).find_one({"_id": appointment_id}, projection=["patient_id"])
    return found["patient_id"] if found else None


def matching(
    user: User,
    *,
    patient_id: str | None = None,
    doctor_id: str | None = None,
    status: str | None = None,
    since: date | None = None,
    until: date | None = None,
) -> DocumentQuery[Appointment]:
    """Return the visible appointments that match every filter, the latest first."""
    wanted = {
        "patient_id": patient_id, "doctor_id": doctor_id, "status": status, "date__gte": since, "date__lte": until,
    }  # fmt: skip
    given = {name: value for name, value in wanted.items() if value is not None}
    return visible_to(user).filter(**given).order_by("-date", "-time", "-appointment_id")


def require_of_patient(appointment_id: str | None, patient_id: str) -> None:
    """Require that the appointment which a prescription or bill names, if any, is one of its patient's.

    Raises: InvalidValue, with the same message whether the appointment is another patient's or does not exist.
    """
    if appointment_id is None:
        return
    if not Appointment.objects.filter(pk=appointment_id, patient_id=patient_id).exists():
        raise InvalidValue("This patient has no such appointment.", code="unknown", field="appointment_id")


def count_of_patient(patient_id: str) -> int:
    """Return the number of appointments of the patient, at most COUNT_LIMIT."""
    return Appointment.objects.filter(patient_id=patient_id)[:COUNT_LIMIT].count()


def count_of_doctor(doctor_id: str) -> int:
    """Return the number of appointments of the doctor, at most COUNT_LIMIT."""
    return Appointment.objects.filter(doctor_id=doctor_id)[:COUNT_LIMIT].count()


def chart_entry(document: Mapping[str, object]) -> Document:
    """Return the chart entry of an appointment."""
    return {
        field.name: document.get(field.name) for field in ChartAppointment._meta.concrete_fields if field.name != "id"
    }


def newest_entries(patient_id: str) -> list[Document]:
    """Return the chart entries of the patient's newest appointments, read from the collection."""
    newest = raw.collection(Appointment).find(
        {"patient_id": patient_id}, sort=[("date", -1), ("time", -1), ("_id", -1)], limit=CHART_LENGTH
    )
    return [chart_entry({**document, "appointment_id": document["_id"]}) for document in newest]


def visits_of_doctor(user: User, doctor_id: str, since: date, until: date) -> list[Appointment]:
    """Return the visible visits of a doctor from `since` to `until`, both included, by wall date and wall time."""
    found = visible_to(user).filter(doctor_id=doctor_id, date__gte=since, date__lte=until)
    return list(found.order_by("date", "time", "appointment_id").as_queryset())


def count_free_today(schedules: Mapping[str, hours.Schedule]) -> int:
    """Return the number of free slots between now and the end of today, in each doctor's time zone.

    `schedules`: doctor_id → schedule.
    """
    now = clock.now()
    slots = {
        doctor_id: [slot for slot in hours.slots_between(schedule, today, today) if slot.starts_at >= now]
        for doctor_id, schedule in schedules.items()
        for today in [hours.today_of(schedule)]
    }
    days = {slot.date for each in slots.values() for slot in each}
    taken: dict[str, set[datetime]] = {}
    # This query reads visits instead of claims, because the ids of claims are ordered by doctor and not by time.
    booked = Appointment.objects.filter(date__in=sorted(days), status=Status.SCHEDULED, starts_at__isnull=False)
    for doctor_id, starts_at, minutes in booked.values_list("doctor_id", "starts_at", "duration_minutes"):
        taken.setdefault(doctor_id, set()).update(claims.quanta(starts_at, minutes))
    return sum(
        claims.is_free(taken.get(doctor_id, set()), slot.starts_at, slot.ends_at)
        for doctor_id, each in slots.items()
        for slot in each
    )


def free_slots(
    doctor_id: str, schedule: hours.Schedule | Doctor, *, since: date | None = None, until: date | None = None
) -> list[hours.Slot]:
    """Return the slots of a schedule that no visit of the doctor holds, both days included.

    `since` defaults to the doctor's today, `until` to six days after `since`.
    Raises: InvalidValue for a period of more than MAX_SLOT_DAYS days, or one that ends before it begins.
    """
    since = since or hours.today_of(schedule)
    until = until or since + timedelta(days=6)
    if until < since:
        raise InvalidValue("Must not lie before `from`.", field="to")
    if (until - since).days >= MAX_SLOT_DAYS:
        raise InvalidValue(f"At most {MAX_SLOT_DAYS} days at once.", field="to")
    slots = list(hours.slots_between(schedule, since, until))
    if not slots:
        return []
    taken = claims.doctor_quanta(doctor_id, slots[0].starts_at, slots[-1].ends_at)
    return [slot for slot in slots if claims.is_free(taken, slot.starts_at, slot.ends_at)]

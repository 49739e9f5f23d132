"""Reading appointments. Everything starts from `visible_to`."""

from datetime import date
from typing import Any

from django.db.models import QuerySet

from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from appointments.models import Appointment
from doctors import queries as doctor_queries
from healthcare.exceptions import NotVisible
from healthcare.references import COUNT_LIMIT
from patients import queries as patient_queries


def visible_to(user: User) -> QuerySet[Appointment]:
    """All for admins and staff whose groups say so; for patients and doctors their own."""
    if user.role == Role.ADMIN or is_permitted_staff(user, "appointments.view_appointment"):
        return Appointment.objects.all()
    own: dict[str, Any] = {}
    if user.role == Role.PATIENT:
        own = {"patient_id": patient_queries.own_patient_id(user)}
    elif user.role == Role.DOCTOR:
        own = {"doctor_id": doctor_queries.own_doctor_id(user)}
    if not own or None in own.values():
        return Appointment.objects.none()
    return Appointment.objects.filter(**own)


def get_visible(user: User, appointment_id: str) -> Appointment:
    """Raises: NotVisible."""
    found = visible_to(user).filter(pk=appointment_id).first()
    if found is None:
        raise NotVisible
    return found


def matching(
    user: User,
    *,
    patient_id: str | None = None,
    doctor_id: str | None = None,
    status: str | None = None,
    since: date | None = None,
    until: date | None = None,
) -> QuerySet[Appointment]:
    """Visible appointments that the filters leave, the latest first."""
    wanted = {
        "patient_id": patient_id, "doctor_id": doctor_id, "status": status, "date__gte": since, "date__lte": until,
    }  # fmt: skip
    found = visible_to(user).filter(**{name: value for name, value in wanted.items() if value is not None})
    return found.order_by("-date", "-time", "-appointment_id")


def find(appointment_id: str) -> Appointment | None:
    """The appointment that a write names; the writer checks whose it is."""
    return Appointment.objects.filter(pk=appointment_id).first()


def count_of_patient(patient_id: str) -> int:
    """How many name the patient, up to the limit of `healthcare.references`."""
    return Appointment.objects.filter(patient_id=patient_id)[:COUNT_LIMIT].count()


def count_of_doctor(doctor_id: str) -> int:
    """How many name the doctor, up to the limit of `healthcare.references`."""
    return Appointment.objects.filter(doctor_id=doctor_id)[:COUNT_LIMIT].count()

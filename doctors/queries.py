"""Reads of doctors."""

from types import SimpleNamespace

from django.db.models import QuerySet

from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from doctors.hours import Schedule
from doctors.models import Doctor, specialty_key
from healthcare.errors import NotAllowed, required
from healthcare.mongodb import raw
from healthcare.mongodb.document_query import DocumentQuery
from healthcare.mongodb.raw import Document


def visible_to(user: User) -> DocumentQuery[Doctor]:
    """Return the doctors that the account may see.

    Admins, doctors and patients see every doctor, and so do staff whose groups grant `doctors.view_doctor`. The
    list of doctors is not confidential, so this function marks nothing as queried for the audit log.
    """
    everyone = DocumentQuery(Doctor)
    if user.role in (Role.ADMIN, Role.DOCTOR, Role.PATIENT) or is_permitted_staff(user, "doctors.view_doctor"):
        return everyone
    return everyone.none()


def get_visible(user: User, doctor_id: str) -> Document:
    """Return the doctor as a document. Raises: NotVisible."""
    return required(visible_to(user).filter(pk=doctor_id).first())


def get_changeable(user: User, doctor_id: str) -> Doctor:
    """Return the doctor as a model, for a service that changes it.

    Raises: NotVisible; NotAllowed for a doctor whom the account may see but not change.
    """
    doctor = required(visible_to(user).filter(pk=doctor_id).as_queryset().first())
    if user.role not in (Role.ADMIN, Role.STAFF) and doctor.user_id != user.pk:
        raise NotAllowed("A doctor changes their own record only.")
    return doctor


def matching(
    user: User, *, specialty: str | None = None, available: bool | None = None, search: str | None = None
) -> DocumentQuery[Doctor]:
    """Return the visible doctors that match every filter, by name. `available`: whether they accept patients."""
    found = visible_to(user)
    if specialty is not None:
        found = found.filter(specialty_key=specialty_key(specialty))
    if available is not None:
        found = found.filter(accepting_patients=available)
    if search is not None:
        found = found.filter(name__search=search)
    return found.order_by("name", "doctor_id")


def own_doctor_id(user: User) -> str | None:
    """Return the id of the account's doctor record, None if it has none; read once for each request."""
    if "own_doctor_id" not in user.__dict__:
        found = raw.collection(Doctor).find_one({"user_id": user.pk}, projection=["_id"])
        user.__dict__["own_doctor_id"] = found and found["_id"]
    return user.__dict__["own_doctor_id"]


def schedule_of(doctor_id: str) -> Schedule | None:
    """Return the schedule of a doctor that a write names, visible to the account or not; None for an unknown id."""
    found = raw.collection(Doctor).find_one({"_id": doctor_id}, projection=Schedule._fields)
    return None if found is None else schedule_from(found)


def schedules_of(doctors: QuerySet[Doctor]) -> dict[str, Schedule]:
    """Return doctor_id → schedule. They are read as documents, because 500 models would take 0.2 s."""
    keys = list(doctors.values_list("pk", flat=True))
    found = raw.collection(Doctor).find({"_id": {"$in": keys}}, projection=["_id", *Schedule._fields])
    return {each["_id"]: schedule_from(each) for each in found}


def schedule_from(document: Document) -> Schedule:
    """Return the schedule that a doctor's document holds."""
    return Schedule(
        time_zone=document["time_zone"],
        availability=[SimpleNamespace(**row) for row in document["availability"]],
        exceptions=[SimpleNamespace(**{**row, "date": row["date"].date()}) for row in document["exceptions"]],
    )


def specialty_key_of(doctor_id: str) -> str | None:
    """Return the key of the doctor's specialty, visible to the account or not; None for an unknown id."""
    found = raw.collection(Doctor).find_one({"_id": doctor_id}, projection=["specialty_key"])
    return None if found is None else str(found["specialty_key"])


def exists(doctor_id: str) -> bool:
    """Return whether the doctor exists, for writes that name one."""
    return raw.collection(Doctor).find_one({"_id": doctor_id}, projection=["_id"]) is not None

"""Reads of patients. Each read of people's data starts from `visible_to`."""

from datetime import date

from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from healthcare import audit_context
from healthcare.errors import required
from healthcare.mongodb import raw
from healthcare.mongodb.document_query import DocumentQuery
from healthcare.mongodb.encrypted_fields import stored_forms
from healthcare.mongodb.raw import Document
from patients.models import Patient


def visible_to(user: User) -> DocumentQuery[Patient]:
    """Return the patients that the account may see, and mark patients as queried.

    Admins, doctors and staff whose groups grant `patients.view_patient` see every patient; a patient sees their own
    record. The admin site takes the same rows as models: `visible_to(user).as_queryset()`.
    """
    audit_context.mark_queried("patient")
    everyone = DocumentQuery(Patient)
    if user.role in (Role.ADMIN, Role.DOCTOR) or is_permitted_staff(user, "patients.view_patient"):
        return everyone
    if user.role == Role.PATIENT:
        return everyone.filter(user_id=user.pk)
    return everyone.none()


def get_visible(user: User, patient_id: str) -> Document:
    """Return the patient as a document. Raises: NotVisible."""
    audit_context.involves(patient_id)
    return required(visible_to(user).filter(pk=patient_id).first())


def get_changeable(user: User, patient_id: str) -> Patient:
    """Return the patient as a model, for a service that changes it. Raises: NotVisible."""
    audit_context.involves(patient_id)
    return required(visible_to(user).filter(pk=patient_id).as_queryset().first())


def matching(
    user: User, *, search: str | None = None, disease: str | None = None, national_id: str | None = None
) -> DocumentQuery[Patient]:
    """Return the visible patients that match every filter, by name. `search`: words that must all be in the name."""
    found = visible_to(user)
    if search is not None:
        found = found.filter(name__search=search)
    if disease is not None:
        found = found.filter(diseases__has=disease)
    if national_id is not None:
        found = found.filter(national_id__in=stored_forms(Patient, "national_id", national_id))
    return found.order_by("name", "patient_id")


def possible_duplicates(user: User, *, name: str, birth_date: date | None) -> list[Patient]:
    """Return the visible patients with the same birth date and, up to case and spaces, the same name."""
    if birth_date is None:
        return []
    key = name_key(name)
    born_then = visible_to(user).filter(name__search=name, birth_date=birth_date).order_by("patient_id").as_queryset()
    return [patient for patient in born_then if name_key(patient.name) == key]


def name_key(name: str) -> str:
    """Return the form of a name for comparisons: the same for "Noor  Haddad" and "noor haddad"."""
    return " ".join(name.casefold().split())


def own_patient_id(user: User) -> str | None:
    """Return the id of the account's patient record, None if it has none; read once for each request."""
    if "own_patient_id" not in user.__dict__:
        found = raw.collection(Patient).find_one({"user_id": user.pk}, projection=["_id"])
        user.__dict__["own_patient_id"] = found and found["_id"]
    return user.__dict__["own_patient_id"]


def exists(patient_id: str) -> bool:
    """Return whether the patient exists, for writes that name one."""
    return Patient.objects.filter(pk=patient_id).exists()

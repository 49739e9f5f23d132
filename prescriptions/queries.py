"""Reads of prescriptions. Each one about people's data starts from `visible_to`."""

from collections.abc import Mapping

from bson import ObjectId

from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from doctors import queries as doctor_queries
from healthcare import audit_context
from healthcare.errors import NotAllowed, NotVisible, required
from healthcare.mongodb import raw
from healthcare.mongodb.document_query import DocumentQuery
from healthcare.mongodb.raw import Document
from healthcare.protected_references import COUNT_LIMIT
from patients import queries as patient_queries
from patients.models import CHART_LENGTH, ChartPrescription
from prescriptions.models import Prescription


def visible_to(user: User) -> DocumentQuery[Prescription]:
    """Return the prescriptions that the account may see, and mark prescriptions as queried.

    Admins, doctors and staff whose groups grant `prescriptions.view_prescription` see every prescription; patients see
    their own.
    """
    audit_context.mark_queried("prescription")
    everyone = DocumentQuery(Prescription)
    if user.role in (Role.ADMIN, Role.DOCTOR) or is_permitted_staff(user, "prescriptions.view_prescription"):
        return everyone
    if user.role == Role.PATIENT and (own := patient_queries.own_patient_id(user)):
        return everyone.filter(patient_id=own)
    return everyone.none()


def get_visible(user: User, prescription_id: str) -> Document:
    """Return the prescription as a document. Raises: NotVisible."""
    key = _key(prescription_id)
    found = visible_to(user).filter(pk=key).first()
    audit_context.involves(found["patient_id"] if found else _patient_of(key))
    return required(found)


def _key(prescription_id: str) -> ObjectId:
    """Return the primary key that an id stands for. Raises: NotVisible for a text that is not an ObjectId."""
    if not ObjectId.is_valid(prescription_id):
        raise NotVisible
    return ObjectId(prescription_id)


def _patient_of(key: ObjectId) -> str | None:
    """Return the patient of a prescription that the account may not see.

    The audit log names the patient of a denied attempt, so that the patient's access log shows who tried.
    """
    found = raw.collection(Prescription).find_one({"_id": key}, projection=["patient_id"])
    return found["patient_id"] if found else None


def get_changeable(user: User, prescription_id: str) -> Prescription:
    """Return the prescription as a model, for a service that changes it.

    Raises: NotVisible; NotAllowed for a prescription that another doctor wrote.
    """
    key = _key(prescription_id)
    found = visible_to(user).filter(pk=key).as_queryset().first()
    audit_context.involves(found.patient_id if found else _patient_of(key))
    found = required(found)
    if user.role not in (Role.ADMIN, Role.STAFF) and found.doctor_id != doctor_queries.own_doctor_id(user):
        raise NotAllowed("Only the doctor who wrote a prescription or an admin changes it.")
    return found


def matching(
    user: User, *, patient_id: str | None = None, doctor_id: str | None = None, disease: str | None = None
) -> DocumentQuery[Prescription]:
    """Return the visible prescriptions that match every filter, the latest start first."""
    wanted = {"patient_id": patient_id, "doctor_id": doctor_id, "disease": disease}
    given = {name: value for name, value in wanted.items() if value is not None}
    return visible_to(user).filter(**given).order_by("-start_date", "-id")


def count_of_patient(patient_id: str) -> int:
    """Return the number of prescriptions of the patient, at most COUNT_LIMIT."""
    return Prescription.objects.filter(patient_id=patient_id)[:COUNT_LIMIT].count()


def count_of_doctor(doctor_id: str) -> int:
    """Return the number of prescriptions of the doctor, at most COUNT_LIMIT."""
    return Prescription.objects.filter(doctor_id=doctor_id)[:COUNT_LIMIT].count()


def count_of_appointment(appointment_id: str) -> int:
    """Return the number of prescriptions of the appointment, at most COUNT_LIMIT."""
    return Prescription.objects.filter(appointment_id=appointment_id)[:COUNT_LIMIT].count()


def chart_entry(document: Mapping[str, object]) -> Document:
    """Return the chart entry of a prescription."""
    names = (field.name for field in ChartPrescription._meta.concrete_fields if field.name != "id")
    return {name: document.get("id" if name == "prescription_id" else name) for name in names}


def newest_entries(patient_id: str) -> list[Document]:
    """Return the chart entries of the patient's newest prescriptions, read from the collection."""
    newest = raw.collection(Prescription).find(
        {"patient_id": patient_id}, sort=[("start_date", -1), ("_id", -1)], limit=CHART_LENGTH
    )
    return [chart_entry({**document, "id": document["_id"]}) for document in newest]

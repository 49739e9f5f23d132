"""Reading doctors."""

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


def documents_visible_to(user: User) -> DocumentQuery[Doctor]:
    """Who treats is no secret among those who use the API; staff see them as their groups say."""
    everyone = DocumentQuery(Doctor)
    if user.role in (Role.ADMIN, Role.DOCTOR, Role.PATIENT) or is_permitted_staff(user, "doctors.view_doctor"):
        return everyone
    return everyone.none()


def visible_to(user: User) -> QuerySet[Doctor]:
    return documents_visible_to(user).as_queryset()


def get_visible(user: User, doctor_id: str) -> Doctor:
    """Raises: NotVisible."""
    return required(visible_to(user).filter(pk=doctor_id).first())


def document_visible(user: User, doctor_id: str) -> Document:
    """The same as a document, to be answered. Raises: NotVisible."""
    return required(documents_visible_to(user).filter(pk=doctor_id).first())


def get_changeable(user: User, doctor_id: str) -> Doctor:
    """Raises: NotVisible; NotAllowed for a doctor whom the account may see but not change."""
    doctor = get_visible(user, doctor_id)
    if user.role not in (Role.ADMIN, Role.STAFF) and doctor.user_id != user.pk:
        raise NotAllowed("A doctor changes their own record only.")
    return doctor


def matching(
    user: User, *, specialty: str | None = None, available: bool | None = None, search: str | None = None
) -> DocumentQuery[Doctor]:
    """Visible doctors that the filters leave, by name. `available`: whether they accept patients."""
    found = documents_visible_to(user)
    if specialty is not None:
        found = found.filter(specialty_key=specialty_key(specialty))
    if available is not None:
        found = found.filter(accepting_patients=available)
    if search is not None:
        found = found.filter(name__search=search)
    return found.order_by("name", "doctor_id")


def own_doctor_id(user: User) -> str | None:
    """The id of the doctor record tied to the account; read once for each request's user."""
    if "own_doctor_id" not in user.__dict__:
        found = raw.collection(Doctor).find_one({"user_id": user.pk}, projection=["_id"])
        user.__dict__["own_doctor_id"] = found and found["_id"]
    return user.__dict__["own_doctor_id"]


def schedule_of(doctor_id: str) -> Schedule | None:
    """When the doctor works whom a write names, whoever asks: who treats is no secret, see `visible_to`."""
    found = raw.collection(Doctor).find_one({"_id": doctor_id}, projection=Schedule._fields)
    return None if found is None else _schedule(found)


def schedules_of(doctors: QuerySet[Doctor]) -> dict[str, Schedule]:
    """When these doctors work, by their ids: five hundred of them as models take a fifth of a second to make."""
    keys = list(doctors.values_list("pk", flat=True))
    found = raw.collection(Doctor).find({"_id": {"$in": keys}}, projection=["_id", *Schedule._fields])
    return {each["_id"]: _schedule(each) for each in found}


def _schedule(found: Document) -> Schedule:
    return Schedule(
        time_zone=found["time_zone"],
        availability=[SimpleNamespace(**row) for row in found["availability"]],
        exceptions=[SimpleNamespace(**{**row, "date": row["date"].date()}) for row in found["exceptions"]],
    )


def find(doctor_id: str) -> Doctor | None:
    """The doctor whom a write names, as `schedule_of`."""
    return Doctor.objects.filter(pk=doctor_id).first()


def exists(doctor_id: str) -> bool:
    """Whether there is such a doctor, for writes that name one."""
    return raw.collection(Doctor).find_one({"_id": doctor_id}, projection=["_id"]) is not None

"""Reading bills. Everything starts from `visible_to`."""

from collections.abc import Collection

from django.db.models import QuerySet

from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from billing.models import Bill, DeletedBill, Fee
from healthcare import audit_context
from healthcare.errors import NotVisible
from healthcare.protected_references import COUNT_LIMIT
from patients import queries as patient_queries


def visible_to(user: User) -> QuerySet[Bill]:
    """All for admins and staff whose groups say so; for patients their own."""
    audit_context.mark_queried("bill")
    if user.role == Role.ADMIN or is_permitted_staff(user, "billing.view_bill"):
        return Bill.objects.all()
    own = patient_queries.own_patient_id(user) if user.role == Role.PATIENT else None
    return Bill.objects.filter(patient_id=own) if own else Bill.objects.none()


def get_visible(user: User, bill_id: int) -> Bill:
    """Raises: NotVisible."""
    found = visible_to(user).filter(pk=bill_id).first()
    if found is None:
        # Whose it is goes on record, so that the patient sees who tried.
        audit_context.involves(*Bill.objects.filter(pk=bill_id).values_list("patient_id", flat=True))
        raise NotVisible
    audit_context.involves(found.patient_id)
    return found


def matching(
    user: User,
    *,
    patient_id: str | None = None,
    appointment_id: str | None = None,
    disease: str | None = None,
    status: str | None = None,
) -> QuerySet[Bill]:
    """Visible bills that the filters leave, the newest first."""
    wanted = {
        "patient_id": patient_id,
        "appointment_id": appointment_id,
        "disease": disease,
        "status": status,
    }
    found = visible_to(user).filter(**{name: value for name, value in wanted.items() if value is not None})
    return found.order_by("-id")


def count_of_patient(patient_id: str) -> int:
    """How many name the patient, up to the limit of `healthcare.protected_references`."""
    return Bill.objects.filter(patient_id=patient_id)[:COUNT_LIMIT].count()


def count_of_appointment(appointment_id: str) -> int:
    """How many name the appointment, up to the limit of `healthcare.protected_references`."""
    return Bill.objects.filter(appointment_id=appointment_id)[:COUNT_LIMIT].count()


def billed(appointment_ids: Collection[str]) -> set[str]:
    """Which of the appointments have a bill, or had one that was deleted."""
    return _named("appointment_id", appointment_ids)


def delivered(source_event_ids: Collection[str]) -> set[str]:
    """Which of the events left a bill, or left one that was deleted."""
    return _named("source_event_id", source_event_ids)


def _named(column: str, values: Collection[str]) -> set[str]:
    found: set[str] = set()
    # In this order: a bill that is deleted between the two is found as a deleted one.
    for model in (Bill, DeletedBill):
        others = set(values) - found
        if others:
            found.update(model.objects.filter(**{f"{column}__in": others}).values_list(column, flat=True))
    return found


def fee_for(specialty_key: str) -> Fee:
    """The fee of a specialty, else the one for all others. Raises: LookupError when there is neither."""
    fees = {fee.specialty_key: fee for fee in Fee.objects.filter(specialty_key__in=[specialty_key, ""])}
    if not fees:
        raise LookupError("The fee table has no row for this specialty and none for all others.")
    return fees.get(specialty_key) or fees[""]

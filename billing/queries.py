"""Reads of bills. Each read of people's data starts from `visible_to`."""

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
    """Return the bills that the account may see, and mark bills as queried.

    Admins and staff whose groups grant `billing.view_bill` see every bill; patients see their own.
    """
    audit_context.mark_queried("bill")
    if user.role == Role.ADMIN or is_permitted_staff(user, "billing.view_bill"):
        return Bill.objects.all()
    own = patient_queries.own_patient_id(user) if user.role == Role.PATIENT else None
    return Bill.objects.filter(patient_id=own) if own else Bill.objects.none()


def get_visible(user: User, bill_id: int) -> Bill:
    """Return the bill. Raises: NotVisible."""
    found = visible_to(user).filter(pk=bill_id).first()
    if found is None:
        # The audit log names the patient of a denied attempt, so that the patient's access log shows who tried.
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
    """Return the visible bills that match every filter, the newest first."""
    wanted = {
        "patient_id": patient_id,
        "appointment_id": appointment_id,
        "disease": disease,
        "status": status,
    }
    found = visible_to(user).filter(**{name: value for name, value in wanted.items() if value is not None})
    return found.order_by("-id")


def count_of_patient(patient_id: str) -> int:
    """Return the number of bills of the patient, at most COUNT_LIMIT."""
    return Bill.objects.filter(patient_id=patient_id)[:COUNT_LIMIT].count()


def count_of_appointment(appointment_id: str) -> int:
    """Return the number of bills of the appointment, at most COUNT_LIMIT."""
    return Bill.objects.filter(appointment_id=appointment_id)[:COUNT_LIMIT].count()


def billed(appointment_ids: Collection[str]) -> set[str]:
    """Return those of the appointments that have a bill, or a marker of a deleted one."""
    return _named("appointment_id", appointment_ids)


def delivered(source_event_ids: Collection[str]) -> set[str]:
    """Return those of the events that caused a bill which exists, or which was deleted."""
    return _named("source_event_id", source_event_ids)


def _named(column: str, values: Collection[str]) -> set[str]:
    found: set[str] = set()
    # Bills are read first, so that the second query finds a bill that is deleted between the two queries.
    for model in (Bill, DeletedBill):
        others = set(values) - found
        if others:
            found.update(model.objects.filter(**{f"{column}__in": others}).values_list(column, flat=True))
    return found


def fee_for(specialty_key: str) -> Fee:
    """Return the fee of a specialty, or else the fee for all others. Raises: LookupError if there is neither."""
    fees = {fee.specialty_key: fee for fee in Fee.objects.filter(specialty_key__in=[specialty_key, ""])}
    if not fees:
        raise LookupError("The fee table has no row for this specialty and none for all others.")
    return fees.get(specialty_key) or fees[""]

"""Reading the audit trail, which is reading about people, too: who looked goes on record like any other read."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet

from accounts import queries as account_queries
from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from healthcare import trail
from healthcare.models import AuditEntry, AuditPatient
from patients import queries as patient_queries


def visible_to(user: User) -> QuerySet[AuditEntry]:
    """All for admins and for staff whose groups make them auditors."""
    trail.consulted("audit")
    if user.role == Role.ADMIN or is_permitted_staff(user, "healthcare.view_auditentry"):
        return AuditEntry.objects.all()
    return AuditEntry.objects.none()


def matching(
    user: User,
    *,
    patient_id: str | None = None,
    actor: int | None = None,
    action: str | None = None,
    outcome: str | None = None,
    since: date | None = None,
    until: date | None = None,
) -> QuerySet[Any]:
    """Visible entries that the filters leave, the latest first; days are those of UTC.

    With a patient the rows are the patient's `AuditPatient`, whose `entry` is read with them: their key is the order
    of the list, so that each page is one range of it, also for a patient whom a million entries name.
    """
    wanted = {"actor_id": actor, "action": action, "outcome": outcome}
    filters = {name: value for name, value in wanted.items() if value is not None}
    entries = visible_to(user)
    if patient_id is None:
        return _in_period(entries.filter(**filters), since, until).order_by("-at", "-id")
    rows = AuditPatient.objects.all() if not entries.query.is_empty() else AuditPatient.objects.none()
    rows = rows.filter(patient_id=patient_id, **{f"entry__{name}": value for name, value in filters.items()})
    return _in_period(rows, since, until).select_related("entry").order_by("-at", "-entry_id")


def access_log(
    user: User, patient_id: str, *, since: date | None = None, until: date | None = None
) -> QuerySet[AuditPatient]:
    """The entries about a patient whom the account may see, the latest first. Raises: NotVisible."""
    patient_queries.get_visible(user, patient_id)
    rows = AuditPatient.objects.filter(patient_id=patient_id)
    return _in_period(rows, since, until).select_related("entry").order_by("-at", "-entry_id")


def with_names(rows: Iterable[AuditPatient], *, reader: User) -> Iterator[dict[str, Any]]:
    """What an access log shows of its rows: who it was by name, unless that would name another patient."""
    entries = [row.entry for row in rows]
    names = account_queries.names_of({entry.actor_id for entry in entries if entry.actor_id is not None})
    for entry in entries:
        may_know = entry.role != Role.PATIENT or entry.actor_id == reader.pk or reader.role == Role.ADMIN
        yield {
            "at": entry.at,
            "actor": entry.actor_id if may_know else None,
            "actor_name": names.get(entry.actor_id or 0) if may_know else None,
            "role": entry.role,
            "action": entry.action,
            "outcome": entry.outcome,
            "subject": entry.subject,
            "channel": entry.channel,
        }


def _in_period(rows: QuerySet[Any], since: date | None, until: date | None) -> QuerySet[Any]:
    if since is not None:
        rows = rows.filter(at__gte=midnight(since))
    if until is not None and until < date.max:
        rows = rows.filter(at__lt=midnight(until + timedelta(days=1)))
    return rows


def midnight(day: date) -> datetime:
    """When a day of UTC begins."""
    return datetime.combine(day, time.min, tzinfo=UTC)

"""Reading the audit trail, which is reading about people, too: who looked goes on record like any other read."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from accounts import queries as account_queries
from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from audit import seals
from audit.models import Seal
from audit.seals import Leaf
from healthcare import audit_context, clock
from healthcare.audit_log.models import AuditEntry, AuditHead, AuditPatient
from healthcare.mongodb import raw
from patients import queries as patient_queries

Document = dict[str, Any]

SEALS_AT_ONCE = 20
ENTRIES_AT_ONCE = 5_000


def visible_to(user: User) -> QuerySet[AuditEntry]:
    """All for admins and for staff whose groups make them auditors."""
    audit_context.mark_queried("audit")
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


# --- What is sealed ---------------------------------------------------------------------------------------------------


def head() -> Document:
    """The last seal; one with number 0 before the first."""
    found = raw.collection(Seal).find_one({}, sort=[("_id", -1)])
    return found or {"_id": 0, "upto": 0, "hash": seals.BEGINNING}


def all_seals(*, after: int = 0) -> Iterator[Document]:
    """The chain from its beginning, some links at a time."""
    while found := raw.collection(Seal).find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=SEALS_AT_ONCE):
        yield from found
        after = found[-1]["_id"]


def last_noted() -> int:
    """The number of the last seal that PostgreSQL has a note of; 0 before the first."""
    return AuditHead.objects.order_by("number").values_list("number", flat=True).last() or 0


def noted(*, upto: int) -> Iterator[tuple[int, str]]:
    """The seals that PostgreSQL has a note of, up to a number: number and hash, in order."""
    after = 0
    while rows := list(
        AuditHead.objects.filter(number__gt=after, number__lte=upto)
        .order_by("number")
        .values_list("number", "hash")[:ENTRIES_AT_ONCE]
    ):
        yield from rows
        after = rows[-1][0]


def checkpoints() -> dict[str, Document]:
    """The links that say that a month was archived, by month."""
    found = raw.collection(Seal).find({"kind": Seal.Kind.ARCHIVE.value}, sort=[("_id", 1)])
    return {seal["month"]: seal for seal in found}


def checkpoint_of(month: str) -> Document | None:
    return raw.collection(Seal).find_one({"kind": Seal.Kind.ARCHIVE.value, "month": month})


def leaves_of_month(month: str, upto_seal: int) -> Iterator[Leaf]:
    """What the seals up to one of them say about a month's entries, by id."""
    for seal in all_seals():
        if seal["_id"] > upto_seal:
            return
        yield from (leaf for leaf in seals.unpack(seal["leaves"]) if seals.month_name(leaf.month) == month)


def entries(
    *, after: int = 0, upto: int, month: str | None = None, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Entries with after < id <= upto as dicts by column, by id. For sealing: nobody sees them."""
    found = AuditEntry.objects.all() if month is None else entries_of_month(month)
    found = found.filter(id__lte=upto).order_by("id", "at")
    # Nothing keeps a forger from giving a number twice, at two times: none of them is passed over.
    following = Q(id__gt=after)
    while True:
        size = ENTRIES_AT_ONCE if limit is None else limit
        rows = list(found.filter(following).values(*seals.COLUMNS)[:size])
        yield from rows
        if limit is not None or len(rows) < size:
            return
        last = rows[-1]
        following = Q(id__gte=last["id"]) & ~Q(id=last["id"], at__lte=last["at"])


def unsealed(upto: int) -> int:
    """How many entries have come since."""
    return AuditEntry.objects.filter(id__gt=upto).count()


def gauges() -> Iterator[tuple[str, str, float]]:
    """How far the seals are behind, for metrics (healthcare.observability.metrics): no more is counted than 100,000 entries."""
    waiting = AuditEntry.objects.filter(id__gt=head()["upto"]).order_by("id")
    oldest = waiting.values_list("at", flat=True).first()
    age = (clock.now() - oldest).total_seconds() if oldest else 0.0
    number = waiting.values("id")[:100_000].count()
    yield "healthcare_audit_unsealed_entries", "Entries of the audit trail behind the last seal, up to 100,000.", number
    yield "healthcare_audit_unsealed_age_seconds", "How long the first of them has been there.", max(age, 0.0)


def entries_of_month(month: str) -> QuerySet[AuditEntry]:
    """A month is "2026-11", of UTC."""
    first = date.fromisoformat(f"{month}-01")
    return AuditEntry.objects.filter(at__gte=midnight(first), at__lt=end_of(month))


def end_of(month: str) -> datetime:
    """When a month is over."""
    return midnight((date.fromisoformat(f"{month}-01") + timedelta(days=31)).replace(day=1))


def has_entries(month: str, *, upto: int | None = None) -> bool:
    found = entries_of_month(month)
    return (found if upto is None else found.filter(id__lte=upto)).exists()


def first_moment() -> datetime | None:
    """When the oldest entry in the tables happened."""
    return AuditEntry.objects.order_by("at", "id").values_list("at", flat=True).first()


def midnight(day: date) -> datetime:
    """When a day of UTC begins."""
    return datetime.combine(day, time.min, tzinfo=UTC)

"""Queries of the audit log, and of the seals and months by which it is verified.

Reading the audit log is an access to people's data. Like every other access it is recorded in the audit log.
"""

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
from healthcare.mongodb.raw import Document
from patients import queries as patient_queries

SEALS_PER_QUERY = 20
ENTRIES_PER_QUERY = 5_000
MAX_COUNTED_ENTRIES = 100_000


def visible_to(user: User, *, patient_id: str | None = None) -> QuerySet[Any]:
    """Return the entries that the account may read: all for admins and for staff in a group of auditors, else none.

    With a `patient_id` the rows are the `AuditPatient` rows of this patient, each of which refers to its entry.
    """
    audit_context.mark_queried("audit")
    rows = AuditEntry.objects.all() if patient_id is None else AuditPatient.objects.filter(patient_id=patient_id)
    may_read = user.role == Role.ADMIN or is_permitted_staff(user, "healthcare.view_auditentry")
    return rows if may_read else rows.none()


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
    """Return the visible entries that match all filters, the latest first. Days are those of UTC.

    With a `patient_id` the rows are `AuditPatient` rows with their entries. The key of these rows has the order of the
    list, so that each page is one range of the index, even for a patient whom a million entries name.
    """
    given = {"actor_id": actor, "action": action, "outcome": outcome}
    filters = {name: value for name, value in given.items() if value is not None}
    rows = visible_to(user, patient_id=patient_id)
    if patient_id is None:
        return _in_period(rows.filter(**filters), since, until).order_by("-at", "-id")
    rows = rows.filter(**{f"entry__{name}": value for name, value in filters.items()})
    return _in_period(rows, since, until).select_related("entry").order_by("-at", "-entry_id")


def access_log(
    user: User, patient_id: str, *, since: date | None = None, until: date | None = None
) -> QuerySet[AuditPatient]:
    """Return the entries about a patient whose record the account may read, the latest first. Raises: NotVisible."""
    patient_queries.get_visible(user, patient_id)
    rows = AuditPatient.objects.filter(patient_id=patient_id)
    return _in_period(rows, since, until).select_related("entry").order_by("-at", "-entry_id")


def with_names(rows: Iterable[AuditPatient], *, reader: User) -> Iterator[dict[str, Any]]:
    """Yield the items of an access log, with the names of the actors, except the names of other patients."""
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


# --- Seals -----------------------------------------------------------------------------------------------------------


def head() -> Document:
    """Return the last seal of the chain, or a seal with the number 0 if there is none."""
    found = raw.collection(Seal).find_one({}, sort=[("_id", -1)])
    return found or {"_id": 0, "upto": 0, "hash": seals.GENESIS_HASH}


def all_seals(*, after: int = 0) -> Iterator[Document]:
    """Yield the seals of the chain in order, beginning after a number."""
    while found := raw.collection(Seal).find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=SEALS_PER_QUERY):
        yield from found
        after = found[-1]["_id"]


def last_stored_head() -> int:
    """Return the number of the last seal whose hash is in PostgreSQL, or 0 if there is none."""
    return AuditHead.objects.order_by("number").values_list("number", flat=True).last() or 0


def stored_heads(*, upto: int) -> Iterator[tuple[int, str]]:
    """Yield number and hash of the seals whose hash is in PostgreSQL, in order, up to a number."""
    after = 0
    while rows := list(
        AuditHead.objects.filter(number__gt=after, number__lte=upto)
        .order_by("number")
        .values_list("number", "hash")[:ENTRIES_PER_QUERY]
    ):
        yield from rows
        after = rows[-1][0]


def archive_seals() -> dict[str, Document]:
    """Return the seals that state that a month was archived, by month."""
    found = raw.collection(Seal).find({"kind": Seal.Kind.ARCHIVE.value}, sort=[("_id", 1)])
    return {seal["month"]: seal for seal in found}


def archive_seal_of(month: str) -> Document | None:
    """Return the seal that states that the month was archived."""
    return raw.collection(Seal).find_one({"kind": Seal.Kind.ARCHIVE.value, "month": month})


def leaves_of_month(month: str, upto_seal: int) -> Iterator[Leaf]:
    """Yield the leaves of a month's entries by id, from the seals up to a number."""
    for seal in all_seals():
        if seal["_id"] > upto_seal:
            return
        yield from (leaf for leaf in seals.unpack(seal["leaves"]) if seals.month_name(leaf.month) == month)


# --- Entries to seal and to archive ----------------------------------------------------------------------------------


def entries(
    *, after: int = 0, upto: int, month: str | None = None, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the entries with after < id <= upto as dicts by column, ordered by id.

    Sealing, verifying and archiving use the entries, and show them to nobody.
    """
    found = AuditEntry.objects.all() if month is None else entries_of_month(month)
    found = found.filter(id__lte=upto).order_by("id", "at")
    # A forger can give one id to two entries at different times, so an id alone does not say where to continue.
    following = Q(id__gt=after)
    while True:
        size = ENTRIES_PER_QUERY if limit is None else limit
        rows = list(found.filter(following).values(*seals.COLUMNS)[:size])
        yield from rows
        if limit is not None or len(rows) < size:
            return
        last = rows[-1]
        following = Q(id__gte=last["id"]) & ~Q(id=last["id"], at__lte=last["at"])


def count_unsealed(upto: int) -> int:
    """Count the entries after the last one that is sealed."""
    return AuditEntry.objects.filter(id__gt=upto).count()


def seal_lag_gauges() -> Iterator[tuple[str, str, float]]:
    """Yield name, help text and value of the Prometheus gauges that show how far the seals are behind.

    At most 100,000 entries are counted, because /metrics must answer fast.
    """
    waiting = AuditEntry.objects.filter(id__gt=head()["upto"]).order_by("id")
    oldest = waiting.values_list("at", flat=True).first()
    age = (clock.now() - oldest).total_seconds() if oldest else 0.0
    number = waiting.values("id")[:MAX_COUNTED_ENTRIES].count()
    yield (
        "healthcare_audit_unsealed_entries",
        "Entries of the audit log after the last sealed one, at most 100,000.",
        number,
    )
    yield "healthcare_audit_unsealed_age_seconds", "Age of the oldest of these entries.", max(age, 0.0)


def entries_of_month(month: str) -> QuerySet[AuditEntry]:
    """Return the entries of a month such as "2026-11", in UTC."""
    first = date.fromisoformat(f"{month}-01")
    return AuditEntry.objects.filter(at__gte=midnight(first), at__lt=end_of(month))


def end_of(month: str) -> datetime:
    """Return the instant at which a month ends."""
    return midnight((date.fromisoformat(f"{month}-01") + timedelta(days=31)).replace(day=1))


def has_entries(month: str, *, upto: int | None = None) -> bool:
    found = entries_of_month(month)
    return (found if upto is None else found.filter(id__lte=upto)).exists()


def first_moment() -> datetime | None:
    """Return the time of the oldest entry that is still in PostgreSQL, or None if there is no entry."""
    return AuditEntry.objects.order_by("at", "id").values_list("at", flat=True).first()


def midnight(day: date) -> datetime:
    """Return the instant at which a day begins in UTC."""
    return datetime.combine(day, time.min, tzinfo=UTC)

"""Checks that every completed visit was billed.

A visit counts as billed if it has a bill, if its bill was deleted, or if its event produced a bill (an admin may have
changed the bill's appointment since). The check reads visits, bills, events and bills again, in this order, so that a
visit which is being completed does not look like one without a bill: its event is stored with the visit and waits until
the bill is stored. Events that wait are the subject of the check `events`.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bson import ObjectId

from appointments.models import Appointment, Status
from billing import queries, services
from billing.models import Bill, DeletedBill
from healthcare.mongodb import raw
from healthcare.outbox.models import Event
from operations.consistency.inconsistencies import (
    CheckCounts,
    Inconsistency,
    batches,
    documents_of,
    is_past_grace_period,
)

KIND = "appointment.completed"


def find(counts: CheckCounts) -> Iterator[Inconsistency]:
    unbilled = _visits_without_bill(counts)
    yield from _find_by_events(counts, unbilled)
    for batch in batches(sorted(unbilled)):
        for visit in _still_unbilled(batch):
            sentence = f"Appointment {visit} is completed, has and had no bill, and has no event of its completion."
            yield Inconsistency((visit,), sentence, partial(_bill_visit, visit))
    yield from _find_undeleted()


def _visits_without_bill(counts: CheckCounts) -> set[str]:
    """Return the completed visits that neither a bill nor a deleted bill names."""
    unbilled: set[str] = set()
    completed: list[raw.Document] = [{"$match": {"status": Status.COMPLETED.value}}, {"$project": {"_id": True}}]
    for batch in batches(raw.collection(Appointment).stream(completed)):
        counts.add_compared(len(batch))
        visits = {visit["_id"] for visit in batch}
        unbilled |= visits - queries.billed(visits)
    return unbilled


def _find_by_events(counts: CheckCounts, unbilled: set[str]) -> Iterator[Inconsistency]:
    """Find delivered events that produced no bill. Remove the visit of every event from `unbilled`."""
    completions: list[raw.Document] = [
        {"$match": {"kind": KIND}},
        {"$project": dict.fromkeys(("subject_id", "due_at", "set_aside_at"), True)},
    ]
    for batch in batches(raw.collection(Event).stream(completions)):
        counts.add_compared(len(batch))
        unbilled.difference_update(event["subject_id"] for event in batch)
        delivered = {
            str(event["_id"]): event for event in batch if not (event.get("due_at") or event.get("set_aside_at"))
        }
        unbilled_events = delivered.keys() - queries.delivered(delivered.keys())
        for source in sorted(unbilled_events):
            visit = delivered[source]["subject_id"]
            sentence = f"Event {source} of the completion of appointment {visit} was delivered and produced no bill."
            yield Inconsistency((source, visit), sentence, partial(_bill_event, delivered[source]["_id"]))


def _find_undeleted() -> Iterator[Inconsistency]:
    """Find bills that exist although they were deleted, because an event was delivered during the deletion."""
    deleted = DeletedBill.objects.exclude(source_event_id=None).values("source_event_id")
    for number in Bill.objects.filter(source_event_id__in=deleted).order_by("pk").values_list("pk", flat=True):
        yield Inconsistency(
            (str(number),), f"Bill {number} was deleted and exists again: keep it, or delete it again in the admin."
        )


def _still_unbilled(appointment_ids: list[str]) -> list[str]:
    """Return the visits that still exist, are completed and unbilled, and are not part of a running import."""
    found = documents_of(Appointment, appointment_ids, ["status", "created_at"])
    completed = {
        key for key, visit in found.items() if visit.get("status") == Status.COMPLETED and is_past_grace_period(visit)
    }
    return sorted(completed - queries.billed(completed))


def _bill_event(event_id: ObjectId) -> str | None:
    event = raw.collection(Event).find_one({"_id": event_id})
    return _unless_no_fee(services.bill_completed_visit, event) if event else None


def _bill_visit(appointment_id: str) -> str | None:
    visit = raw.collection(Appointment).find_one({"_id": appointment_id, "status": Status.COMPLETED.value})
    if visit is None:
        return None
    return _unless_no_fee(services.bill_visit_without_event, {**visit, "appointment_id": appointment_id})


def _unless_no_fee(bill: Callable[[raw.Document], None], source: raw.Document) -> str | None:
    try:
        bill(source)
    except LookupError:
        return "the fee table has no row for it"
    return None

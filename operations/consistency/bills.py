"""Completed visits, the events that tell of them, and the bills that follow.

A visit is billed when it has a bill, when it had one that was deleted, or when its event left one (whose appointment an
admin may have changed since). Read in this order, visits, bills, events, bills, a visit that is being completed cannot
look like one that was forgotten: its event is stored with it, and waits until the bill is there. What waits is the
matter of the check of events.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bson import ObjectId

from appointments.models import Appointment, Status
from billing import queries, services
from billing.models import Bill, DeletedBill
from healthcare.mongodb import raw
from healthcare.outbox.models import Event
from operations.consistency.findings import Finding, Tally, batches, documents_of, is_settled

KIND = "appointment.completed"


def find(tally: Tally) -> Iterator[Finding]:
    unbilled = _visits_without_bill(tally)
    yield from _find_by_events(tally, unbilled)
    for some in batches(sorted(unbilled)):
        for visit in _still_unbilled(some):
            sentence = f"Appointment {visit} is completed, has no bill and had none, and no event tells of it."
            yield Finding((visit,), sentence, partial(_bill_visit, visit))
    yield from _find_undeleted()


def _visits_without_bill(tally: Tally) -> set[str]:
    """The completed visits that neither a bill nor a deleted one names."""
    unbilled: set[str] = set()
    completed: list[raw.Document] = [{"$match": {"status": Status.COMPLETED.value}}, {"$project": {"_id": True}}]
    for some in batches(raw.collection(Appointment).stream(completed)):
        tally.count(len(some))
        visits = {visit["_id"] for visit in some}
        unbilled |= visits - queries.billed(visits)
    return unbilled


def _find_by_events(tally: Tally, unbilled: set[str]) -> Iterator[Finding]:
    """Find events that were told and left no bill; take every visit that an event tells of out of `unbilled`."""
    told: list[raw.Document] = [
        {"$match": {"kind": KIND}},
        {"$project": dict.fromkeys(("subject_id", "due_at", "set_aside_at"), True)},
    ]
    for some in batches(raw.collection(Event).stream(told)):
        tally.count(len(some))
        unbilled.difference_update(event["subject_id"] for event in some)
        heard = {str(event["_id"]): event for event in some if not (event.get("due_at") or event.get("set_aside_at"))}
        left = heard.keys() - queries.delivered(heard.keys())
        for source in sorted(left):
            visit = heard[source]["subject_id"]
            sentence = f"Event {source} said that appointment {visit} was completed, and left no bill."
            yield Finding((source, visit), sentence, partial(_bill_event, heard[source]["_id"]))


def _find_undeleted() -> Iterator[Finding]:
    """Bills that were deleted and are there: a delivery crossed the deletion."""
    deleted = DeletedBill.objects.exclude(source_event_id=None).values("source_event_id")
    for number in Bill.objects.filter(source_event_id__in=deleted).order_by("pk").values_list("pk", flat=True):
        yield Finding((str(number),), f"Bill {number} was deleted and is there: an admin keeps it or deletes it again.")


def _still_unbilled(appointment_ids: list[str]) -> list[str]:
    """Those that are still there, completed, not of an import that is about to bill them, and not billed meanwhile."""
    found = documents_of(Appointment, appointment_ids, ["status", "created_at"])
    completed = {key for key, visit in found.items() if visit.get("status") == Status.COMPLETED and is_settled(visit)}
    return sorted(completed - queries.billed(completed))


def _bill_event(event_id: ObjectId) -> str | None:
    event = raw.collection(Event).find_one({"_id": event_id})
    return _unless_no_fee(services.bill_completed_visit, event) if event else None


def _bill_visit(appointment_id: str) -> str | None:
    visit = raw.collection(Appointment).find_one({"_id": appointment_id, "status": Status.COMPLETED.value})
    if visit is None:
        return None
    return _unless_no_fee(services.bill_visit_without_event, {**visit, "appointment_id": appointment_id})


def _unless_no_fee(bill: Callable[[raw.Document], None], fact: raw.Document) -> str | None:
    try:
        bill(fact)
    except LookupError:
        return "the fee table has no row for it"
    return None

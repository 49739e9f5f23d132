"""Checks for events that are not delivered: dead letters, and events that are overdue because no relay runs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from bson import ObjectId

from healthcare import clock
from healthcare.mongodb import raw
from healthcare.mongodb.raw import Document
from healthcare.outbox import events
from healthcare.outbox.models import Event
from operations.consistency.inconsistencies import CheckCounts, Inconsistency, batches, documents_of

#: The relay delivers due events within seconds. An event that is due for longer was not picked up.
OVERDUE = timedelta(minutes=10)
FIELDS = ("kind", "subject_id", "attempts", "due_at", "set_aside_at")
_EPOCH = datetime.fromtimestamp(0, UTC)


def find(counts: CheckCounts) -> Iterator[Inconsistency]:
    for field in ("set_aside_at", "due_at"):
        waiting = raw.collection(Event).stream([{"$match": {field: {"$gt": _EPOCH}}}, {"$project": {"_id": True}}])
        for batch in batches(waiting):
            counts.add_compared(len(batch))
            # The events are read again, because the stream may have fetched them some time ago.
            for event_id, event in documents_of(Event, [each["_id"] for each in batch], FIELDS).items():
                sentence = _sentence(event)
                if sentence:
                    yield Inconsistency((str(event_id),), sentence, partial(_deliver, event_id))


def _sentence(event: Document) -> str | None:
    """Return the sentence about an event that is not delivered, None about any other."""
    about = f"Event {event['_id']} ({event['kind']} {event['subject_id']})"
    if event.get("set_aside_at"):
        return f"{about} was set aside after {event.get('attempts', 0)} attempts."
    due_at = event.get("due_at")
    if due_at and due_at <= clock.now() - OVERDUE:
        return f"{about} is due since {due_at:%Y-%m-%d %H:%M} UTC: check that `manage.py relay_events --watch` runs."
    return None


def _event(event_id: ObjectId) -> Document | None:
    return raw.collection(Event).find_one({"_id": event_id})


def _deliver(event_id: ObjectId) -> str | None:
    event = _event(event_id)
    if event is None or not event.get("pending"):
        return None
    try:
        if events.deliver(event):
            return None
    except events.ConsumerOutage:
        return "the database of its consumer cannot be reached"
    failed = _event(event_id) or {}
    return f"it failed again ({failed.get('reason')})"

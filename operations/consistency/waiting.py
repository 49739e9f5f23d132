"""Events that wait for a person, or for a relay that does not run."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bson import ObjectId

from healthcare import clock
from healthcare.mongodb import raw
from healthcare.outbox import events
from healthcare.outbox.models import Event
from operations.consistency.findings import Finding, Tally, batches, documents_of

#: An event that is due for longer should have been tried again long ago.
OVERDUE = timedelta(minutes=10)
FIELDS = ("kind", "subject_id", "attempts", "due_at", "set_aside_at")
_EPOCH = datetime.fromtimestamp(0, UTC)


def find(tally: Tally) -> Iterator[Finding]:
    for field in ("set_aside_at", "due_at"):
        waiting = raw.collection(Event).stream([{"$match": {field: {"$gt": _EPOCH}}}, {"$project": {"_id": True}}])
        for some in batches(waiting):
            tally.count(len(some))
            # As they are now, and not when the stream fetched them.
            for event_id, event in documents_of(Event, [each["_id"] for each in some], FIELDS).items():
                sentence = _sentence(event)
                if sentence:
                    yield Finding((str(event_id),), sentence, partial(_deliver, event_id))


def _sentence(event: dict[str, Any]) -> str | None:
    """What is wrong with an event, if anything is."""
    about = f"Event {event['_id']} ({event['kind']} {event['subject_id']})"
    if event.get("set_aside_at"):
        return f"{about} was set aside after {event.get('attempts', 0)} tries."
    due_at = event.get("due_at")
    if due_at and due_at <= clock.now() - OVERDUE:
        return f"{about} is due since {due_at:%Y-%m-%d %H:%M} UTC: is `manage.py relay_events --watch` running?"
    return None


def _event(event_id: ObjectId) -> dict[str, Any] | None:
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

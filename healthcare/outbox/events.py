"""What happened, told once to whoever has to know.

A service calls `publish` inside its transaction, so the event is stored if and only if the change is. Two kinds of
listeners, registered by the rooms (`ready()` of an AppConfig), so that appointments never imports billing or reports:

- a *projection* runs there and then, in the same transaction, and writes to MongoDB only;
- a *consumer* runs after the commit, at once and, when that fails, again from `manage.py relay_events`. It may be told
  of one event several times and has to leave the same result. The audit trail is one of them, of every event.

An event waits for its consumers in `pending` and `due_at`. An outage of a consumer's database is nobody's fault: the
event stays due. An error of the consumer itself counts, and after MAX_ATTEMPTS the event is set aside with its reason,
for a person to look at.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bson import ObjectId
from django.db import connections

from healthcare import audit_context, clock
from healthcare.errors import is_outage
from healthcare.mongodb import raw
from healthcare.mongodb.transactions import in_transaction, on_commit
from healthcare.outbox import acknowledgements
from healthcare.outbox.models import Event
from healthcare.postgresql import circuit_breaker
from healthcare.routers import DEFAULT

#: The consumer that hears of every event: `healthcare.audit_log.recorder.deliver`.
AUDIT = "audit"
MAX_ATTEMPTS = 8
FIRST_RETRY_SECONDS = 2
MAX_RETRY_SECONDS = 600
_REASON_LENGTH = 300
#: What a partial index begins with: every event that waits, or is set aside, has a later date there.
_EPOCH = datetime.fromtimestamp(0, tz=UTC)
#: Events among which the oldest is looked for, those that come due first.
_LOOKED_AT = 1_000
#: Where counting for metrics ends.
COUNT_LIMIT = 100_000

Document = Mapping[str, Any]
Handler = Callable[[Document], None]

logger = logging.getLogger("healthcare.outbox.events")


class _Registration(NamedTuple):
    name: str
    #: None for all there are.
    kinds: frozenset[str] | None
    listen: Handler

    def hears(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds


_projections: list[_Registration] = []
_consumers: dict[str, _Registration] = {}
#: What waits for a transaction of PostgreSQL to end; None when none is kept open.
_deferred: ContextVar[list[dict[str, Any]] | None] = ContextVar("held", default=None)


class Lag(NamedTuple):
    """How far the consumers are behind: the age of the oldest event that waits, how many wait, how many are set aside.

    The numbers end at COUNTED.
    """

    seconds: float
    waiting: int
    set_aside: int


class ConsumerOutage(Exception):
    """A consumer's database cannot be reached; the event stays due."""


def register_projection(name: str, kinds: set[str], listen: Handler) -> None:
    """Have `listen(event)` run inside the transaction of every event of these kinds."""
    _projections.append(_Registration(name, frozenset(kinds), listen))


def register_consumer(name: str, kinds: set[str] | None, listen: Handler) -> None:
    """Have `listen(event)` run after the commit of every event of these kinds (None: all), until it succeeded once.

    Consumers run in the order of registration, and those behind one that fails wait with it.
    """
    _consumers[name] = _Registration(name, None if kinds is None else frozenset(kinds), listen)


def publish(
    kind: str,
    *,
    actor: Any,
    subject_id: str,
    patient_id: str | None = None,
    patient_ids: Sequence[str] = (),
    before: Document | None = None,
    after: Document | None = None,
) -> None:
    """Store an event with the record's images, run its projections, and deliver it once the transaction is through.

    `kind` is resource.past_verb, such as "appointment.completed", and the action of the entry in the audit trail;
    `actor` the account that did it, None for a command; `patient_ids` names the patients of a bulk write. Images never
    hold contact data or notes: events are not encrypted.
    """
    if not in_transaction():
        raise RuntimeError(f"{kind} was published outside a clinical transaction: it could be lost, or told in vain.")
    moment = clock.now()
    patients = [patient_id] if patient_id else patient_ids
    event: dict[str, Any] = {
        "_id": ObjectId(),
        "kind": kind,
        "at": moment,
        "patient_id": patient_id or "",
        "subject_id": subject_id,
        "before": before,
        "after": after,
        "audit": audit_context.facts(kind, actor=actor, patient_ids=patients, subject=subject_id),
    }
    waiting = [name for name, consumer in _consumers.items() if consumer.hears(kind)]
    if waiting:
        event |= {"pending": waiting, "due_at": moment, "attempts": 0}
    raw.collection(Event).insert_one(event)
    for projection in _projections:
        if projection.hears(kind):
            projection.listen(event)
    audit_context.mark_recorded(kind)
    if waiting:
        on_commit(lambda: _deliver_now(event))


@contextmanager
def defer_delivery() -> Iterator[None]:
    """Deliver what the body publishes once it is through: for a body that keeps a transaction of PostgreSQL open.

    Inside that transaction the consumers' rows would go with it if it failed, while the event says that they are there.
    When the body fails the relay delivers: what it has committed to MongoDB has happened.
    """
    if _deferred.get() is not None:
        yield
        return
    held: list[dict[str, Any]] = []
    token = _deferred.set(held)
    try:
        yield
    finally:
        _deferred.reset(token)
    for event in held:
        _deliver_now(event)


def enqueue_fallback(facts: audit_context.Facts, *, at: datetime, event_id: ObjectId) -> None:
    """Keep an entry of the audit trail as an event, for while PostgreSQL cannot be reached."""
    raw.collection(Event).insert_one(
        {
            "_id": event_id,
            "kind": facts["action"],
            "at": at,
            "patient_id": "",
            "subject_id": facts["subject"] or "",
            "audit": facts,
            "pending": [AUDIT],
            "due_at": at,
            "attempts": 0,
        }
    )


def due_events(limit: int = 500, *, grace: timedelta = timedelta()) -> list[dict[str, Any]]:
    """Events that wait for a consumer and whose time has come, `grace` ago at least, the longest waiting first."""
    due = {"due_at": {"$lte": clock.now() - grace}}
    return raw.collection(Event).find(due, sort=[("due_at", 1), ("_id", 1)], limit=limit)


def oldest_pending_at() -> datetime | None:
    """When the oldest event that still waits happened; None when none does. Those set aside do not count."""
    # The first to come due need not be the oldest: each failure puts its event off for longer.
    pipeline: raw.Pipeline = [
        {"$match": {"due_at": {"$gt": _EPOCH}}},
        {"$sort": {"due_at": 1}},
        {"$limit": _LOOKED_AT},
        {"$group": {"_id": None, "oldest": {"$min": "$at"}}},
    ]
    found = raw.aggregate(Event, pipeline)
    return found[0]["oldest"] if found else None


def lag() -> Lag:
    """How far the consumers are behind; for probes and metrics. Raises: DatabaseError."""
    oldest = oldest_pending_at()
    return Lag(
        seconds=max((clock.now() - oldest).total_seconds(), 0.0) if oldest else 0.0,
        waiting=raw.collection(Event).count({"due_at": {"$gt": _EPOCH}}, limit=COUNT_LIMIT),
        set_aside=raw.collection(Event).count({"set_aside_at": {"$gt": _EPOCH}}, limit=COUNT_LIMIT),
    )


def relay(*, grace: timedelta = timedelta()) -> Iterator[tuple[dict[str, Any], bool]]:
    """Deliver what is due, once through; yields each event and whether all its consumers have heard it.

    `grace`: how long to leave an event to the request that published it, which delivers it just now.
    Raises: ConsumerOutage.
    """
    while events := due_events(grace=grace):
        for event in events:
            yield event, deliver(event)
        # Or they would be due once more.
        acknowledgements.flush()


def deliver(event: Mapping[str, Any]) -> bool:
    """Tell every waiting consumer; True when none waits any more. Raises: ConsumerOutage."""
    told: list[str] = []
    for name in event["pending"]:
        consumer = _consumers.get(name)
        try:
            if consumer is None:
                raise LookupError(f"There is no consumer {name!r}.")
            consumer.listen(event)
        except Exception as error:
            if told:
                raw.collection(Event).update_one({"_id": event["_id"]}, {"$pull": {"pending": {"$in": told}}})
            if is_outage(error):
                raise ConsumerOutage from error
            _record_failure(event, name, error)
            return False
        told.append(name)
    acknowledgements.acknowledge(event["_id"])
    return True


def pending_ids() -> list[str]:
    """The events that some consumer has not heard of, those set aside included."""
    waiting: raw.Pipeline = [
        {"$match": {"$or": [{"due_at": {"$gt": _EPOCH}}, {"set_aside_at": {"$gt": _EPOCH}}]}},
        {"$project": {"_id": True}},
    ]
    return [str(event["_id"]) for event in raw.collection(Event).stream(waiting)]


def requeue(*, since: datetime, event_ids: Sequence[ObjectId]) -> None:
    """Have these events, and all that happened since, told again to every consumer: PostgreSQL may lack what they did.

    Those that wait come due at once; those that are set aside stay so.
    """
    everything = raw.collection(Event)
    moment = clock.now()
    wanted = {"$or": [{"at": {"$gte": since}}, {"_id": {"$in": list(event_ids)}}]}
    everything.update_many({"due_at": {"$gt": _EPOCH}}, {"$set": {"due_at": moment}})
    kinds = everything.aggregate([{"$match": wanted}, {"$group": {"_id": "$kind"}}])
    for kind in (found["_id"] for found in kinds):
        # An entry that was left while PostgreSQL was out has no images, and nobody hears it but the trail.
        for images, names in (
            (True, [name for name, consumer in _consumers.items() if consumer.hears(kind)]),
            (False, [AUDIT]),
        ):
            everything.update_many(
                {**wanted, "kind": kind, "after": {"$exists": images}, "pending": {"$exists": False}},
                {"$set": {"pending": names, "due_at": moment, "attempts": 0}},
            )


def retry(event_id: ObjectId) -> bool:
    """Take an event that was set aside up again; False when it was not. For the admin."""
    found = raw.collection(Event).update_one(
        {"_id": event_id, "set_aside_at": {"$gt": _EPOCH}},
        {"$set": {"due_at": clock.now(), "attempts": 0}, "$unset": {"set_aside_at": ""}},
    )
    return bool(found.modified_count)


def _deliver_now(event: dict[str, Any]) -> None:
    """Deliver in the request that published, unless PostgreSQL was out a moment ago; the relay does what is left."""
    if (held := _deferred.get()) is not None:
        held.append(event)
        return
    if _is_in_transaction_of_postgresql() or not circuit_breaker.postgresql.allows_request():
        return
    try:
        deliver(event)
        circuit_breaker.postgresql.record_success()
    except ConsumerOutage:
        circuit_breaker.postgresql.record_failure()
        logger.warning("A consumer's database cannot be reached; events wait for relay_events.")


def _is_in_transaction_of_postgresql() -> bool:
    """Whether somebody keeps one open who has not `held_back`. (The one that Django's TestCase puts around a test ends
    with it.)"""
    return any(not block._from_testcase for block in connections[DEFAULT].atomic_blocks)  # type: ignore[attr-defined]


def _record_failure(event: Mapping[str, Any], name: str, error: Exception) -> None:
    attempts = event["attempts"] + 1
    # The first line only: the second of PostgreSQL's errors quotes the row.
    reason = f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:_REASON_LENGTH]
    changes: dict[str, Any] = {"attempts": attempts, "reason": reason}
    if attempts >= MAX_ATTEMPTS:
        update = {"$set": {**changes, "set_aside_at": clock.now()}, "$unset": {"due_at": ""}}
        logger.error("%s was set aside after %d tries: %s", event["kind"], attempts, type(error).__name__)
    else:
        pause = min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), MAX_RETRY_SECONDS)
        update = {"$set": {**changes, "due_at": clock.now() + timedelta(seconds=pause)}}
    # Another process may have told this consumer meanwhile, or counted the same try.
    raw.collection(Event).update_one({"_id": event["_id"], "pending": name, "attempts": event["attempts"]}, update)

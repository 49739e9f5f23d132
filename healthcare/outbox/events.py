"""Events of the transactional outbox: publish them in a clinical transaction, deliver them after the commit.

A service calls `publish` inside its transaction, so an event is stored if and only if the change is. The apps register
two kinds of handlers (`ready()` of an AppConfig), so that appointments never imports billing or reports:

- a *projection* runs at once, in the same transaction, and must write to MongoDB only;
- a *consumer* runs after the commit, and again from `manage.py relay_events` if it fails. An event may be delivered to
  a consumer several times, and the result must be the same. The audit log is a consumer of every event.

`pending` names the consumers to which an event is still to be delivered, and `due_at` says when. If a consumer's
database is out, the event stays due. If the consumer itself fails, the attempt counts, and after MAX_ATTEMPTS the event
becomes a dead letter, which waits for a person to read its reason.
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

#: The name of the consumer of all events, `healthcare.audit_log.recorder.deliver`.
AUDIT = "audit"
MAX_ATTEMPTS = 8
FIRST_RETRY_SECONDS = 2
MAX_RETRY_SECONDS = 600
_REASON_LENGTH = 300
#: A bound that makes queries use the partial indexes: the indexed dates are all later.
_EPOCH = datetime.fromtimestamp(0, tz=UTC)
#: `oldest_pending_at` looks for the oldest event among the events that are due first, this many of them.
_OLDEST_AMONG = 1_000
#: The highest number that `lag` counts to.
COUNT_LIMIT = 100_000

Document = Mapping[str, Any]
Handler = Callable[[Document], None]

logger = logging.getLogger("healthcare.outbox.events")


class _Registration(NamedTuple):
    name: str
    #: None for all kinds.
    kinds: frozenset[str] | None
    handler: Handler

    def handles(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds


_projections: list[_Registration] = []
_consumers: dict[str, _Registration] = {}
#: The events whose delivery waits for the end of a `defer_delivery` block; None outside one.
_deferred: ContextVar[list[dict[str, Any]] | None] = ContextVar("deferred", default=None)


class Lag(NamedTuple):
    """The age of the oldest waiting event, the number of waiting events, and the number of dead letters.

    The numbers end at COUNT_LIMIT.
    """

    seconds: float
    waiting: int
    dead_letters: int


class ConsumerOutage(Exception):
    """The database of a consumer cannot be reached; the event stays due."""


def register_projection(name: str, kinds: set[str], handler: Handler) -> None:
    """Run `handler(event)` inside the transaction of every event of these kinds."""
    _projections.append(_Registration(name, frozenset(kinds), handler))


def register_consumer(name: str, kinds: set[str] | None, handler: Handler) -> None:
    """Run `handler(event)` after the commit of every event of these kinds (None: all), until it has succeeded once.

    Consumers run in the order of registration. If one fails, the consumers after it wait for its next attempt.
    """
    _consumers[name] = _Registration(name, None if kinds is None else frozenset(kinds), handler)


def publish(
    kind: str,
    *,
    actor: object,
    subject_id: str,
    patient_id: str | None = None,
    patient_ids: Sequence[str] = (),
    before: Document | None = None,
    after: Document | None = None,
) -> None:
    """Store an event, run its projections, and deliver it after the commit.

    `kind` is resource.past_verb, such as "appointment.completed", and also the action of the entry in the audit log.
    `actor` is the account that acts, None for a command. `patient_ids` names the patients of a bulk write. `before` and
    `after` are the states of the record; they must not hold contact data or notes, because events are not encrypted.
    """
    if not in_transaction():
        raise RuntimeError(f"{kind} was published outside a clinical transaction, so it could be lost or be false.")
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
    waiting = [name for name, consumer in _consumers.items() if consumer.handles(kind)]
    if waiting:
        event |= {"pending": waiting, "due_at": moment, "attempts": 0}
    raw.collection(Event).insert_one(event)
    for projection in _projections:
        if projection.handles(kind):
            projection.handler(event)
    audit_context.mark_recorded(kind)
    if waiting:
        on_commit(lambda: _deliver_now(event))


@contextmanager
def defer_delivery() -> Iterator[None]:
    """Defer delivery until the block exits. Use this for a block that keeps a transaction of PostgreSQL open.

    If that transaction failed after a delivery, the consumers' rows would be rolled back with it although the event is
    acknowledged. If the block fails, the relay delivers the events, because their changes are committed to MongoDB.
    """
    if _deferred.get() is not None:
        yield
        return
    deferred: list[dict[str, Any]] = []
    token = _deferred.set(deferred)
    try:
        yield
    finally:
        _deferred.reset(token)
    for event in deferred:
        _deliver_now(event)


def enqueue_fallback(facts: audit_context.Facts, *, at: datetime, event_id: ObjectId) -> None:
    """Store an entry of the audit log as an event, because PostgreSQL cannot be reached; the relay delivers it."""
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
    """Return the events that have been due for at least `grace`, the longest waiting first."""
    due = {"due_at": {"$lte": clock.now() - grace}}
    return raw.collection(Event).find(due, sort=[("due_at", 1), ("_id", 1)], limit=limit)


def oldest_pending_at() -> datetime | None:
    """Return the time of the oldest waiting event; None if none waits. Dead letters do not count."""
    # The event that is due first need not be the oldest, because each failure delays the next attempt for longer.
    pipeline: raw.Pipeline = [
        {"$match": {"due_at": {"$gt": _EPOCH}}},
        {"$sort": {"due_at": 1}},
        {"$limit": _OLDEST_AMONG},
        {"$group": {"_id": None, "oldest": {"$min": "$at"}}},
    ]
    found = raw.aggregate(Event, pipeline)
    return found[0]["oldest"] if found else None


def lag() -> Lag:
    """Return how far the consumers are behind, for health endpoints and metrics. Raises: DatabaseError."""
    oldest = oldest_pending_at()
    return Lag(
        seconds=max((clock.now() - oldest).total_seconds(), 0.0) if oldest else 0.0,
        waiting=raw.collection(Event).count({"due_at": {"$gt": _EPOCH}}, limit=COUNT_LIMIT),
        dead_letters=raw.collection(Event).count({"set_aside_at": {"$gt": _EPOCH}}, limit=COUNT_LIMIT),
    )


def relay(*, grace: timedelta = timedelta()) -> Iterator[tuple[dict[str, Any], bool]]:
    """Deliver all due events; yield each with whether it is now delivered to all of its consumers.

    `grace`: how long an event is left to the request that published it, which may be delivering it at this moment.
    Raises: ConsumerOutage.
    """
    while events := due_events(grace=grace):
        for event in events:
            yield event, deliver(event)
        # Without the flush the same events would be due again.
        acknowledgements.flush()


def deliver(event: Mapping[str, Any]) -> bool:
    """Deliver an event to its pending consumers; return whether all succeeded. Raises: ConsumerOutage."""
    delivered: list[str] = []
    for name in event["pending"]:
        consumer = _consumers.get(name)
        try:
            if consumer is None:
                raise LookupError(f"There is no consumer {name!r}.")
            consumer.handler(event)
        except Exception as error:
            if delivered:
                raw.collection(Event).update_one({"_id": event["_id"]}, {"$pull": {"pending": {"$in": delivered}}})
            if is_outage(error):
                raise ConsumerOutage from error
            _record_failure(event, name, error)
            return False
        delivered.append(name)
    acknowledgements.acknowledge(event["_id"])
    return True


def pending_ids() -> list[str]:
    """Return the ids of the events that are not delivered to all of their consumers, dead letters included."""
    undelivered: raw.Pipeline = [
        {"$match": {"$or": [{"due_at": {"$gt": _EPOCH}}, {"set_aside_at": {"$gt": _EPOCH}}]}},
        {"$project": {"_id": True}},
    ]
    return [str(event["_id"]) for event in raw.collection(Event).stream(undelivered)]


def requeue(*, since: datetime, event_ids: Sequence[ObjectId]) -> None:
    """Deliver these events, and all events since, to every consumer again, because PostgreSQL may lack their effects.

    Waiting events become due at once; dead letters stay dead letters.
    """
    stored = raw.collection(Event)
    moment = clock.now()
    wanted = {"$or": [{"at": {"$gte": since}}, {"_id": {"$in": list(event_ids)}}]}
    stored.update_many({"due_at": {"$gt": _EPOCH}}, {"$set": {"due_at": moment}})
    kinds = stored.aggregate([{"$match": wanted}, {"$group": {"_id": "$kind"}}])
    for kind in (found["_id"] for found in kinds):
        # An audit entry that was stored as an event in an outage has no `after`, and the audit log alone consumes it.
        for has_after, names in (
            (True, [name for name, consumer in _consumers.items() if consumer.handles(kind)]),
            (False, [AUDIT]),
        ):
            stored.update_many(
                {**wanted, "kind": kind, "after": {"$exists": has_after}, "pending": {"$exists": False}},
                {"$set": {"pending": names, "due_at": moment, "attempts": 0}},
            )


def retry(event_id: ObjectId) -> bool:
    """Make a dead letter due again; return False if the event is not one. The admin's action calls this."""
    result = raw.collection(Event).update_one(
        {"_id": event_id, "set_aside_at": {"$gt": _EPOCH}},
        {"$set": {"due_at": clock.now(), "attempts": 0}, "$unset": {"set_aside_at": ""}},
    )
    return bool(result.modified_count)


def _deliver_now(event: dict[str, Any]) -> None:
    """Deliver an event in the request that published it, unless PostgreSQL is out; the relay then delivers it."""
    if (deferred := _deferred.get()) is not None:
        deferred.append(event)
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
    """Return whether a transaction of PostgreSQL is open without a `defer_delivery` block.

    The transaction that Django's TestCase opens around a test does not count.
    """
    return any(not block._from_testcase for block in connections[DEFAULT].atomic_blocks)  # type: ignore[attr-defined]


def _record_failure(event: Mapping[str, Any], name: str, error: Exception) -> None:
    attempts = event["attempts"] + 1
    # Only the first line, because the second line of PostgreSQL's errors quotes the row.
    reason = f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:_REASON_LENGTH]
    changes: dict[str, Any] = {"attempts": attempts, "reason": reason}
    if attempts >= MAX_ATTEMPTS:
        update = {"$set": {**changes, "set_aside_at": clock.now()}, "$unset": {"due_at": ""}}
        logger.error("%s became a dead letter after %d tries: %s", event["kind"], attempts, type(error).__name__)
    else:
        pause = min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), MAX_RETRY_SECONDS)
        update = {"$set": {**changes, "due_at": clock.now() + timedelta(seconds=pause)}}
    # The filter makes this a no-op if another process has delivered the event meanwhile, or counted the same attempt.
    raw.collection(Event).update_one({"_id": event["_id"], "pending": name, "attempts": event["attempts"]}, update)

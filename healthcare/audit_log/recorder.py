"""The audit trail: who looked at whose data, who wrote it, and who was refused. Never the data itself.

Entries are rows of PostgreSQL (`AuditEntry`), which takes inserts and nothing else:

- what a request read is inserted before its answer leaves (`settle`);
- a write in PostgreSQL inserts its entry in its own transaction (`record`);
- a clinical write's facts ride its event in the clinical transaction, and are delivered once (`deliver`);
- while PostgreSQL cannot be reached a read leaves an event instead, delivered later, once.

`manage.py seal_audit` chains their hashes into MongoDB, where whoever can rewrite PostgreSQL cannot reach.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from bson import ObjectId
from django.db import connections, transaction

from healthcare import audit_context, clock
from healthcare.audit_context import SUCCESS, AuditContext, Facts, Precondition
from healthcare.errors import is_outage
from healthcare.outbox import events
from healthcare.postgresql import circuit_breaker, prepared_statements
from healthcare.routers import DEFAULT

_COLUMNS = (
    "at", "actor_id", "role", "action", "patient_ids", "subject", "outcome", "reason", "channel", "address",
    "request_id", "source",
)  # fmt: skip
_VALUES = ", ".join(["%s"] * len(_COLUMNS))

logger = logging.getLogger("healthcare.audit_log.recorder")


class UnrecordedAccess(Exception):
    """Rows about patients were asked for and nothing about it is on record: a mistake in the code, not the request."""


class StaleAuthorization(Exception):
    """What the asker's right was assumed to rest on does not hold any more."""


def record(
    action: str,
    *,
    actor: Any,
    patient_ids: Iterable[str] = (),
    subject: Any = None,
    outcome: str = SUCCESS,
    reason: str | None = None,
) -> None:
    """Insert an entry now, in the open transaction of PostgreSQL if there is one.

    `action` is resource.past_verb, such as "bill.created"; `subject` the id of the record. Raises: DatabaseError.
    """
    facts = audit_context.facts(
        action, actor=actor, patient_ids=patient_ids, subject=subject, outcome=outcome, reason=reason
    )
    _insert(facts, at=clock.now(), source=None)
    audit_context.mark_recorded(action, outcome=outcome)


def record_read(action: str, *, subject: Any = None) -> None:
    """Put on record that a command is about to read what is everybody's; as an event while PostgreSQL is out.

    Raises: DatabaseError when neither database takes it.
    """
    _insert_or_enqueue(audit_context.facts(action, actor=None, subject=subject))
    audit_context.mark_recorded(action)


def record_consequence(action: str, event: Mapping[str, Any], *, subject: Any) -> None:
    """Record what a consumer made of an event, by the actor of the event; once however often the event is told."""
    facts = {**audit_context.facts_of_event(event), "action": action, "subject": audit_context.as_id(subject)}
    _insert(facts, at=event["at"], source=f"{event['_id']}.{action}")


def deliver(event: Mapping[str, Any]) -> None:
    """Insert the entry that rides an event, once however often it is told: the consumer of all events."""
    _insert(audit_context.facts_of_event(event), at=event["at"], source=str(event["_id"]))


def flush(current: AuditContext, *, actor: Any, answered: bool) -> None:
    """Put on record what a request has read or was refused; to be called before its answer leaves.

    `answered`: the answer holds what was asked for, and not an error.
    Raises: Unrecorded; Outdated, where something was assumed (`trail.assume`) that does not hold; DatabaseError when
    neither database takes the entry.
    """
    refusals = current.facts_of_refusal(actor)
    reads = current.facts_of_reads(actor) if answered and not refusals else []
    if answered and not refusals and (forgotten := current.unrecorded()):
        raise UnrecordedAccess(f"{', '.join(sorted(forgotten))} was asked for, and nothing is on record.")
    if current.precondition is not None:
        _insert_if_authorized(current.precondition, [*refusals, *reads])
        return
    for facts in (*refusals, *reads):
        _insert_or_enqueue(facts)


def _insert_if_authorized(premise: Precondition, entries: Sequence[Facts]) -> None:
    """Insert entries of what was read if the premise holds, in one statement each.

    While PostgreSQL cannot be reached nobody knows: then it holds, as it did when it was read last, so that clinical
    work goes on (brief 3.3). Raises: Outdated; DatabaseError when neither database takes an entry.
    """
    named = [(facts, clock.now(), ObjectId()) for facts in entries]
    with _enqueue_on_outage(named):
        for facts, at, name in named:
            # One that is there already was sent twice, as its first answer was lost.
            if not _insert(facts, at=at, source=str(name), premise=premise) and not _is_there(at, str(name)):
                raise _stale(premise)
        if not named:
            _require(premise)


def require_precondition() -> None:
    """Look now at what was assumed, before something is done on its strength. Raises: Outdated, DatabaseError."""
    if premise := audit_context.precondition():
        _require(premise)


def _require(premise: Precondition) -> None:
    if not prepared_statements.execute_first(f"SELECT WHERE {premise.condition}", premise.parameters).rowcount:
        raise _stale(premise)


def _stale(premise: Precondition) -> StaleAuthorization:
    premise.forget()
    return StaleAuthorization()


def _is_there(at: datetime, source: str) -> bool:
    found = prepared_statements.execute("SELECT FROM audit_entries WHERE source = %s AND at = %s", [source, at])
    return bool(found.rowcount > 0)


def _insert_or_enqueue(facts: Facts) -> None:
    at, name = clock.now(), ObjectId()
    if not circuit_breaker.postgresql.allows_request():
        events.enqueue_fallback(facts, at=at, event_id=name)
        return
    with _enqueue_on_outage([(facts, at, name)]):
        _insert(facts, at=at, source=str(name))
        circuit_breaker.postgresql.record_success()


@contextmanager
def _enqueue_on_outage(entries: Sequence[tuple[Facts, datetime, ObjectId]]) -> Iterator[None]:
    """Leave events in the place of the entries that are inserted within, should PostgreSQL be out.

    One name for both ways: a server that is frozen, or dies before it has answered, may have the entry all the same.
    """
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        circuit_breaker.postgresql.record_failure()
        connection = connections[DEFAULT]
        if not connection.in_atomic_block:
            # A dead one is not used again.
            connection.close_if_unusable_or_obsolete()
        logger.warning("PostgreSQL cannot be reached; entries of the audit trail wait as events.")
        for facts, at, name in entries:
            events.enqueue_fallback(facts, at=at, event_id=name)


def _insert(facts: Facts, *, at: datetime, source: str | None, premise: Precondition | None = None) -> bool:
    """Whether it was inserted: it is not where the premise does not hold, or where it is there already."""
    connection = connections[DEFAULT]
    if connection.vendor != "postgresql":
        return _insert_into_sqlite(facts, at=at, source=source)
    # As PostgreSQL writes an array: the driver takes 0.04 ms to write one of fifty, an id at a time; this 0.002.
    written = {**facts, "patient_ids": f"{{{orjson.dumps(facts['patient_ids']).decode()[1:-1]}}}"}
    statement = _statement(names_patients=bool(facts["patient_ids"]), condition=premise.condition if premise else None)
    values = [at, *(written[name] for name in _COLUMNS[1:-1]), source, *(premise.parameters if premise else ())]
    # With a premise it is the first statement as a rule, and an entry that has a name may be sent twice.
    execute = prepared_statements.execute if premise is None else prepared_statements.execute_first
    return bool(execute(statement, values).rowcount > 0)


@cache
def _statement(*, names_patients: bool, condition: str | None = None) -> str:
    given = f"VALUES ({_VALUES})" if condition is None else f"SELECT {_VALUES} WHERE {condition}"
    # All of it is our own text.
    insert = f"INSERT INTO audit_entries ({', '.join(_COLUMNS)}) {given} ON CONFLICT DO NOTHING"
    if not names_patients:
        return insert
    # One statement, one round trip: the entry, and a row for each of its patients to find it by.
    return f"""
        WITH entry AS ({insert} RETURNING at, id, patient_ids)
        INSERT INTO audit_patients (patient_id, at, entry_id)
        SELECT patient_id, at, id FROM entry, unnest(entry.patient_ids) AS patient_id
    """  # noqa: S608


def _insert_into_sqlite(facts: Facts, *, at: datetime, source: str | None) -> bool:
    connection = connections[DEFAULT]
    moment = connection.ops.adapt_datetimefield_value(at)
    values = [json.dumps(value) if isinstance(value, list) else value for value in map(facts.get, _COLUMNS[1:-1])]
    with transaction.atomic(using=DEFAULT), connection.cursor() as cursor:
        cursor.execute(_statement(names_patients=False), [moment, *values, source])
        if cursor.rowcount <= 0:
            return False
        key = cursor.lastrowid
        rows = [(patient_id, moment, key) for patient_id in facts["patient_ids"]]
        cursor.executemany("INSERT INTO audit_patients (patient_id, at, entry_id) VALUES (%s, %s, %s)", rows)
        return True

"""What one request or command has done with people's data so far, for its entries in the audit context.

The middleware (or manage.py) opens a trail; whatever handles data tells it, without knowing who asked:

- visibility queries say that they were *consulted*;
- serializers and the admin say which rows were *shown*;
- services *record* what they wrote (`events.publish`, `audit.record`);
- permission, visibility and services *refuse*.

`healthcare.audit_log.recorder` turns that into entries when the request ends, and refuses to let it end when data was consulted and
nothing is on record. Outside a request or command, in a shell or a test of one function, there is no context and reads
leave nothing; writes are recorded all the same.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

SUCCESS = "success"
REFUSED = "refused"
OUTCOMES = (SUCCESS, REFUSED)

#: What may stand in an entry as an id: whatever came in a path is somebody's text until it looks like one.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

Facts = dict[str, Any]


@dataclass
class AttemptedAction:
    """What the request is about, should it be refused."""

    action: str
    subject: str | None
    reason: str | None = None


@dataclass(frozen=True)
class Precondition:
    """What an asker's right rests on: a condition in SQL, its parameters, and what is called when it does not hold."""

    condition: str
    parameters: Sequence[Any]
    forget: Callable[[], object]


@dataclass
class AuditContext:
    """Who came from where, and what happened since."""

    channel: str
    address: str | None
    request_id: str
    queried: set[str] = field(default_factory=set)
    #: Action → subject and the patients whose data was shown, each once, in order.
    accessed: dict[str, tuple[str | None, dict[str, None]]] = field(default_factory=dict)
    #: The resources of what is on record already.
    recorded: set[str] = field(default_factory=set)
    #: Those of the refusals among it.
    recorded_refusals: set[str] = field(default_factory=set)
    involved: dict[str, None] = field(default_factory=dict)
    attempted: AttemptedAction | None = None
    #: Whether the premise may be looked at when the entry is inserted, before anything leaves, and not at first.
    may_defer_check: bool = False
    #: What was assumed so far, and has to hold of the entries of this request.
    precondition: Precondition | None = None

    def facts_of_reads(self, actor: Any) -> list[Facts]:
        """One for each kind of record that was shown and not written: a write's own entry covers its answer."""
        return [
            facts(action, actor=actor, patient_ids=patients, subject=subject)
            for action, (subject, patients) in self.accessed.items()
            if resource_of(action) not in self.recorded
        ]

    def facts_of_refusal(self, actor: Any) -> list[Facts]:
        """That the attempt was refused; none when it was not, or when a service has recorded as much.

        What was done before the refusal is no word about it: it may have been undone with it.
        """
        attempt = self.attempted
        if attempt is None or attempt.reason is None or resource_of(attempt.action) in self.recorded_refusals:
            return []
        return [
            facts(
                attempt.action,
                actor=actor,
                patient_ids=self.involved,
                subject=attempt.subject,
                outcome=REFUSED,
                reason=attempt.reason,
            )
        ]

    def unrecorded(self) -> set[str]:
        """The kinds of records that were consulted without a word about what became of it."""
        return self.queried - self.recorded - {resource_of(action) for action in self.accessed}


_current: ContextVar[AuditContext | None] = ContextVar("audit_context", default=None)


@contextmanager
def audit_context(
    *, channel: str, address: str | None = None, request_id: str | None = None, may_defer_check: bool = False
) -> Iterator[AuditContext]:
    """Begin a trail; `channel` is "api", "admin" or "command"."""
    begun = AuditContext(
        channel=channel, address=address, request_id=request_id or secrets.token_hex(8), may_defer_check=may_defer_check
    )
    token = _current.set(begun)
    try:
        yield begun
    finally:
        _current.reset(token)


def request_id() -> str | None:
    """The id of the request or command that is under way."""
    context = _current.get()
    return context.request_id if context else None


def may_defer_check() -> bool:
    """Whether what is assumed is looked at before anything leaves."""
    context = _current.get()
    return context is not None and context.may_defer_check


def require_on_flush(condition: str, parameters: Sequence[Any], *, forget: Callable[[], object]) -> None:
    """Have the entries of this request inserted only if the condition holds then."""
    if context := _current.get():
        context.precondition = Precondition(condition, parameters, forget)


def precondition() -> Precondition | None:
    """What was assumed in this request."""
    context = _current.get()
    return context.precondition if context else None


def mark_queried(resource: str) -> None:
    """Say that rows about patients were asked for, such as "appointment". Each `visible_to` does."""
    if context := _current.get():
        context.queried.add(resource)


def record_access(action: str, patient_ids: Iterable[str | None] = (), *, subject: Any = None) -> None:
    """Say whose data an answer or a page holds; "patient.listed" of nobody is on record, too."""
    if context := _current.get():
        _, patients = context.accessed.setdefault(action, (as_id(subject), {}))
        patients.update((patient_id, None) for patient_id in patient_ids if patient_id)


def involves(*patient_ids: str | None) -> None:
    """Say whose data is at stake, so that a refusal names them."""
    if context := _current.get():
        context.involved.update((patient_id, None) for patient_id in map(as_id, patient_ids) if patient_id)


def begin_action(action: str, *, subject: Any = None) -> None:
    """Say what is being tried, before anything can refuse it."""
    if context := _current.get():
        context.attempted = AttemptedAction(action, as_id(subject))


def mark_refused(reason: str) -> None:
    """Say why what was tried is not done; `reason` is a code, never a value."""
    if (context := _current.get()) and context.attempted:
        context.attempted.reason = reason[:64]


def mark_recorded(action: str, *, outcome: str = SUCCESS) -> None:
    """Say that an entry about this is stored, or stands in an event."""
    if context := _current.get():
        context.recorded.add(resource_of(action))
        if outcome == REFUSED:
            context.recorded_refusals.add(resource_of(action))


def is_recorded(resource: str) -> bool:
    """Whether a write about this kind of record is on record in this request."""
    context = _current.get()
    return context is not None and resource in context.recorded


def facts(
    action: str,
    *,
    actor: Any,
    patient_ids: Iterable[str] = (),
    subject: Any = None,
    outcome: str = SUCCESS,
    reason: str | None = None,
) -> Facts:
    """An entry's columns but its time; `actor` is an account, or None for a command or somebody without one."""
    context = _current.get()
    channel = context.channel if context else "shell"
    role = getattr(actor, "role", None) or (channel if channel in ("command", "shell") else "anonymous")
    return {
        "actor_id": getattr(actor, "pk", None),
        "role": str(role),
        "action": action,
        # A filter's value may be anything that somebody typed.
        "patient_ids": [patient_id for patient_id in patient_ids if _ID.fullmatch(patient_id)],
        "subject": as_id(subject),
        "outcome": outcome,
        "reason": reason,
        "channel": channel,
        "address": context.address if context else None,
        "request_id": context.request_id if context else None,
    }


def facts_of_event(event: Mapping[str, Any]) -> Facts:
    """The facts that ride an event, for a consumer that records what it made of it.

    One that has waited since before there was a trail has none, and nobody knows any more who it was.
    """
    if "audit" in event:
        return dict(event["audit"])
    patient_ids = [event["patient_id"]] if event["patient_id"] else []
    return facts(event["kind"], actor=None, patient_ids=patient_ids, subject=event["subject_id"])


def resource_of(action: str) -> str:
    return action.partition(".")[0]


def as_id(value: Any) -> str | None:
    """The text of an id; None for what does not look like one."""
    text = "" if value is None else str(value)
    return text if _ID.fullmatch(text) else None

"""The audit context: the record of what one request or command has done with people's data so far.

The middleware (or manage.py) opens a context. The code that handles data reports to it without knowing who asked:

- visibility queries call `mark_queried`;
- serializers and the admin call `record_access` with the patients whose data they show;
- services record what they write (`events.publish`, `recorder.record`);
- permissions, visibility queries and services call `mark_refused`.

`healthcare.audit_log.recorder.flush` makes entries of the audit log from the context when the request ends, and raises
an error if data was queried and nothing was recorded. Outside a request or command, for example in a shell or in the
test of one function, there is no context: reads leave no entries, but writes do.
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

#: The format of an id in an entry. A path may contain any text, which is not recorded unless it has this format.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

Facts = dict[str, Any]


@dataclass
class AttemptedAction:
    """The action that a request attempts, for the entry that is written if it is refused."""

    action: str
    subject: str | None
    reason: str | None = None


@dataclass(frozen=True)
class Precondition:
    """A condition in SQL on which the right to make this request depends; `forget` is called if it does not hold."""

    condition: str
    parameters: Sequence[Any]
    forget: Callable[[], object]


@dataclass
class AuditContext:
    """The origin of a request or command, and what the request or command has done so far."""

    channel: str
    address: str | None
    request_id: str
    queried: set[str] = field(default_factory=set)
    #: Action → its subject, and the patients whose data was shown, each once, in order.
    accessed: dict[str, tuple[str | None, dict[str, None]]] = field(default_factory=dict)
    #: The resources about which there is an entry already.
    recorded: set[str] = field(default_factory=set)
    #: The resources about which there is already an entry of a refused action.
    recorded_denials: set[str] = field(default_factory=set)
    involved: dict[str, None] = field(default_factory=dict)
    attempted: AttemptedAction | None = None
    #: Whether the precondition may be checked as late as in `flush`, which runs before the answer is sent.
    may_defer_check: bool = False
    #: The condition under which the entries of this request may be inserted.
    precondition: Precondition | None = None

    def facts_of_reads(self, actor: object) -> list[Facts]:
        """Return the facts of one entry for each resource that was read; the entry of a write covers its own answer."""
        return [
            facts(action, actor=actor, patient_ids=patients, subject=subject)
            for action, (subject, patients) in self.accessed.items()
            if resource_of(action) not in self.recorded
        ]

    def facts_of_denied_action(self, actor: object) -> list[Facts]:
        """Return the facts of the entry of a refused action; none if it was not refused or is recorded already.

        An entry of a write does not count, because it may have been rolled back.
        """
        attempt = self.attempted
        if attempt is None or attempt.reason is None or resource_of(attempt.action) in self.recorded_denials:
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
        """Return the resources that were queried and about which nothing was recorded."""
        return self.queried - self.recorded - {resource_of(action) for action in self.accessed}


_current: ContextVar[AuditContext | None] = ContextVar("audit_context", default=None)


@contextmanager
def audit_context(
    *, channel: str, address: str | None = None, request_id: str | None = None, may_defer_check: bool = False
) -> Iterator[AuditContext]:
    """Open an audit context; `channel` is "api", "admin" or "command"."""
    context = AuditContext(
        channel=channel, address=address, request_id=request_id or secrets.token_hex(8), may_defer_check=may_defer_check
    )
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def request_id() -> str | None:
    """Return the id of the current request or command."""
    context = _current.get()
    return context.request_id if context else None


def may_defer_check() -> bool:
    """Return whether the precondition may be checked as late as in `flush`."""
    context = _current.get()
    return context is not None and context.may_defer_check


def require_on_flush(condition: str, parameters: Sequence[object], *, forget: Callable[[], object]) -> None:
    """Let `flush` insert the entries of this request only if the condition holds at that time."""
    if context := _current.get():
        context.precondition = Precondition(condition, parameters, forget)


def precondition() -> Precondition | None:
    """Return the precondition of this request."""
    context = _current.get()
    return context.precondition if context else None


def mark_queried(resource: str) -> None:
    """Note that patient data of a resource, such as "appointment", was queried. Each visibility query calls this."""
    if context := _current.get():
        context.queried.add(resource)


def record_access(action: str, patient_ids: Iterable[str | None] = (), *, subject: object = None) -> None:
    """Note whose data an answer or a page shows. A list without patients is recorded as well."""
    if context := _current.get():
        _, patients = context.accessed.setdefault(action, (as_id(subject), {}))
        patients.update((patient_id, None) for patient_id in patient_ids if patient_id)


def involves(*patient_ids: str | None) -> None:
    """Note which patients the action concerns, so that the entry of a refused action names them."""
    if context := _current.get():
        context.involved.update((patient_id, None) for patient_id in map(as_id, patient_ids) if patient_id)


def begin_action(action: str, *, subject: object = None) -> None:
    """Set the action that the request attempts, before any code can refuse it."""
    if context := _current.get():
        context.attempted = AttemptedAction(action, as_id(subject))


def mark_refused(reason: str) -> None:
    """Note that the attempted action is refused; `reason` is a code, never a value."""
    if (context := _current.get()) and context.attempted:
        context.attempted.reason = reason[:64]


def mark_recorded(action: str, *, outcome: str = SUCCESS) -> None:
    """Note that an entry about this action is stored, in the audit log or with an event."""
    if context := _current.get():
        context.recorded.add(resource_of(action))
        if outcome == REFUSED:
            context.recorded_denials.add(resource_of(action))


def is_recorded(resource: str) -> bool:
    """Return whether this request has recorded a write of the resource."""
    context = _current.get()
    return context is not None and resource in context.recorded


def facts(
    action: str,
    *,
    actor: object,
    patient_ids: Iterable[str] = (),
    subject: object = None,
    outcome: str = SUCCESS,
    reason: str | None = None,
) -> Facts:
    """Return the columns of an entry except its time. `actor` is None for a command or a person without an account."""
    context = _current.get()
    channel = context.channel if context else "shell"
    role = getattr(actor, "role", None) or (channel if channel in ("command", "shell") else "anonymous")
    return {
        "actor_id": getattr(actor, "pk", None),
        "role": str(role),
        "action": action,
        # An id may be the value of a filter, which may be any text that a user typed.
        "patient_ids": [patient_id for patient_id in patient_ids if _ID.fullmatch(patient_id)],
        "subject": as_id(subject),
        "outcome": outcome,
        "reason": reason,
        "channel": channel,
        "address": context.address if context else None,
        "request_id": context.request_id if context else None,
    }


def facts_of_event(event: Mapping[str, Any]) -> Facts:
    """Return the facts of the entry that is stored with an event.

    An event that is older than the audit log has no such facts, and its actor is unknown.
    """
    if "audit" in event:
        return dict(event["audit"])
    patient_ids = [event["patient_id"]] if event["patient_id"] else []
    return facts(event["kind"], actor=None, patient_ids=patient_ids, subject=event["subject_id"])


def resource_of(action: str) -> str:
    """Return the resource of an action: "appointment" of "appointment.booked"."""
    return action.partition(".")[0]


def as_id(value: object) -> str | None:
    """Return the text of an id; None for a value that does not have the format of one."""
    text = "" if value is None else str(value)
    return text if _ID.fullmatch(text) else None

"""The system without audit entries, to measure the cost of the audit log. Only benchmarks/api/audit.py runs this."""

# Imported first, because this import sets Django up.
from healthcare.wsgi import application  # isort: skip
from healthcare.audit_context import AuditContext
from healthcare.audit_log import recorder
from healthcare.outbox import events

__all__ = ["application"]


def _nothing(*args: object, **kwargs: object) -> bool:
    """Replace the function that inserts entries."""
    return True


def _check_precondition(current: AuditContext, **_: object) -> None:
    """In the place of what settles a request: an account that was assumed is looked at all the same."""
    if current.precondition is not None:
        recorder._insert_if_authorized(current.precondition, [])


recorder._insert = _nothing
recorder.flush = _check_precondition
events._consumers.pop(events.AUDIT)

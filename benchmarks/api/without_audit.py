"""The system without audit entries, to measure the cost of the audit log. Only benchmarks/api/audit.py runs this."""

# Imported first, because this import sets Django up.
from healthcare.wsgi import application  # isort: skip
from healthcare.audit_context import AuditContext
from healthcare.audit_log import recorder
from healthcare.outbox import events

__all__ = ["application"]


def _nothing(*args: object, **kwargs: object) -> bool:
    """Replace `recorder._insert`: insert no entry and report success."""
    return True


def _check_precondition(current: AuditContext, **_: object) -> None:
    """Replace `recorder.flush`: check the request's precondition as usual, and insert no entry."""
    if current.precondition is not None:
        recorder._insert_if_authorized(current.precondition, [])


recorder._insert = _nothing
recorder.flush = _check_precondition
events._consumers.pop(events.AUDIT)

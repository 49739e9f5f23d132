"""The models of the Django app `healthcare`, imported here because Django looks for an app's models in this module."""

from healthcare.audit_log.models import AuditEntry, AuditHead, AuditPatient
from healthcare.outbox.models import Event
from healthcare.postgresql.models import Counter

__all__ = ["AuditEntry", "AuditHead", "AuditPatient", "Counter", "Event"]

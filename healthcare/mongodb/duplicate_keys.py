"""Duplicate keys: which unique field a rejected write would have duplicated."""

from django.db import IntegrityError
from pymongo.errors import BulkWriteError, DuplicateKeyError


def duplicated_field(error: IntegrityError) -> str | None:
    """Return the first field of the violated index ("_id" for the primary key), None for any other error."""
    cause = error.__cause__
    details = cause.details if isinstance(cause, DuplicateKeyError | BulkWriteError) else None
    if isinstance(cause, BulkWriteError):
        details = next(iter((details or {}).get("writeErrors", [])), None)
    return next(iter((details or {}).get("keyPattern", {})), None)

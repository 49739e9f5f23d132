"""The system without its audit trail, to measure what the trail costs. Nothing but bench/audit.py serves this."""

from typing import Any

# First, as it sets Django up.
from healthcare.wsgi import application  # isort: skip
from healthcare import audit, events

__all__ = ["application"]


def _nothing(*args: Any, **kwargs: Any) -> None:
    """In the place of what writes entries."""


audit._insert = _nothing
audit.settle = _nothing
events._consumers.pop(events.AUDIT)

"""Noting which events all of their consumers have heard of: of each at once, and in a server of many together.

A write of its own for each was a seventh of what a booking cost the process and both databases. An event whose note is
lost, with the process or with a primary, is told again, which consumers are made for.
"""

import atexit
import logging
import os
import threading
import time

from bson import ObjectId
from django.db import DatabaseError

from healthcare.mongodb import raw
from healthcare.outbox.models import Event

#: How long a server gathers.
BATCH_SECONDS = 0.2
_ACKNOWLEDGED = {"$unset": {"due_at": "", "pending": "", "reason": "", "set_aside_at": ""}}

logger = logging.getLogger("healthcare.outbox.events")


def acknowledge(event_id: ObjectId) -> None:
    """Nobody waits for this event any more. Raises: DatabaseError, unless this process gathers."""
    if _batch is None:
        _write([event_id])
    else:
        _batch.add(event_id)


def start_batching() -> None:
    """Have this process write its notes together, GATHER_SECONDS later at most, and when it ends."""
    global _batch
    if _batch is None:
        _batch = _Batch()
        atexit.register(flush)


def flush() -> None:
    """Write now what this process has gathered."""
    if _batch is not None:
        _batch.write()


class _Batch:
    """Notes that are not written yet, and the thread that writes them, which lives as long as there are some."""

    def __init__(self) -> None:
        self._event_ids: list[ObjectId] = []
        self._writer: threading.Thread | None = None
        self._changing, self._writing = threading.Lock(), threading.Lock()

    def add(self, event_id: ObjectId) -> None:
        with self._changing:
            self._event_ids.append(event_id)
            if self._writer is None or not self._writer.is_alive():
                self._writer = threading.Thread(target=self._write_while_there_are, name="heard", daemon=True)
                self._writer.start()

    def write(self) -> None:
        # Whoever ends the process waits for the writer.
        with self._writing:
            with self._changing:
                event_ids, self._event_ids = self._event_ids, []
            if not event_ids:
                return
            try:
                _write(event_ids)
            except DatabaseError as error:
                logger.warning("%d events will be told again: %s", len(event_ids), type(error.__cause__).__name__)

    def _write_while_there_are(self) -> None:
        while True:
            time.sleep(BATCH_SECONDS)
            self.write()
            with self._changing:
                if not self._event_ids:
                    self._writer = None
                    return


_batch: _Batch | None = None


def _after_fork_in_child() -> None:
    """What the parent has gathered it writes itself, and its locks may be held by threads that are not here."""
    global _batch
    if _batch is not None:
        _batch = _Batch()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _write(event_ids: list[ObjectId]) -> None:
    events = raw.collection(Event)
    if len(event_ids) == 1:
        # The driver tries it again on the next primary, which it does for one document only.
        events.update_one({"_id": event_ids[0]}, _ACKNOWLEDGED, is_dispensable=True)
    else:
        events.update_many({"_id": {"$in": event_ids}}, _ACKNOWLEDGED, is_dispensable=True)

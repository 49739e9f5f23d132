"""Acknowledgements: mark events as delivered to all of their consumers, singly, or in batches in a server process.

A separate write for each event took a seventh of the cost of a booking for the process and both databases. If a batch
is lost, with the process or with a primary, its events are delivered again, which consumers must tolerate.
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

#: How long a server process collects acknowledgements before it writes them.
BATCH_SECONDS = 0.2
_ACKNOWLEDGED = {"$unset": {"due_at": "", "pending": "", "reason": "", "set_aside_at": ""}}

logger = logging.getLogger("healthcare.outbox.events")


def acknowledge(event_id: ObjectId) -> None:
    """Mark an event as delivered. Raises: DatabaseError, unless this process writes in batches."""
    if _batch is None:
        _write([event_id])
    else:
        _batch.add(event_id)


def start_batching() -> None:
    """Write the acknowledgements of this process in batches, at most BATCH_SECONDS later, and when the process ends."""
    global _batch
    if _batch is None:
        _batch = _Batch()
        atexit.register(flush)


def flush() -> None:
    """Write the current batch of this process now."""
    if _batch is not None:
        _batch.write()


class _Batch:
    """The acknowledgements that are not written yet, and a thread that writes them and lives while there are some."""

    def __init__(self) -> None:
        self._event_ids: list[ObjectId] = []
        self._thread: threading.Thread | None = None
        self._changing, self._writing = threading.Lock(), threading.Lock()

    def add(self, event_id: ObjectId) -> None:
        with self._changing:
            self._event_ids.append(event_id)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._write_until_empty, name="acknowledgements", daemon=True)
                self._thread.start()

    def write(self) -> None:
        # The lock makes the end of the process wait for a write by the thread.
        with self._writing:
            with self._changing:
                event_ids, self._event_ids = self._event_ids, []
            if not event_ids:
                return
            try:
                _write(event_ids)
            except DatabaseError as error:
                logger.warning("%d events will be delivered again: %s", len(event_ids), type(error.__cause__).__name__)

    def _write_until_empty(self) -> None:
        while True:
            time.sleep(BATCH_SECONDS)
            self.write()
            with self._changing:
                if not self._event_ids:
                    self._thread = None
                    return


_batch: _Batch | None = None


def _after_fork_in_child() -> None:
    """Give a forked child a batch of its own: the parent writes the inherited one, whose locks may be held."""
    global _batch
    if _batch is not None:
        _batch = _Batch()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _write(event_ids: list[ObjectId]) -> None:
    events = raw.collection(Event)
    if len(event_ids) == 1:
        # The driver retries this write on a new primary; it retries no write of several documents.
        events.update_one({"_id": event_ids[0]}, _ACKNOWLEDGED, is_dispensable=True)
    else:
        events.update_many({"_id": {"$in": event_ids}}, _ACKNOWLEDGED, is_dispensable=True)

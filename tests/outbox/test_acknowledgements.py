"""A server process acknowledges events in batches, and an event whose acknowledgement is lost is delivered again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from django.core.management import call_command
from django.db import DatabaseError

from healthcare.audit_log.models import AuditEntry
from healthcare.mongodb import raw
from healthcare.outbox import acknowledgements, events
from healthcare.outbox.models import Event
from operations.management.commands import relay_events
from tests.live.conftest import environment_of_this_run
from tests.live.server import ROOT
from tests.people import People
from tests.records import make_appointment

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> acknowledgements._Batch:
    """Return a server process's batch, which is not written before the test does so."""
    monkeypatch.setattr(acknowledgements, "_batch", created := acknowledgements._Batch())
    monkeypatch.setattr(acknowledgements, "BATCH_SECONDS", 60)
    return created


def waiting() -> int:
    return raw.collection(Event).count({"pending": {"$exists": True}})


def booked(appointment_id: str) -> Any:
    return AuditEntry.objects.filter(action="appointment.booked", subject=appointment_id)


def test_acknowledgements_are_written_together(people: People, batch: acknowledgements._Batch) -> None:
    for hour in ("09:00", "10:00", "11:00"):
        make_appointment(people, time=hour)
    assert waiting() == 3
    batch.write()
    assert waiting() == 0
    batch.write()


def test_batch_is_written_by_itself_after_a_moment(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "_batch", acknowledgements._Batch())
    for hour in ("09:00", "10:00"):
        # The second batch is written by a new thread, because the first thread ended when nothing was left.
        make_appointment(people, time=hour)
        deadline = time.monotonic() + 30
        while waiting():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(3 * acknowledgements.BATCH_SECONDS)


def test_event_whose_acknowledgement_is_lost_is_delivered_again_and_leaves_one_entry(
    people: People, batch: acknowledgements._Batch
) -> None:
    """A killed process loses its batch."""
    visit = make_appointment(people)
    assert (waiting(), booked(visit.appointment_id).count()) == (1, 1)
    call_command("relay_events", verbosity=0)
    batch.write()
    assert (waiting(), booked(visit.appointment_id).count()) == (0, 1)


def test_outage_loses_acknowledgements_and_breaks_nothing(
    people: People, batch: acknowledgements._Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(event_ids: list[ObjectId]) -> None:
        raise DatabaseError("gone")

    visit = make_appointment(people)
    with monkeypatch.context() as broken:
        broken.setattr(acknowledgements, "_write", refuse)
        batch.write()
    batch.write()
    assert waiting() == 1
    assert list(events.relay(grace=timedelta(hours=1))) == []
    assert [done for _, done in events.relay()] == [True]
    batch.write()
    assert (waiting(), booked(visit.appointment_id).count()) == (0, 1)


def test_server_process_writes_its_batch_when_it_ends(people: People, batch: acknowledgements._Batch) -> None:
    make_appointment(people)
    (event_id,) = batch._event_ids
    serve = (
        "from bson import ObjectId; import healthcare.wsgi; from healthcare.outbox import acknowledgements; "
        f"acknowledgements.BATCH_SECONDS = 60; acknowledgements.acknowledge(ObjectId('{event_id}'))"
    )
    environment = {**os.environ, **environment_of_this_run()}
    subprocess.run([sys.executable, "-c", serve], cwd=ROOT, env=environment, check=True, timeout=45)
    assert waiting() == 0


def test_forked_process_has_a_batch_of_its_own(people: People, batch: acknowledgements._Batch) -> None:
    """gunicorn with `preload_app` imports the application and forks, while threads of the parent may hold the locks."""
    make_appointment(people)
    event_id = ObjectId()
    with batch._writing, batch._changing:
        child = os.fork()
        if child == 0:
            # A child of pytest must not raise; the alarm ends one that waits for a lock.
            signal.alarm(20)
            acknowledgements.acknowledge(event_id)
            has_its_own = acknowledgements._batch is not None and acknowledgements._batch._event_ids == [event_id]
            os._exit(0 if has_its_own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(batch._event_ids) == 1


def test_watching_relay_leaves_new_events_to_their_server_process(monkeypatch: pytest.MonkeyPatch) -> None:
    graces: list[timedelta] = []

    def relay(*, grace: timedelta) -> Iterator[Any]:
        graces.append(grace)
        watching._stop_requested.set()
        return iter(())

    monkeypatch.setattr(events, "relay", relay)
    monkeypatch.setattr(relay_events.signal, "signal", lambda *_: None)
    for words in (["--watch"], []):
        watching = relay_events.Command()
        call_command(watching, *words, verbosity=0)
    assert graces == [relay_events.GRACE_PERIOD, timedelta()]
    assert relay_events.GRACE_PERIOD.total_seconds() > acknowledgements.BATCH_SECONDS

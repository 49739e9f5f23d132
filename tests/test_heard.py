"""A server writes together which events were heard of, and what it loses is told again."""

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
def gathered(monkeypatch: pytest.MonkeyPatch) -> acknowledgements._Batch:
    """As in a server, but that nothing is written before the test says so."""
    monkeypatch.setattr(acknowledgements, "_batch", made := acknowledgements._Batch())
    monkeypatch.setattr(acknowledgements, "GATHER_SECONDS", 60)
    return made


def waiting() -> int:
    return raw.collection(Event).count({"pending": {"$exists": True}})


def booked(appointment_id: str) -> Any:
    return AuditEntry.objects.filter(action="appointment.booked", subject=appointment_id)


def test_notes_are_written_together(people: People, gathered: acknowledgements._Batch) -> None:
    for hour in ("09:00", "10:00", "11:00"):
        make_appointment(people, time=hour)
    assert waiting() == 3
    gathered.write()
    assert waiting() == 0
    gathered.write()


def test_notes_are_written_a_moment_later_by_themselves(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "_batch", acknowledgements._Batch())
    for hour in ("09:00", "10:00"):
        # The second time by a new thread: the first has ended when there was nothing left.
        make_appointment(people, time=hour)
        deadline = time.monotonic() + 30
        while waiting():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(3 * acknowledgements.BATCH_SECONDS)


def test_an_event_whose_note_is_lost_is_told_again_and_leaves_one_entry(
    people: People, gathered: acknowledgements._Batch
) -> None:
    """As when the process is killed: what it had gathered is gone."""
    visit = make_appointment(people)
    assert (waiting(), booked(visit.appointment_id).count()) == (1, 1)
    call_command("relay_events", verbosity=0)
    gathered.write()
    assert (waiting(), booked(visit.appointment_id).count()) == (0, 1)


def test_an_outage_loses_notes_and_breaks_nothing(
    people: People, gathered: acknowledgements._Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(event_ids: list[ObjectId]) -> None:
        raise DatabaseError("gone")

    visit = make_appointment(people)
    with monkeypatch.context() as broken:
        broken.setattr(acknowledgements, "_write", refuse)
        gathered.write()
    gathered.write()
    assert waiting() == 1
    assert list(events.relay(grace=timedelta(hours=1))) == []
    assert [done for _, done in events.relay()] == [True]
    gathered.write()
    assert (waiting(), booked(visit.appointment_id).count()) == (0, 1)


def test_a_server_that_ends_writes_what_it_has_gathered(people: People, gathered: acknowledgements._Batch) -> None:
    make_appointment(people)
    (event_id,) = gathered._event_ids
    serve = (
        "from bson import ObjectId; import healthcare.wsgi; from healthcare import heard; "
        f"heard.GATHER_SECONDS = 60; heard.note(ObjectId('{event_id}'))"
    )
    environment = {**os.environ, **environment_of_this_run()}
    subprocess.run([sys.executable, "-c", serve], cwd=ROOT, env=environment, check=True, timeout=45)
    assert waiting() == 0


def test_a_forked_process_begins_anew(people: People, gathered: acknowledgements._Batch) -> None:
    """gunicorn with `preload_app` imports the application, and forks, whatever the threads of the first one hold."""
    make_appointment(people)
    theirs = ObjectId()
    with gathered._writing, gathered._changing:
        child = os.fork()
        if child == 0:
            # In a child of pytest nothing may be raised; one that waits for a lock is ended.
            signal.alarm(20)
            acknowledgements.acknowledge(theirs)
            assert_own = acknowledgements._batch is not None and acknowledgements._batch._event_ids == [theirs]
            os._exit(0 if assert_own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(gathered._event_ids) == 1


def test_a_watching_relay_leaves_fresh_events_to_their_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[timedelta] = []

    def relay(*, grace: timedelta) -> Iterator[Any]:
        asked.append(grace)
        watching._is_asked_to_stop.set()
        return iter(())

    monkeypatch.setattr(events, "relay", relay)
    monkeypatch.setattr(relay_events.signal, "signal", lambda *_: None)
    for words in (["--watch"], []):
        watching = relay_events.Command()
        call_command(watching, *words, verbosity=0)
    assert asked == [relay_events.GRACE, timedelta()]
    assert relay_events.GRACE.total_seconds() > acknowledgements.BATCH_SECONDS

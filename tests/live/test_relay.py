"""Tests of `manage.py relay_events` with failed bills: one relay, several, a killed relay, and dead letters."""

import subprocess
import sys
import threading
import time
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import Client as Browser

from billing.models import Bill, Fee
from billing.services import bill_completed_visit, delete_bill
from healthcare import clock
from healthcare.mongodb import raw
from healthcare.outbox import events
from healthcare.outbox.models import Event
from tests.fees import restore_fees
from tests.live.agreement import assert_databases_agree
from tests.live.client import Client
from tests.live.server import ROOT, LiveServer
from tests.people import People
from tests.records import complete, days_from_now, make_appointment

pytestmark = pytest.mark.django_db(transaction=True)


def make_due() -> None:
    """End the backoff of every pending event."""
    raw.collection(Event).update_many(
        {"due_at": {"$lte": clock.now() + timedelta(days=1)}}, {"$set": {"due_at": clock.now()}}
    )


def complete_without_fees(admin: Client, people: People, visits: int) -> None:
    """Complete visits whose bills fail."""
    Fee.objects.all().delete()
    for number in range(visits):
        visit = make_appointment(people, date=days_from_now(number // 10), time=f"{8 + number % 10:02}:00")
        assert admin.patch(f"/appointments/{visit.appointment_id}", {"status": "completed"}).status == 200
    assert not Bill.objects.exists()


def test_bill_exists_when_the_request_is_answered(admin: Client, people: People) -> None:
    visit = make_appointment(people)
    assert admin.patch(f"/appointments/{visit.appointment_id}", {"status": "completed"}).status == 200
    assert Bill.objects.get().appointment_id == visit.appointment_id
    assert_databases_agree()


def test_retries_are_delayed_longer_each_time_and_end_in_a_dead_letter(admin: Client, people: People) -> None:
    complete_without_fees(admin, people, 1)
    waits = []
    for attempt in range(1, events.MAX_ATTEMPTS):
        event = raw.collection(Event).find_one({"kind": "appointment.completed"})
        assert event
        assert event["attempts"] == attempt
        assert "no row for this specialty" in event["reason"]
        waits.append((event["due_at"] - clock.now()).total_seconds())
        call_command("relay_events", verbosity=0)
        assert raw.collection(Event).find_one({"_id": event["_id"]}) == event, (
            "an event is not retried before it is due"
        )
        make_due()
        call_command("relay_events", verbosity=0)
    assert all(later > 1.5 * earlier for earlier, later in pairwise(waits))

    event = raw.collection(Event).find_one({"kind": "appointment.completed"})
    assert event
    assert event["set_aside_at"]
    assert "due_at" not in event
    call_command("relay_events", verbosity=0)
    assert raw.collection(Event).find_one({"_id": event["_id"]}) == event

    staff = Browser()
    staff.force_login(people.admin)
    page = staff.get("/admin/healthcare/event/").content.decode()
    assert "no row for this specialty" in page

    restore_fees()
    answer = staff.post(
        "/admin/healthcare/event/", {"action": "retry_delivery", "_selected_action": [str(event["_id"])]}, follow=True
    )
    assert answer.status_code == 200
    call_command("relay_events", verbosity=0)
    assert Bill.objects.count() == 1
    assert_databases_agree()


def test_several_relays_at_once_make_one_bill_each(server: LiveServer, admin: Client, people: People) -> None:
    complete_without_fees(admin, people, 40)
    restore_fees()
    make_due()
    relays = [relay(server) for _ in range(3)]
    # The server's requests deliver events at the same time.
    for number in range(10):
        visit = make_appointment(people, date=days_from_now(40), time=f"{8 + number:02}:00")
        assert admin.patch(f"/appointments/{visit.appointment_id}", {"status": "completed"}).status == 200
    for each in relays:
        assert each.wait(60) == 0
    assert Bill.objects.count() == 50
    assert_databases_agree()


def test_killed_relay_neither_loses_nor_doubles_a_bill(server: LiveServer, admin: Client, people: People) -> None:
    complete_without_fees(admin, people, 80)
    restore_fees()
    make_due()
    killed = relay(server)
    deadline = time.monotonic() + 60
    while Bill.objects.count() < 10:
        assert time.monotonic() < deadline
    killed.kill()
    killed.wait()
    assert Bill.objects.count() < 80, "killed too late: every event was delivered"
    server.manage("relay_events")
    assert Bill.objects.count() == 80
    assert_databases_agree()


def test_watch_continues_until_it_is_stopped(server: LiveServer, admin: Client, people: People) -> None:
    complete_without_fees(admin, people, 1)
    watching = relay(server, "--watch", "--interval", "0.2")
    try:
        restore_fees()
        deadline = time.monotonic() + 30
        # The first retry is due after two seconds.
        while not Bill.objects.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert watching.poll() is None
    finally:
        watching.terminate()
        watching.wait(30)
    assert_databases_agree()


def test_failed_delivery_of_a_stale_event_changes_nothing(people: People) -> None:
    """Of two concurrent deliveries one succeeds and the other fails afterwards; the event stays delivered."""
    Fee.objects.all().delete()
    complete(people, make_appointment(people))
    stale = raw.collection(Event).find_one({"kind": "appointment.completed"})
    assert stale
    restore_fees()
    assert events.deliver(stale)
    Fee.objects.all().delete()
    assert not events.deliver(stale)
    delivered = raw.collection(Event).find_one({"_id": stale["_id"]})
    assert delivered
    assert not {"due_at", "pending"} & set(delivered)
    call_command("relay_events", stdout=StringIO())
    assert Bill.objects.count() == 1
    assert_databases_agree()


def test_event_whose_bill_exists_already_is_delivered(people: People) -> None:
    """A process is killed after it has stored the bill and before it has acknowledged the event."""
    complete(people, make_appointment(people))
    pending = {"pending": ["billing"], "due_at": clock.now()}
    raw.collection(Event).update_one({"kind": "appointment.completed"}, {"$set": pending})
    call_command("relay_events", verbosity=0)
    assert Bill.objects.count() == 1
    assert events.oldest_pending_at() is None
    assert_databases_agree()


def test_bill_that_is_deleted_during_a_second_delivery_stays_deleted(people: People) -> None:
    complete(people, make_appointment(people))
    event = raw.collection(Event).find_one({"kind": "appointment.completed"})
    assert event
    delivery = threading.Thread(target=deliver_again, args=[event])
    with transaction.atomic(using="default"):
        delete_bill(actor=people.admin, bill_id=Bill.objects.get().pk)
        delivery.start()
        delivery.join(0.5)
        assert delivery.is_alive(), "the delivery waits for the deletion, which may still be rolled back"
    delivery.join(30)
    assert not Bill.objects.exists()


def deliver_again(event: dict[str, Any]) -> None:
    try:
        bill_completed_visit(event)
    finally:
        connections.close_all()


def relay(server: LiveServer, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "relay_events", *options], cwd=ROOT, env=server.environment,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip

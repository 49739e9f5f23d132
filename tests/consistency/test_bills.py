"""Tests of the checks `events` and `bills`: undelivered events and unbilled visits."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from appointments.models import Appointment
from billing import queries as billing_queries
from billing import services as billing_services
from billing.models import Bill, DeletedBill, Fee
from datasets.synthea.writing import Databases
from healthcare import clock
from healthcare.mongodb import raw
from healthcare.outbox import events
from healthcare.outbox.models import Event
from operations.consistency import bills
from tests.consistency.commands import assert_clean, check
from tests.people import People
from tests.records import complete, make_appointment, make_bill

VISIT = {"appointment_id": "A2", "patient_id": "P1", "doctor_id": "D1", "disease": "Asthma"}

pytestmark = pytest.mark.django_db


def event(subject_id: str = "A1") -> dict[str, Any]:
    found = raw.collection(Event).find_one({"kind": "appointment.completed", "subject_id": subject_id})
    assert found is not None
    return found


@pytest.fixture
def visit(people: People) -> Appointment:
    """A completed visit A1 with its bill."""
    # A transactional test that ran earlier may have emptied the table.
    Fee.objects.get_or_create(specialty_key="", defaults={"amount": 50})
    found = complete(people, make_appointment(people, appointment_id="A1"))
    assert_clean(check())
    assert Bill.objects.get().appointment_id == "A1"
    return found


@pytest.fixture
def inserted_visit(visit: Appointment) -> str:
    """A completed visit A2 that was inserted into the collection directly, without an event and a bill."""
    document = raw.collection(Appointment).find_one({"_id": "A1"})
    assert document is not None
    long_ago = clock.now() - timedelta(minutes=2)
    raw.collection(Appointment).insert_one({**document, "_id": "A2", "created_at": long_ago})
    assert check("--repair", "--only", "charts").code == 0
    return "A2"


def complete_without_delivery(people: People, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Complete a visit A1 whose event is not delivered, and change the event."""
    with monkeypatch.context() as patched:
        patched.setattr(events, "_deliver_now", lambda event: None)
        complete(people, make_appointment(people, appointment_id="A1"))
    assert Bill.objects.count() == 0
    if changes:
        raw.collection(Event).update_one({"_id": event()["_id"]}, changes)


# --- Events


def test_event_that_is_due_for_a_moment_is_no_difference(people: People, monkeypatch):
    complete_without_delivery(people, monkeypatch)
    result = check()
    assert_clean(result)
    assert result.figures["events"][0] == 2  # the audit entry of the booking waits as well


def test_overdue_event_is_relayed(people: People, monkeypatch):
    complete_without_delivery(people, monkeypatch, **{"$set": {"due_at": clock.now() - timedelta(minutes=11)}})
    result = check()
    assert (result.code, result.differences) == (1, {"events": 1})
    assert f"events: Event {event()['_id']} (appointment.completed A1) is due since" in result.text
    assert "relay_events" in result.text
    assert Bill.objects.count() == 0
    assert check("--repair").code == 0
    assert Bill.objects.get().source_event_id == str(event()["_id"])
    assert not {"pending", "due_at"} & event().keys()
    assert_clean(check())


def test_dead_letter_is_delivered_by_repair(people: People, monkeypatch):
    dead_letter = {"$set": {"set_aside_at": clock.now(), "attempts": 8}, "$unset": {"due_at": ""}}
    complete_without_delivery(people, monkeypatch, **dead_letter)
    result = check()
    assert (result.code, result.differences) == (1, {"events": 1})
    assert f"Event {event()['_id']} (appointment.completed A1) was set aside after 8 attempts.\n" in result.text
    assert check("--repair").code == 0
    assert Bill.objects.get().appointment_id == "A1"
    assert not {"pending", "due_at", "set_aside_at"} & event().keys()
    assert_clean(check())


def test_event_that_fails_again_stays_a_dead_letter(people: People, monkeypatch):
    Fee.objects.all().delete()
    dead_letter = {"$set": {"set_aside_at": clock.now(), "attempts": 8}, "$unset": {"due_at": ""}}
    complete_without_delivery(people, monkeypatch, **dead_letter)
    result = check("--repair")
    assert result.code == 1
    assert "Not repaired: it failed again (billing: LookupError: The fee table has no row" in result.text
    assert event()["set_aside_at"]
    assert "due_at" not in event()
    assert check().differences == {"events": 1}


def test_event_waits_while_its_consumer_cannot_be_reached(people: People, monkeypatch):
    complete_without_delivery(people, monkeypatch, **{"$set": {"due_at": clock.now() - timedelta(minutes=11)}})

    def fail(event):
        raise events.ConsumerOutage

    monkeypatch.setattr(events, "deliver", fail)
    result = check("--repair")
    assert result.code == 1
    assert "Not repaired: the database of its consumer cannot be reached." in result.text
    assert event()["due_at"]


# --- Bills


def test_lost_bill_is_made_from_its_event(visit: Appointment):
    lost = Bill.objects.values("appointment_id", "patient_id", "disease", "total_cost", "source_event_id").get()
    Bill.objects.all().delete()
    result = check()
    assert (result.code, result.differences) == (1, {"bills": 1})
    assert (
        f"bills: Event {event()['_id']} of the completion of appointment A1 was delivered and produced no bill.\n"
        in result.text
    )
    assert Bill.objects.count() == 0
    assert check("--repair").code == 0
    assert Bill.objects.values(*lost).get() == lost
    assert_clean(check())


def test_event_that_is_neither_due_nor_dead_letter_is_found(people: People, monkeypatch):
    """The event is pending, but neither the relay nor the list of dead letters contains it."""
    complete_without_delivery(people, monkeypatch, **{"$unset": {"due_at": ""}})
    assert check().differences == {"bills": 1}
    assert check("--repair").code == 0
    assert Bill.objects.get().source_event_id == str(event()["_id"])
    assert_clean(check())


def test_visit_without_event_and_bill_is_billed_as_the_fee_table_says(inserted_visit: str):
    result = check()
    assert (result.code, result.differences) == (1, {"bills": 1})
    assert (
        "bills: Appointment A2 is completed, has and had no bill, and has no event of its completion.\n" in result.text
    )
    assert check("--repair").code == 0
    first, second = Bill.objects.order_by("appointment_id")
    assert (second.appointment_id, second.patient_id, second.disease) == ("A2", "P1", first.disease)
    assert second.total_cost == first.total_cost
    assert_clean(check())
    assert check("--repair").code == 0
    assert Bill.objects.count() == 2


def test_bill_without_event_that_an_admin_deletes_stays_deleted(people: People, inserted_visit: str):
    check("--repair")
    bill = Bill.objects.get(appointment_id="A2")
    billing_services.delete_bill(actor=people.admin, bill_id=bill.pk)
    assert_clean(check())
    billing_services.bill_visit_without_event(VISIT)
    assert not Bill.objects.filter(appointment_id="A2").exists()


@pytest.mark.django_db(transaction=True, databases=["default", "clinical"])  # threads have their own connections
def test_two_repairs_at_once_bill_a_visit_once(inserted_visit: str):
    def repair(_: int) -> int:
        try:
            return check("--repair", "--only", "bills").code
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(repair, range(4))) == [0, 0, 0, 0]
    assert Bill.objects.filter(appointment_id="A2").count() == 1
    assert_clean(check())


@pytest.mark.django_db(transaction=True, databases=["default", "clinical"])  # threads have their own connections
def test_repair_and_import_at_once_bill_a_visit_once(inserted_visit: str, monkeypatch):
    query = billing_queries.billed
    importing = threading.Barrier(2)

    def slow_query(appointment_ids):
        found = query(appointment_ids)
        time.sleep(0.2)
        return found

    def run(write, *arguments):
        importing.wait(10)
        try:
            write(*arguments)
        finally:
            connections["default"].close()

    bill = Bill(patient_id="P1", appointment_id=inserted_visit, total_cost=1)
    monkeypatch.setattr(billing_queries, "billed", slow_query)
    monkeypatch.setattr(Databases, "billed", lambda self, appointment_ids: slow_query(appointment_ids))
    with ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(run, Databases().add_bills, [bill]),
            pool.submit(run, billing_services.bill_visit_without_event, VISIT),
        ]
        for each in running:
            each.result()
    assert Bill.objects.filter(appointment_id=inserted_visit).count() == 1


def test_bill_needs_a_fee(inserted_visit: str):
    Fee.objects.all().delete()
    result = check("--repair")
    assert result.code == 1
    assert "no event of its completion. Not repaired: the fee table has no row for it." in result.text
    assert Bill.objects.count() == 1


def test_deleted_bill_is_not_missed(people: People, visit: Appointment):
    billing_services.delete_bill(actor=people.admin, bill_id=Bill.objects.get().pk)
    assert DeletedBill.objects.count() == 1
    assert_clean(check("--repair"))
    assert Bill.objects.count() == 0


def test_bill_that_an_admin_moved_to_no_visit_is_not_missed(people: People, visit: Appointment):
    billing_services.change_bill(actor=people.admin, bill_id=Bill.objects.get().pk, appointment_id=None)
    assert_clean(check("--repair"))
    assert Bill.objects.count() == 1


def test_bill_of_a_scheduled_visit_and_a_second_bill_are_no_difference(people: People, visit: Appointment):
    make_appointment(people, appointment_id="A2")
    for appointment_id in ("A1", "A2"):
        make_bill(people, appointment_id=appointment_id)
    assert_clean(check())


def test_bill_that_was_deleted_and_exists_needs_a_decision(people: People, visit: Appointment):
    bill = Bill.objects.get()
    DeletedBill.objects.create(source_event_id=bill.source_event_id, appointment_id="A1")
    result = check("--repair")
    assert (result.code, result.differences) == (1, {"bills": 1})
    assert (
        f"bills: Bill {bill.pk} was deleted and exists again: keep it, or delete it again in the admin." in result.text
    )
    billing_services.delete_bill(actor=people.admin, bill_id=bill.pk)
    assert_clean(check())


def test_visit_of_a_running_import_is_not_billed(inserted_visit: str):
    raw.collection(Appointment).update_one({"_id": "A2"}, {"$set": {"created_at": clock.now()}})
    assert_clean(check("--repair"))
    assert Bill.objects.count() == 1


def test_visit_that_is_completed_between_two_reads_is_no_difference(people: People, visit: Appointment, monkeypatch):
    """The bill is stored after the check reads bills and before it reads events."""
    make_appointment(people, appointment_id="A2", time="12:00")
    query = bills.queries.billed

    def query_and_bill(appointment_ids):
        found = query(appointment_ids)
        if appointment_ids == {"A1", "A2"}:
            events.deliver(event("A2"))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(events, "_deliver_now", lambda event: None)
        complete(people, Appointment(appointment_id="A2"))
    monkeypatch.setattr(bills.queries, "billed", query_and_bill)
    result = check("--repair")
    assert_clean(result)
    assert result.figures["bills"][0] == 4
    assert Bill.objects.filter(appointment_id="A2").count() == 1

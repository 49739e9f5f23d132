"""Events: stored with the change or not at all, delivered once, again after an outage, set aside when hopeless."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from django.urls import reverse

from appointments import services as appointment_services
from billing.models import Bill, DeletedBill, Fee
from healthcare import clock
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from healthcare.outbox.models import Event
from tests.people import People
from tests.records import complete, make_appointment

pytestmark = pytest.mark.django_db


class Listener:
    """A consumer that notes what it hears, and fails as it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.error: Exception | None = None

    def __call__(self, event: Any) -> None:
        if self.error:
            raise self.error
        self.heard.append(event["subject_id"])


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    made = Listener()
    monkeypatch.setattr(events, "_consumers", {})
    monkeypatch.setattr(events, "_projections", [])
    events.register_consumer("test", {"thing.happened"}, made)
    return made


@clinical_transaction
def happen(subject: str = "A1", kind: str = "thing.happened", error: Exception | None = None) -> None:
    events.publish(kind, actor=None, patient_id="P1", subject_id=subject)
    if error:
        raise error


def stored(resource: str = "thing") -> list[dict[str, Any]]:
    """The events of a kind of record; making the people of a test left some, too."""
    return list(connections["clinical"].database.events.find({"kind": {"$regex": f"^{resource}[.]"}}).sort("_id"))


def hurry() -> None:
    """Let the time of the next try be now."""
    connections["clinical"].database.events.update_many(
        {"due_at": {"$exists": True}}, {"$set": {"due_at": (clock.now() - timedelta(seconds=1)).replace(tzinfo=None)}}
    )


def test_a_consumer_hears_once_and_nothing_waits(listener: Listener) -> None:
    happen()
    assert listener.heard == ["A1"]
    (event,) = stored()
    assert (event["kind"], event.get("pending"), event.get("due_at")) == ("thing.happened", None, None)
    call_command("relay_events", verbosity=0)
    assert listener.heard == ["A1"]


def test_nobody_hears_what_was_rolled_back(listener: Listener) -> None:
    with pytest.raises(RuntimeError):
        happen(error=RuntimeError("no"))
    assert (listener.heard, stored()) == ([], [])


def test_publishing_outside_a_transaction_is_an_error(listener: Listener) -> None:
    with pytest.raises(RuntimeError, match="outside a clinical transaction"):
        events.publish("thing.happened", actor=None, patient_id="P1", subject_id="A1")
    assert stored() == []


def test_an_event_that_concerns_nobody_is_stored_and_waits_for_nobody(listener: Listener) -> None:
    happen(kind="thing.ignored")
    assert listener.heard == []
    assert "due_at" not in stored()[0]


def test_a_projection_runs_inside_and_its_error_undoes_the_write(listener: Listener) -> None:
    def refuse(event: Any) -> None:
        raise ValueError("no")

    events.register_projection("counter", {"thing.happened"}, refuse)
    with pytest.raises(ValueError, match="no"):
        happen()
    assert (listener.heard, stored()) == ([], [])


def test_an_outage_leaves_the_event_due_and_counts_no_try(listener: Listener) -> None:
    listener.error = OperationalError("connection refused")
    happen()
    happen("A2")
    assert [(event["attempts"], event["pending"]) for event in stored()] == [(0, ["test"]), (0, ["test"])]
    with pytest.raises(CommandError, match="keep waiting"):
        call_command("relay_events", verbosity=0)
    listener.error = None
    call_command("relay_events", verbosity=0)
    assert listener.heard == ["A1", "A2"]
    assert events.oldest_pending_at() is None


def test_a_hopeless_event_is_set_aside_with_its_reason_and_does_not_hold_up_the_others(
    listener: Listener, people: People, client: Any
) -> None:
    listener.error = ValueError("no such thing\nDETAIL: a person's data")
    happen("bad")
    for _ in range(events.MAX_ATTEMPTS - 1):
        assert events.oldest_pending_at() is not None
        hurry()
        call_command("relay_events", verbosity=0)
    (event,) = stored()
    assert event["attempts"] == events.MAX_ATTEMPTS
    assert event["reason"] == "test: ValueError: no such thing"
    assert "due_at" not in event
    assert events.oldest_pending_at() is None
    listener.error = None
    happen("good")
    assert listener.heard == ["good"]

    client.force_login(people.admin)
    listing = client.get(reverse("admin:healthcare_event_changelist")).content.decode()
    assert "no such thing" in listing
    again = client.post(
        reverse("admin:healthcare_event_changelist"),
        {"action": "retry_delivery", "_selected_action": [str(event["_id"])]},
    )
    assert again.status_code == 302
    call_command("relay_events", verbosity=0)
    assert listener.heard == ["good", "bad"]
    assert Event.objects.filter(set_aside_at__isnull=False).count() == 0


def test_failures_wait_longer_each_time(listener: Listener) -> None:
    listener.error = ValueError("no")
    happen()
    waits = []
    for _ in range(4):
        hurry()
        call_command("relay_events", verbosity=0)
        waits.append((stored()[0]["due_at"] - clock.now().replace(tzinfo=None)).total_seconds())
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_completing_a_visit_bills_it_by_its_doctors_specialty(people: People) -> None:
    visit = make_appointment(people)
    assert Bill.objects.count() == 0
    complete(people, visit)
    bill = Bill.objects.get()
    assert (bill.patient_id, bill.appointment_id, bill.disease, bill.status) == ("P1", visit.pk, "Asthma", "open")
    assert bill.total_cost == Fee.objects.get(specialty_key="cardiology").amount
    assert str(stored("appointment")[-1]["_id"]) == bill.source_event_id


def test_a_specialty_without_a_fee_costs_what_all_others_do(people: People) -> None:
    Fee.objects.exclude(specialty_key="").delete()
    complete(people, make_appointment(people))
    assert Bill.objects.get().total_cost == Fee.objects.get(specialty_key="").amount


def test_an_event_told_again_leaves_one_bill_and_brings_no_deleted_one_back(people: People) -> None:
    complete(people, make_appointment(people))
    event = stored("appointment")[-1]
    event["pending"] = ["billing"]
    assert events.deliver(event)
    bill = Bill.objects.get()
    assert people.client("admin").delete(f"/api/billing/{bill.pk}").status_code == 204
    assert events.deliver(event)
    assert Bill.objects.count() == 0
    assert DeletedBill.objects.get().source_event_id == str(event["_id"])


def test_without_any_fee_the_visit_completes_and_the_event_says_why_it_waits(people: People) -> None:
    Fee.objects.all().delete()
    visit = complete(people, make_appointment(people))
    assert visit.status == "completed"
    assert Bill.objects.count() == 0
    assert "fee table has no row" in stored("appointment")[-1]["reason"]
    Fee.objects.create(specialty="", specialty_key="", amount=50)
    hurry()
    call_command("relay_events", verbosity=0)
    assert Bill.objects.get().total_cost == 50


def test_only_completing_bills(people: People) -> None:
    visit = make_appointment(people)
    appointment_services.change_appointment(actor=people.admin, appointment_id=visit.pk, status="cancelled")
    assert Bill.objects.count() == 0
    booked, cancelled = stored("appointment")
    assert (booked["kind"], cancelled["kind"]) == ("appointment.booked", "appointment.cancelled")
    assert cancelled["before"]["status"] == "scheduled"
    assert cancelled["after"]["status"] == "cancelled"


@pytest.mark.parametrize("interval", [0, -1])
def test_relay_refuses_a_bad_interval(interval: int) -> None:
    with pytest.raises(CommandError):
        call_command("relay_events", interval=interval)

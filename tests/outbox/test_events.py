"""Events are stored with the change or not at all, delivered once, and retried until they become dead letters."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.urls import reverse

from appointments import services as appointment_services
from billing.models import Bill, DeletedBill, Fee
from healthcare import clock
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from healthcare.outbox.models import Event
from tests.databases import clinical_database
from tests.people import People
from tests.records import complete, make_appointment

pytestmark = pytest.mark.django_db


class Consumer:
    """A consumer that keeps the subjects of the events it received, and raises `error` if there is one."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.error: Exception | None = None

    def __call__(self, event: Any) -> None:
        if self.error:
            raise self.error
        self.received.append(event["subject_id"])


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    created = Consumer()
    monkeypatch.setattr(events, "_consumers", {})
    monkeypatch.setattr(events, "_projections", [])
    events.register_consumer("test", {"thing.happened"}, created)
    return created


@clinical_transaction
def happen(subject: str = "A1", kind: str = "thing.happened", error: Exception | None = None) -> None:
    events.publish(kind, actor=None, patient_id="P1", subject_id=subject)
    if error:
        raise error


def stored(resource: str = "thing") -> list[dict[str, Any]]:
    """Return the events of one resource; the fixtures leave events of others."""
    return list(clinical_database().events.find({"kind": {"$regex": f"^{resource}[.]"}}).sort("_id"))


def make_due() -> None:
    """Make all waiting events due now."""
    clinical_database().events.update_many(
        {"due_at": {"$exists": True}}, {"$set": {"due_at": (clock.now() - timedelta(seconds=1)).replace(tzinfo=None)}}
    )


def test_event_is_delivered_once_and_nothing_waits(consumer: Consumer) -> None:
    happen()
    assert consumer.received == ["A1"]
    (event,) = stored()
    assert (event["kind"], event.get("pending"), event.get("due_at")) == ("thing.happened", None, None)
    call_command("relay_events", verbosity=0)
    assert consumer.received == ["A1"]


def test_event_of_a_rolled_back_write_is_not_delivered(consumer: Consumer) -> None:
    with pytest.raises(RuntimeError):
        happen(error=RuntimeError("no"))
    assert (consumer.received, stored()) == ([], [])


def test_publishing_outside_a_transaction_is_an_error(consumer: Consumer) -> None:
    with pytest.raises(RuntimeError, match="outside a clinical transaction"):
        events.publish("thing.happened", actor=None, patient_id="P1", subject_id="A1")
    assert stored() == []


def test_event_without_consumers_is_stored_and_does_not_wait(consumer: Consumer) -> None:
    happen(kind="thing.ignored")
    assert consumer.received == []
    assert "due_at" not in stored()[0]


def test_projection_runs_inside_and_its_error_undoes_the_write(consumer: Consumer) -> None:
    def refuse(event: Any) -> None:
        raise ValueError("no")

    events.register_projection("counter", {"thing.happened"}, refuse)
    with pytest.raises(ValueError, match="no"):
        happen()
    assert (consumer.received, stored()) == ([], [])


def test_outage_leaves_the_event_due_and_counts_no_attempt(consumer: Consumer) -> None:
    consumer.error = OperationalError("connection refused")
    happen()
    happen("A2")
    assert [(event["attempts"], event["pending"]) for event in stored()] == [(0, ["test"]), (0, ["test"])]
    with pytest.raises(CommandError, match="keep waiting"):
        call_command("relay_events", verbosity=0)
    consumer.error = None
    call_command("relay_events", verbosity=0)
    assert consumer.received == ["A1", "A2"]
    assert events.oldest_pending_at() is None


def test_event_that_keeps_failing_becomes_a_dead_letter_and_does_not_block_the_others(
    consumer: Consumer, people: People, client: Any
) -> None:
    consumer.error = ValueError("no such thing\nDETAIL: a person's data")
    happen("bad")
    for _ in range(events.MAX_ATTEMPTS - 1):
        assert events.oldest_pending_at() is not None
        make_due()
        call_command("relay_events", verbosity=0)
    (event,) = stored()
    assert event["attempts"] == events.MAX_ATTEMPTS
    assert event["reason"] == "test: ValueError: no such thing"
    assert "due_at" not in event
    assert events.oldest_pending_at() is None
    consumer.error = None
    happen("good")
    assert consumer.received == ["good"]

    client.force_login(people.admin)
    listing = client.get(reverse("admin:healthcare_event_changelist")).content.decode()
    assert "no such thing" in listing
    again = client.post(
        reverse("admin:healthcare_event_changelist"),
        {"action": "retry_delivery", "_selected_action": [str(event["_id"])]},
    )
    assert again.status_code == 302
    call_command("relay_events", verbosity=0)
    assert consumer.received == ["good", "bad"]
    assert Event.objects.filter(dead_lettered_at__isnull=False).count() == 0


def test_pause_grows_with_each_failure(consumer: Consumer) -> None:
    consumer.error = ValueError("no")
    happen()
    waits = []
    for _ in range(4):
        make_due()
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


def test_event_delivered_again_leaves_one_bill_and_does_not_restore_a_deleted_one(people: People) -> None:
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
    make_due()
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

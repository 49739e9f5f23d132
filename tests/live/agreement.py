"""Invariants of both databases at rest: `assert_databases_agree`."""

import time
from collections import Counter, defaultdict

from django.core.management import call_command, get_commands

from appointments import claims
from appointments import queries as appointment_queries
from appointments.models import Appointment, Claim, Status
from billing.models import Bill
from healthcare.audit_log.models import AuditEntry
from healthcare.mongodb import raw
from healthcare.outbox import acknowledgements
from healthcare.outbox.models import Event
from patients.models import Patient
from prescriptions import queries as prescription_queries


def assert_databases_agree() -> None:
    """Check that charts, claims, bills and audit log agree with the collections, and that no event is pending."""
    visits = list(Appointment.objects.all())
    _assert_claims(visits)
    _assert_charts()
    _assert_bills(visits)
    _assert_audit_log()
    deadline = time.monotonic() + 10 * acknowledgements.BATCH_SECONDS
    while raw.collection(Event).find({"pending.0": {"$exists": True}}):
        # A running server acknowledges deliveries in batches.
        assert time.monotonic() < deadline, "events are pending; run relay_events first"
        time.sleep(acknowledgements.BATCH_SECONDS / 4)
    if "check_consistency" in get_commands():
        call_command("check_consistency")


def _assert_audit_log() -> None:
    """Check that each event has exactly one audit entry, with the event's action."""
    kinds = {str(event["_id"]): event["kind"] for event in raw.collection(Event).find({})}
    entries = AuditEntry.objects.filter(source__in=kinds).values_list("source", "action")
    assert Counter(entries) == Counter(kinds.items())


def _assert_claims(visits: list[Appointment]) -> None:
    held = {claim["_id"]: claim["appointment_id"] for claim in raw.collection(Claim).find({})}
    due: dict[str, str] = {}
    for visit in visits:
        for claim in claims.ids_of(visit):
            assert claim not in due, f"{visit.appointment_id} and {due[claim]} overlap at {claim}"
            due[claim] = visit.appointment_id
    assert held == due


def _assert_charts() -> None:
    for patient in raw.collection(Patient).find({}):
        for kind, newest in (
            ("appointments", appointment_queries.newest_entries(patient["_id"])),
            ("prescriptions", prescription_queries.newest_entries(patient["_id"])),
        ):
            assert newest == patient[kind], f"the chart of {patient['_id']} differs from the {kind}"


def _assert_bills(visits: list[Appointment]) -> None:
    """Check that each completed visit has exactly one bill, of its own event, and no other visit has one."""
    completed = {visit.appointment_id: visit.patient_id for visit in visits if visit.status == Status.COMPLETED}
    events: dict[str, list[str]] = defaultdict(list)
    for event in raw.collection(Event).find({"kind": "appointment.completed"}):
        events[event["subject_id"]].append(str(event["_id"]))
    assert {visit: len(ids) for visit, ids in events.items()} == dict.fromkeys(completed, 1)
    bills = Bill.objects.exclude(source_event_id=None)
    assert Counter(bills.values_list("appointment_id", flat=True)) == Counter(completed.keys())
    for bill in bills:
        assert bill.appointment_id
        assert bill.source_event_id in events[bill.appointment_id]
        assert bill.patient_id == completed[bill.appointment_id]

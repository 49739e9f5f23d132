"""The chart holds the newest 50 entries of each collection after every kind of write."""

from datetime import date, timedelta
from typing import Any

import pytest

from appointments import services as appointment_services
from patients.models import CHART_LENGTH
from prescriptions import services as prescription_services
from tests.databases import clinical_database, existing
from tests.people import People
from tests.records import make_appointment, make_prescription

pytestmark = pytest.mark.django_db
START = date(2020, 1, 1)


def chart(kind: str, patient_id: str = "P1") -> list[dict[str, Any]]:
    patient = clinical_database().patients.find_one({"_id": patient_id})
    assert patient is not None
    return patient[kind]


def newest(kind: str) -> list[dict[str, Any]]:
    """Return the chart that the collections imply."""
    database = clinical_database()
    if kind == "appointments":
        found = database.appointments.find({"patient_id": "P1"}).sort([("date", -1), ("time", -1), ("_id", -1)])
        names = ("doctor_id", "date", "time", "duration_minutes", "status", "disease")
        return [{"appointment_id": v["_id"], **{n: v[n] for n in names}} for v in found.limit(CHART_LENGTH)]
    found = database.prescriptions.find({"patient_id": "P1"}).sort([("start_date", -1), ("_id", -1)])
    fields = ("doctor_id", "drug", "dosage", "frequency", "start_date", "duration_days", "disease")
    return [{"prescription_id": p["_id"], **{n: p[n] for n in fields}} for p in found.limit(CHART_LENGTH)]


def assert_charts_agree() -> None:
    for kind in ("appointments", "prescriptions"):
        assert chart(kind) == newest(kind), kind


def test_each_change_of_a_visit_shows_in_the_chart(people: People) -> None:
    for number in range(3):
        make_appointment(people, appointment_id=f"A{number}", date=START + timedelta(days=number))
        assert_charts_agree()

    def change(**fields: Any) -> None:
        appointment_services.change_appointment(actor=people.admin, appointment_id="A1", **fields)
        assert_charts_agree()

    change(disease="Gout")
    change(date=START + timedelta(days=9))
    change(time="10:05", duration_minutes=10)
    change(time=None)
    change(status="completed")
    appointment_services.change_appointment(actor=people.admin, appointment_id="A2", status="cancelled")
    assert_charts_agree()
    appointment_services.delete_appointment(actor=people.admin, appointment_id="A0")
    assert_charts_agree()
    assert [entry["appointment_id"] for entry in chart("appointments")] == ["A1", "A2"]


def test_each_change_of_a_prescription_shows_in_the_chart(people: People) -> None:
    made = [make_prescription(people, start_date=START + timedelta(days=number)) for number in range(3)]
    assert_charts_agree()
    key = str(made[1].pk)
    for changes in (
        {"dosage": "4 puff"},
        {"start_date": START + timedelta(days=9)},
        {"duration_days": 5},
        {"cost": None},
    ):
        prescription_services.amend_prescription(actor=people.admin, prescription_id=key, **changes)
        assert_charts_agree()
    prescription_services.delete_prescription(actor=people.admin, prescription_id=str(made[2].pk))
    assert_charts_agree()
    assert len(chart("prescriptions")) == 2


def test_the_newest_fifty_whatever_order_they_come_in(people: People) -> None:
    days = [(7 * number) % 53 for number in range(53)]
    for day in days:
        make_appointment(people, appointment_id=f"A{day:02}", date=START + timedelta(days=day), time=None)
    assert_charts_agree()
    assert chart("appointments")[-1]["appointment_id"] == "A03"
    # A deletion lets an older entry into the chart, and a move to the past removes one. A change of an entry that is
    # too old for the chart has no effect.
    appointment_services.delete_appointment(actor=people.admin, appointment_id="A52")
    assert chart("appointments")[-1]["appointment_id"] == "A02"
    appointment_services.change_appointment(actor=people.admin, appointment_id="A51", date=START - timedelta(days=9))
    assert chart("appointments")[-1]["appointment_id"] == "A01"
    appointment_services.change_appointment(actor=people.admin, appointment_id="A00", status="cancelled")
    assert_charts_agree()


def test_a_refused_write_leaves_the_chart(people: People) -> None:
    make_appointment(people, appointment_id="A1")
    before = clinical_database().patients.find_one({"_id": "P1"})
    for fields in ({"appointment_id": "A1", "time": "15:00"}, {"appointment_id": "A2"}):
        answer = people.client("patient").post(
            "/api/appointments",
            {"patient_id": "P1", "doctor_id": "D1", "date": str(make_day()), "time": "10:00", **fields},
            format="json",
        )
        assert answer.status_code == 409
    assert clinical_database().patients.find_one({"_id": "P1"}) == before


def make_day() -> date:
    from tests.records import days_from_now

    return days_from_now(7)


def test_every_clinical_write_raises_the_revision(people: People) -> None:
    def revision() -> int:
        return int(existing(clinical_database().patients.find_one({"_id": "P1"}))["revision"])

    start = revision()
    visit = make_appointment(people)
    appointment_services.change_appointment(actor=people.admin, appointment_id=visit.pk, disease="Gout")
    course = make_prescription(people)
    prescription_services.amend_prescription(actor=people.admin, prescription_id=str(course.pk), cost=None)
    prescription_services.delete_prescription(actor=people.admin, prescription_id=str(course.pk))
    appointment_services.delete_appointment(actor=people.admin, appointment_id=visit.pk)
    assert revision() == start + 6

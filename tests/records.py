"""Records that tests make by the services, as an admin: appointments, prescriptions and bills of `tests.people`."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from appointments import services as appointment_services
from appointments.models import Appointment
from billing import services as billing_services
from billing.models import Bill
from prescriptions import services as prescription_services
from prescriptions.models import Prescription
from tests.people import People


def days_from_now(days: int) -> date:
    return timezone.localdate() + timedelta(days=days)


def make_appointment(people: People, **fields: Any) -> Appointment:
    """Book a visit of `people.patient` with `people.doctor` in a week, unless `fields` say otherwise."""
    visit = {"patient_id": "P1", "doctor_id": "D1", "date": days_from_now(7), "time": "10:00", "disease": "Asthma"}
    return appointment_services.book_appointment(actor=people.admin, **{**visit, **fields})


def complete(people: People, visit: Appointment) -> Appointment:
    return appointment_services.change_appointment(
        actor=people.admin, appointment_id=visit.appointment_id, status="completed"
    )


def make_prescription(people: People, **fields: Any) -> Prescription:
    """Issue a prescription by `people.doctor` for `people.patient`."""
    words = {"patient_id": "P1", "drug": "Salbutamol", "dosage": "2 puff", "frequency": "As needed"}
    return prescription_services.issue_prescription(
        actor=people.admin, **{**words, "doctor_id": "D1", "disease": "Asthma", **fields}
    )


def make_bill(people: People, **fields: Any) -> Bill:
    return billing_services.create_bill(
        actor=people.admin, **{"patient_id": "P1", "total_cost": Decimal("80.00"), "disease": "Asthma", **fields}
    )

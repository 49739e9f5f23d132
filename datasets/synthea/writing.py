"""Bulk writes that can be repeated: what is there already stays as it is.

Each batch is one clinical transaction: the new documents and the charts that show them, or nothing. Bills follow in
PostgreSQL; a run that dies between the two finds, the next time, completed visits without a bill, and bills them.

Two runs at once write nothing twice. In MongoDB both insert the same `_id`, and one of the two transactions runs again
and finds it. A bill has no key of its own making: a lock puts one run's look for bills after the other's commit.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from django.db import DatabaseError, models, transaction

from accounts.models import Role, User
from appointments import claims
from appointments import services as appointment_services
from appointments.models import Appointment
from billing import queries as billing_queries
from billing import services as billing_services
from billing.models import Bill, DeletedBill
from datasets.synthea.charts import PRESCRIPTIONS, VISITS, Chart
from datasets.synthea.files import Rejected
from doctors.models import Doctor
from healthcare.audit_log import recorder
from healthcare.errors import DomainError
from healthcare.mongodb import raw
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from healthcare.routers import DEFAULT
from patients.models import Patient
from prescriptions import services as prescription_services
from prescriptions.models import Prescription
from reports import services as report_services

#: A batch reads the visits of its patients, which may be many more than its own.
MAX_TIME_MS = 30_000

#: On whose behalf visits are booked: the operator at the shell, who has no account.
OPERATOR = User(name="import_synthea", role=Role.ADMIN)


class RecordVanished(DatabaseError):
    """Somebody deleted a patient between two steps of a batch."""


@dataclass
class Databases:
    """Both databases. `add_…` return what was not there before."""

    #: Whose charts this run has made anew, and may add to from then on.
    charted: dict[str, set[str]] = field(default_factory=dict)

    # --- What is there

    def known(self, model: type[models.Model], keys: Collection[Any]) -> set[Any]:
        """Which of the keys there are."""
        if not keys:
            return set()
        found = raw.collection(model).find({"_id": {"$in": list(keys)}}, projection=["_id"])
        return {document["_id"] for document in found}

    def time_zones(self, doctor_ids: Collection[str]) -> dict[str, str]:
        """The zone that each doctor's record has now; unknown ids are absent."""
        found = raw.collection(Doctor).find({"_id": {"$in": list(doctor_ids)}}, projection=["time_zone"])
        return {document["_id"]: document["time_zone"] for document in found}

    def visits(self, appointment_ids: Collection[str]) -> dict[str, Appointment]:
        """The visits by id, with what prescriptions and bills need to know of them; unknown ids are absent."""
        found = raw.collection(Appointment).find(
            {"_id": {"$in": list(appointment_ids)}}, projection=["patient_id", "doctor_id", "status"]
        )
        return {
            document["_id"]: Appointment(
                appointment_id=document["_id"],
                patient_id=document["patient_id"],
                doctor_id=document["doctor_id"],
                status=document["status"],
            )
            for document in found
        }

    def billed(self, appointment_ids: Collection[str]) -> set[str]:
        found = Bill.objects.filter(appointment_id__in=list(appointment_ids)).values_list("appointment_id", flat=True)
        return {appointment_id for appointment_id in found if appointment_id}

    # --- What is new

    @clinical_transaction
    def add_doctors(self, doctors: Sequence[Doctor]) -> set[str]:
        return self._insert(Doctor, doctors)

    @clinical_transaction
    def add_patients(self, patients: Sequence[Patient]) -> set[str]:
        new = self._insert(Patient, patients)
        self._tell("patient.imported", new)
        return new

    def add_visits(self, visits: Sequence[Appointment]) -> set[str]:
        """Insert completed visits and bring the charts up to date. Raises: RecordVanished."""
        return self._add_charted(VISITS, visits)

    def add_prescriptions(self, prescriptions: Sequence[Prescription]) -> set[ObjectId]:
        """Insert prescriptions and bring the charts up to date. Raises: RecordVanished."""
        return self._add_charted(PRESCRIPTIONS, prescriptions)

    @clinical_transaction
    def book(self, visit: Appointment) -> bool:
        """Add a scheduled visit as everybody does, and bring the chart up to date; False when it is there.

        The claims (design decision 8) refuse overlaps. The look at them before says with which visit.
        Raises: Rejected.
        """
        if self.known(Appointment, {visit.appointment_id}):
            return False
        self._refuse_overlap(visit)
        try:
            appointment_services.book_appointment(
                actor=OPERATOR,
                appointment_id=visit.appointment_id,
                patient_id=visit.patient_id,
                doctor_id=visit.doctor_id,
                date=visit.date,
                time=visit.time,
                duration_minutes=visit.duration_minutes,
                disease=visit.disease,
            )
        except DomainError as refusal:
            raise Rejected(refusal.detail) from refusal
        self._bring_up_to_date(VISITS, [visit], set())
        return True

    def add_bills(self, bills: Sequence[Bill]) -> set[str]:
        """Bill the visits that have no bill yet; return their appointment_ids."""
        with transaction.atomic(using=DEFAULT):
            billing_services.lock_bills_without_event()
            billed = self.billed(_appointments_of(bills))
            new = [bill for bill in bills if bill.appointment_id not in billed]
            Bill.objects.bulk_create(new)
            if new:
                recorder.record("bill.imported", actor=None, patient_ids=sorted({bill.patient_id for bill in new}))
        return _appointments_of(new)

    def note_unbilled(self, appointment_ids: Collection[str]) -> None:
        """Say that nobody should miss a bill of these completed visits: the export has no cost for them."""
        with transaction.atomic(using=DEFAULT):
            billing_services.lock_bills_without_event()
            new = sorted(set(appointment_ids) - billing_queries.billed(appointment_ids))
            DeletedBill.objects.bulk_create([DeletedBill(appointment_id=each) for each in new])

    def _add_charted(self, chart: Chart, items: Sequence[Any]) -> set[Any]:
        charted = self.charted.setdefault(chart.field, set())
        new = self._insert_charted(chart, items, charted)
        # After the commit: what a failed attempt has made anew is as it was.
        charted |= {item.patient_id for item in items if item.pk in new}
        return new

    # --- Inside a transaction

    @clinical_transaction
    def _insert_charted(self, chart: Chart, items: Sequence[Any], charted: set[str]) -> set[Any]:
        new = self._insert(chart.model, items)
        self._bring_up_to_date(chart, [item for item in items if item.pk in new], charted)
        self._count([item for item in items if item.pk in new])
        resource = chart.model._meta.model_name
        self._tell(f"{resource}.imported", {item.patient_id for item in items if item.pk in new})
        return new

    def _count(self, new: Sequence[Any]) -> None:
        """Have the reports count the new documents, in their transaction."""
        if new:
            visits = [appointment_services.as_document(each) for each in new if isinstance(each, Appointment)]
            courses = [prescription_services.as_document(each) for each in new if isinstance(each, Prescription)]
            report_services.reconcile(
                patient_ids=sorted({each.patient_id for each in new}),
                new_appointments=visits,
                new_prescriptions=courses,
            )

    def _tell(self, kind: str, patient_ids: Collection[str]) -> None:
        """Put on record whose data came, with the write."""
        if patient_ids:
            events.publish(kind, actor=None, subject_id="", patient_ids=sorted(patient_ids))

    def _insert(self, model: type[models.Model], items: Sequence[Any]) -> set[Any]:
        there = self.known(model, {item.pk for item in items})
        new = [item for item in items if item.pk not in there]
        if new:
            model._default_manager.bulk_create(new)
        return {item.pk for item in new}

    def _bring_up_to_date(self, chart: Chart, new: Sequence[Any], charted: set[str]) -> None:
        """Show the new documents in their patients' charts.

        The first time in a run a patient's chart is made anew, whatever was in it; then it is right and gets additions
        only. Made anew each time, an export that is not sorted by patient took twice as long.
        """
        if not new:
            return
        patient_ids = {item.patient_id for item in new}
        updates = chart.additions(item for item in new if item.patient_id in charted)
        if patient_ids - charted:
            found = raw.aggregate(chart.model, chart.newest(patient_ids - charted), max_time_ms=MAX_TIME_MS)
            updates += chart.replacements(found)
        updated = raw.collection(Patient).bulk_write(updates, is_ordered=False, max_time_ms=MAX_TIME_MS)
        if updated.matched_count != len(patient_ids):
            raise RecordVanished("A patient was deleted while their records were read. Run the import again.")

    def _refuse_overlap(self, visit: Appointment) -> None:
        """Raises: Rejected when a scheduled visit of the doctor or the patient takes up some of the same time."""
        for claim, holder in sorted(self._holders(claims.ids_of(visit)).items()):
            raise Rejected(f"Overlaps the {claims.holder_kind(claim)}'s scheduled visit {holder}.")

    def _holders(self, wanted: Collection[str]) -> dict[str, str]:
        """Which visit holds each of these claims."""
        return claims.holders(wanted)


@dataclass
class Rehearsal(Databases):
    """Says what `Databases` would do, and writes nothing: what a run would have added is remembered here."""

    added: dict[type[models.Model], set[Any]] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    added_visits: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    booked: dict[str, str] = field(default_factory=dict)

    def known(self, model: type[models.Model], keys: Collection[Any]) -> set[Any]:
        return super().known(model, keys) | (self.added.get(model, set()) & set(keys))

    def time_zones(self, doctor_ids: Collection[str]) -> dict[str, str]:
        planned = {doctor_id: self.zones[doctor_id] for doctor_id in doctor_ids if doctor_id in self.zones}
        return planned | super().time_zones(doctor_ids)

    def visits(self, appointment_ids: Collection[str]) -> dict[str, Appointment]:
        planned = {}
        for appointment_id in appointment_ids:
            if appointment_id in self.added_visits:
                patient_id, doctor_id, status = self.added_visits[appointment_id]
                planned[appointment_id] = Appointment(
                    appointment_id=appointment_id, patient_id=patient_id, doctor_id=doctor_id, status=status
                )
        return planned | super().visits(appointment_ids)

    def add_doctors(self, doctors: Sequence[Doctor]) -> set[str]:
        new = self._remember(Doctor, doctors)
        self.zones |= {doctor.doctor_id: doctor.time_zone for doctor in doctors if doctor.doctor_id in new}
        return new

    def add_patients(self, patients: Sequence[Patient]) -> set[str]:
        return self._remember(Patient, patients)

    def add_visits(self, visits: Sequence[Appointment]) -> set[str]:
        there = self.visits([visit.appointment_id for visit in visits])
        new = [visit for visit in visits if visit.appointment_id not in there]
        self._remember_visits(new)
        return {visit.appointment_id for visit in new}

    def book(self, visit: Appointment) -> bool:
        if self.visits({visit.appointment_id}):
            return False
        self._refuse_overlap(visit)
        self._remember_visits([visit])
        self.booked |= dict.fromkeys(claims.ids_of(visit), visit.appointment_id)
        return True

    def add_prescriptions(self, prescriptions: Sequence[Prescription]) -> set[ObjectId]:
        # Nothing refers to prescriptions, and no two rows have the same id.
        return {item.pk for item in prescriptions} - self.known(Prescription, {item.pk for item in prescriptions})

    def add_bills(self, bills: Sequence[Bill]) -> set[str]:
        asked = _appointments_of(bills)
        return asked - self.billed(asked)

    def note_unbilled(self, appointment_ids: Collection[str]) -> None:
        """Nothing is told of it."""

    def _remember(self, model: type[models.Model], items: Sequence[Any]) -> set[Any]:
        new = {item.pk for item in items} - self.known(model, {item.pk for item in items})
        self.added.setdefault(model, set()).update(new)
        return new

    def _remember_visits(self, visits: Iterable[Appointment]) -> None:
        for visit in visits:
            self.added_visits[visit.appointment_id] = (visit.patient_id, visit.doctor_id, visit.status)

    def _holders(self, wanted: Collection[str]) -> dict[str, str]:
        planned = {claim: self.booked[claim] for claim in wanted if claim in self.booked}
        return planned | super()._holders(wanted)


def _appointments_of(bills: Iterable[Bill]) -> set[str]:
    return {bill.appointment_id for bill in bills if bill.appointment_id is not None}

"""Bulk writes of an import, which can be repeated: an existing record stays as it is.

Each batch is one clinical transaction: the new documents and the charts that list them, or nothing. The bills follow in
PostgreSQL. If a run ends between the two, the next run finds completed visits without a bill, and bills them.

Two runs at the same time write nothing twice. In MongoDB both insert the same `_id`, and one of the two transactions is
retried and finds the document. A bill has no key that follows from the export, so a lock lets one run look for bills
only after the other has committed.
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
from datasets.synthea.chart_updates import APPOINTMENTS, PRESCRIPTIONS, ChartList
from datasets.synthea.files import RowRejected
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

#: A batch reads all visits of its patients, which may be many more than the batch has.
MAX_TIME_MS = 30_000

#: The actor who books visits: the operator at the shell, who has no account.
OPERATOR = User(name="import_synthea", role=Role.ADMIN)


class PatientDeleted(DatabaseError):
    """Somebody deleted a patient between two steps of a batch."""


@dataclass
class Databases:
    """Both databases. The methods `add_…` return the keys of the records that did not exist before."""

    #: Patients whose charts this run has rebuilt, by the field of the chart. Later batches only add to these charts.
    rebuilt_charts: dict[str, set[str]] = field(default_factory=dict)

    # --- Existing records

    def existing_ids(self, model: type[models.Model], keys: Collection[Any]) -> set[Any]:
        """Return those of the keys that exist."""
        if not keys:
            return set()
        found = raw.collection(model).find({"_id": {"$in": list(keys)}}, projection=["_id"])
        return {document["_id"] for document in found}

    def time_zones(self, doctor_ids: Collection[str]) -> dict[str, str]:
        """Return the current time zone of each doctor, without the doctors who do not exist."""
        found = raw.collection(Doctor).find({"_id": {"$in": list(doctor_ids)}}, projection=["time_zone"])
        return {document["_id"]: document["time_zone"] for document in found}

    def visits(self, appointment_ids: Collection[str]) -> dict[str, Appointment]:
        """Return the visits that exist, by id, with the fields that prescriptions and bills need."""
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
        """Return those of the visits that have a bill."""
        found = Bill.objects.filter(appointment_id__in=list(appointment_ids)).values_list("appointment_id", flat=True)
        return {appointment_id for appointment_id in found if appointment_id}

    # --- New records

    @clinical_transaction
    def add_doctors(self, doctors: Sequence[Doctor]) -> set[str]:
        return self._insert(Doctor, doctors)

    @clinical_transaction
    def add_patients(self, patients: Sequence[Patient]) -> set[str]:
        new = self._insert(Patient, patients)
        self._publish("patient.imported", new)
        return new

    def add_visits(self, visits: Sequence[Appointment]) -> set[str]:
        """Insert completed visits and update the charts. Raises: PatientDeleted."""
        return self._add_with_charts(APPOINTMENTS, visits)

    def add_prescriptions(self, prescriptions: Sequence[Prescription]) -> set[ObjectId]:
        """Insert prescriptions and update the charts. Raises: PatientDeleted."""
        return self._add_with_charts(PRESCRIPTIONS, prescriptions)

    @clinical_transaction
    def book(self, visit: Appointment) -> bool:
        """Book a scheduled visit by the appointments app and update the chart; return False if the visit exists.

        The claims of the appointments app prevent overlaps (docs/decisions/0008-claims-against-double-booking.md). An
        earlier check is made only to name the other visit in the reason.

        Raises: RowRejected.
        """
        if self.existing_ids(Appointment, {visit.appointment_id}):
            return False
        self._require_no_overlap(visit)
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
        except DomainError as error:
            raise RowRejected(error.detail) from error
        self._update_charts(APPOINTMENTS, [visit], set())
        return True

    def add_bills(self, bills: Sequence[Bill]) -> set[str]:
        """Create the bills of visits that have none, and return the ids of these visits."""
        with transaction.atomic(using=DEFAULT):
            billing_services.lock_bills_without_event()
            billed = self.billed(_appointments_of(bills))
            new = [bill for bill in bills if bill.appointment_id not in billed]
            Bill.objects.bulk_create(new)
            if new:
                recorder.record("bill.imported", actor=None, patient_ids=sorted({bill.patient_id for bill in new}))
        return _appointments_of(new)

    def mark_unbilled(self, appointment_ids: Collection[str]) -> None:
        """Store that these completed visits have no bill on purpose, because the export has no cost for them."""
        with transaction.atomic(using=DEFAULT):
            billing_services.lock_bills_without_event()
            new = sorted(set(appointment_ids) - billing_queries.billed(appointment_ids))
            DeletedBill.objects.bulk_create([DeletedBill(appointment_id=each) for each in new])

    def _add_with_charts(self, chart: ChartList, items: Sequence[Any]) -> set[Any]:
        rebuilt = self.rebuilt_charts.setdefault(chart.field, set())
        new = self._insert_with_charts(chart, items, rebuilt)
        # Charts count as rebuilt only after the commit, because a failed attempt leaves them unchanged.
        rebuilt |= {item.patient_id for item in items if item.pk in new}
        return new

    # --- Inside a transaction

    @clinical_transaction
    def _insert_with_charts(self, chart: ChartList, items: Sequence[Any], rebuilt: set[str]) -> set[Any]:
        new = self._insert(chart.model, items)
        self._update_charts(chart, [item for item in items if item.pk in new], rebuilt)
        self._update_reports([item for item in items if item.pk in new])
        resource = chart.model._meta.model_name
        self._publish(f"{resource}.imported", {item.patient_id for item in items if item.pk in new})
        return new

    def _update_reports(self, new: Sequence[Any]) -> None:
        """Update the rollups of the reports with the new documents, in the same transaction."""
        if new:
            visits = [appointment_services.as_document(each) for each in new if isinstance(each, Appointment)]
            courses = [prescription_services.as_document(each) for each in new if isinstance(each, Prescription)]
            report_services.reconcile(
                patient_ids=sorted({each.patient_id for each in new}),
                new_appointments=visits,
                new_prescriptions=courses,
            )

    def _publish(self, kind: str, patient_ids: Collection[str]) -> None:
        """Publish an event from which the audit log gets an entry about these patients."""
        if patient_ids:
            events.publish(kind, actor=None, subject_id="", patient_ids=sorted(patient_ids))

    def _insert(self, model: type[models.Model], items: Sequence[Any]) -> set[Any]:
        existing = self.existing_ids(model, {item.pk for item in items})
        new = [item for item in items if item.pk not in existing]
        if new:
            model._default_manager.bulk_create(new)
        return {item.pk for item in new}

    def _update_charts(self, chart: ChartList, new: Sequence[Any], rebuilt: set[str]) -> None:
        """Add the new documents to their patients' charts.

        The first time in a run, the chart of a patient is rebuilt from the collection, whatever it holds. After that
        the chart is right, and the run only adds to it. An export that is not sorted by patient took twice as long
        when each batch rebuilt the charts.
        """
        if not new:
            return
        patient_ids = {item.patient_id for item in new}
        updates = chart.additions(item for item in new if item.patient_id in rebuilt)
        if patient_ids - rebuilt:
            found = raw.aggregate(chart.model, chart.newest(patient_ids - rebuilt), max_time_ms=MAX_TIME_MS)
            updates += chart.replacements(found)
        updated = raw.collection(Patient).bulk_write(updates, is_ordered=False, max_time_ms=MAX_TIME_MS)
        if updated.matched_count != len(patient_ids):
            raise PatientDeleted("A patient was deleted during the import. Run the import again.")

    def _require_no_overlap(self, visit: Appointment) -> None:
        """Check that no scheduled visit of the doctor or the patient overlaps this visit. Raises: RowRejected."""
        for claim, holder in sorted(self._holders(claims.ids_of(visit)).items()):
            raise RowRejected(f"Overlaps the {claims.holder_kind(claim)}'s scheduled visit {holder}.")

    def _holders(self, wanted: Collection[str]) -> dict[str, str]:
        """Return the visit that holds each of these claims."""
        return claims.holders(wanted)


@dataclass
class DryRun(Databases):
    """Returns what `Databases` would return and writes nothing. Added records are kept in memory."""

    added: dict[type[models.Model], set[Any]] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    added_visits: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    booked: dict[str, str] = field(default_factory=dict)

    def existing_ids(self, model: type[models.Model], keys: Collection[Any]) -> set[Any]:
        return super().existing_ids(model, keys) | (self.added.get(model, set()) & set(keys))

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
        existing = self.visits([visit.appointment_id for visit in visits])
        new = [visit for visit in visits if visit.appointment_id not in existing]
        self._remember_visits(new)
        return {visit.appointment_id for visit in new}

    def book(self, visit: Appointment) -> bool:
        if self.visits({visit.appointment_id}):
            return False
        self._require_no_overlap(visit)
        self._remember_visits([visit])
        self.booked |= dict.fromkeys(claims.ids_of(visit), visit.appointment_id)
        return True

    def add_prescriptions(self, prescriptions: Sequence[Prescription]) -> set[ObjectId]:
        # No record refers to prescriptions and no two rows have the same id, so nothing is kept in memory.
        return {item.pk for item in prescriptions} - self.existing_ids(
            Prescription, {item.pk for item in prescriptions}
        )

    def add_bills(self, bills: Sequence[Bill]) -> set[str]:
        asked = _appointments_of(bills)
        return asked - self.billed(asked)

    def mark_unbilled(self, appointment_ids: Collection[str]) -> None:
        """Do nothing: no figure counts these visits."""

    def _remember(self, model: type[models.Model], items: Sequence[Any]) -> set[Any]:
        new = {item.pk for item in items} - self.existing_ids(model, {item.pk for item in items})
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

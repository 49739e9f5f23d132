"""The steps of an import. Each file is read once, in batches, after the files to which its rows refer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import reset_queries

from appointments.models import Appointment, Status
from billing.models import Bill
from datasets.synthea import mapping
from datasets.synthea.files import COLUMNS, CsvFile, Record, Row, RowRejected
from datasets.synthea.results import Rejections, Reporter, Tally
from datasets.synthea.staging import StagingDatabase
from datasets.synthea.writing import Databases
from doctors.models import Doctor
from patients.models import Patient
from prescriptions.models import Prescription

#: Rows in one transaction: many enough to be fast, few enough to commit within a second.
BATCH_ROWS = 1_000

Batch = list[tuple[Record, Row]]


@dataclass
class BillFigures:
    created: int = 0
    existing: int = 0


@dataclass
class Import:
    files: dict[str, CsvFile]
    databases: Databases
    rejections: Rejections
    reporter: Reporter
    now: datetime
    staging: StagingDatabase = field(default_factory=StagingDatabase)
    tallies: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in COLUMNS})
    bills: BillFigures = field(default_factory=BillFigures)

    @property
    def rejected(self) -> int:
        return sum(tally.rejected for tally in self.tallies.values())

    def run(self) -> None:
        try:
            states = self._read_organizations()
            self._import_providers(states)
            self._read_conditions()
            self._import_patients()
            self._count_conditions()
            self._read_claims()
            self._import_encounters()
            self._reject_unused_claims()
            self._import_medications()
        finally:
            self.staging.close()

    # --- File by file

    def _read_organizations(self) -> dict[str, str]:
        """Return the state of each organization."""
        states = {}
        for batch in self._batches("organizations"):
            for _, row in batch:
                states[row["Id"]] = row["STATE"]
                self.tallies["organizations"].ignored += 1
        return states

    def _import_providers(self, states: dict[str, str]) -> None:
        for batch in self._batches("providers"):
            doctors: dict[str, tuple[Record, Doctor]] = {}
            for record, row in batch:
                with self._rejecting("providers", record):
                    doctor = mapping.to_doctor(row, states.get(row["ORGANIZATION"], ""))
                    self._add_unless_repeated("providers", doctors, record, doctor)
            new = self.databases.add_doctors([doctor for _, doctor in doctors.values()])
            self._count("providers", len(doctors), len(new))

    def _read_conditions(self) -> None:
        for batch in self._batches("conditions"):
            for record, row in batch:
                with self._rejecting("conditions", record):
                    disease = mapping.to_disease(row)
                    if disease is None:
                        self.tallies["conditions"].ignored += 1
                    elif self.staging.can_add_disease(row["PATIENT"], disease):
                        self.staging.add_condition(record.line, row["PATIENT"], disease)
                    else:
                        raise RowRejected("The patient's record already has the maximum number of diseases.")

    def _import_patients(self) -> None:
        for batch in self._batches("patients"):
            patients: dict[str, tuple[Record, Patient]] = {}
            for record, row in batch:
                with self._rejecting("patients", record):
                    patient = mapping.to_patient(row, self.staging.diseases_of(row["Id"]))
                    self._add_unless_repeated("patients", patients, record, patient)
            new = self.databases.add_patients([patient for _, patient in patients.values()])
            for patient_id in patients:
                self.staging.add_patient(patient_id, is_new=patient_id in new)
            self._count("patients", len(patients), len(new))

    def _count_conditions(self) -> None:
        """Count the conditions by their patients. Existing patients keep their recorded diseases."""
        tally = self.tallies["conditions"]
        tally.imported = self.staging.count_conditions(is_new=True)
        tally.existing = self.staging.count_conditions(is_new=False)
        others = self.staging.patients_without_row()
        known: set[str] = set()
        for start in range(0, len(others), BATCH_ROWS):
            known |= self.databases.existing_ids(Patient, others[start : start + BATCH_ROWS])
        tally.existing += sum(1 for _ in self.staging.condition_lines(known))
        unknown = set(others) - known
        self._reject_lines("conditions", self.staging.condition_lines(unknown), "There is no such PATIENT.")

    def _read_claims(self) -> None:
        for batch in self._batches("claims"):
            for record, row in batch:
                self.staging.add_claim(
                    record.line, row["APPOINTMENTID"], row["PATIENTID"], is_closed=mapping.is_closed(row)
                )

    def _import_encounters(self) -> None:
        for batch in self._batches("encounters"):
            zones = self.databases.time_zones({row["PROVIDER"] for _, row in batch})
            patients = self.databases.existing_ids(Patient, {row["PATIENT"] for _, row in batch})
            existing = self.databases.visits({row["Id"] for _, row in batch})
            visits: dict[str, tuple[Record, Appointment]] = {}
            bills: list[Bill] = []
            unbilled: list[str] = []
            for record, row in batch:
                with self._rejecting("encounters", record):
                    visit = self._visit(row, zones, patients)
                    bill = self._bill(row, visit, existing.get(visit.appointment_id))
                    if not self._add_unless_repeated("encounters", visits, record, visit):
                        continue
                    if bill is not None:
                        bills.append(bill)
                    elif visit.status == existing.get(visit.appointment_id, visit).status == Status.COMPLETED:
                        unbilled.append(visit.appointment_id)
            self._write_visits(visits)
            self._write_bills(bills)
            self.databases.mark_unbilled(unbilled)

    def _visit(self, row: Row, zones: dict[str, str], patients: set[str]) -> Appointment:
        if row["PATIENT"] not in patients:
            raise RowRejected("There is no such PATIENT.")
        if row["PROVIDER"] not in zones:
            raise RowRejected("There is no such PROVIDER.")
        return mapping.to_visit(row, time_zone=zones[row["PROVIDER"]], now=self.now)

    def _bill(self, row: Row, visit: Appointment, existing: Appointment | None) -> Bill | None:
        """Return the bill that the visit should have, or None if the existing record is not a completed visit."""
        if existing is not None and existing.patient_id != visit.patient_id:
            raise RowRejected("There is a visit of another patient with this Id.")
        if existing is not None and existing.status != Status.COMPLETED:
            return None
        is_paid = self.staging.is_paid(visit.appointment_id, visit.patient_id)
        return mapping.to_bill(row, visit, is_paid=is_paid, now=self.now)

    def _write_visits(self, visits: dict[str, tuple[Record, Appointment]]) -> None:
        completed = [visit for _, visit in visits.values() if visit.status == Status.COMPLETED]
        new = self.databases.add_visits(completed)
        self._count("encounters", len(completed), len(new))
        for record, visit in visits.values():
            if visit.status == Status.SCHEDULED:
                with self._rejecting("encounters", record):
                    self._count("encounters", 1, int(self.databases.book(visit)))

    def _write_bills(self, bills: list[Bill]) -> None:
        created = self.databases.add_bills(bills)
        self.bills.created += len(created)
        self.bills.existing += len(bills) - len(created)
        for bill in bills:
            claims = self.staging.use_claims(bill.appointment_id or "", bill.patient_id)
            self._count("claims", claims, claims if bill.appointment_id in created else 0)

    def _reject_unused_claims(self) -> None:
        self._reject_lines(
            "claims",
            self.staging.unused_claim_lines(),
            "encounters.csv has no completed encounter of this PATIENTID with this APPOINTMENTID that is billed.",
        )

    def _import_medications(self) -> None:
        for batch in self._batches("medications"):
            visits = self.databases.visits({row["ENCOUNTER"] for _, row in batch})
            zones = self.databases.time_zones({visit.doctor_id for visit in visits.values()})
            prescriptions: dict[Any, tuple[Record, Prescription]] = {}
            for record, row in batch:
                with self._rejecting("medications", record):
                    key = mapping.medication_key(row)
                    key_of_row = mapping.prescription_id(key, self.staging.count_medication(key))
                    visit = visits.get(row["ENCOUNTER"])
                    if visit is None:
                        raise RowRejected("There is no such ENCOUNTER.")
                    prescription = mapping.to_prescription(
                        row, visit, key=key_of_row, time_zone=zones.get(visit.doctor_id, "UTC")
                    )
                    prescriptions[key_of_row] = (record, prescription)
            new = self.databases.add_prescriptions([prescription for _, prescription in prescriptions.values()])
            self._count("medications", len(prescriptions), len(new))

    # --- Rows

    def _batches(self, name: str) -> Iterator[Batch]:
        """Yield the rows of a file in batches, and reject the broken ones. A file that is missing has no rows."""
        file = self.files.get(name)
        if file is None:
            return
        batch: Batch = []
        for record in file.records(self.reporter.begin(file)):
            self.tallies[name].read += 1
            with self._rejecting(name, record):
                batch.append((record, record.row()))
            if len(batch) == BATCH_ROWS:
                yield batch
                batch = []
                # With DEBUG on, Django keeps the text of every query.
                reset_queries()
        if batch:
            yield batch

    def _rejecting(self, name: str, record: Record) -> "_Rejecting":
        return _Rejecting(self, name, record)

    def reject(self, name: str, record: Record, reason: str) -> None:
        self.tallies[name].rejected += 1
        message = self.rejections.add(self.files[name], record, reason)
        if message:
            self.reporter.print(message)

    def _reject_lines(self, name: str, lines: Iterator[int], reason: str) -> None:
        """Reject rows that were read before, by their ascending lines. If there are any, read the file again."""
        line = next(lines, None)
        if line is None:
            return
        for record in self.files[name].records():
            if record.line == line:
                self.reject(name, record, reason)
                line = next(lines, None)
                if line is None:
                    return

    def _add_unless_repeated(self, name: str, items: dict[str, tuple[Record, Any]], record: Record, item: Any) -> bool:
        """Add the item and return True; count it as existing and return False if the batch has its id already."""
        if item.pk in items:
            self.tallies[name].existing += 1
            return False
        items[item.pk] = (record, item)
        return True

    def _count(self, name: str, asked: int, new: int) -> None:
        self.tallies[name].imported += new
        self.tallies[name].existing += asked - new


@dataclass
class _Rejecting:
    """A context manager that rejects the row whose block raises RowRejected, so that the rest of the batch goes on."""

    run: Import
    name: str
    record: Record

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, RowRejected):
            return False
        self.run.reject(self.name, self.record, str(error))
        return True

"""The results that the load received, compared with the databases."""

import threading
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from appointments import queries as appointment_queries
from appointments.models import Appointment, Status
from billing.models import Bill
from healthcare.mongodb import raw
from patients.models import Patient
from prescriptions import queries as prescription_queries
from prescriptions.models import Prescription

BOOKED, CANCELLED, COMPLETED, PRESCRIBED = "booked", "cancelled", "completed", "prescribed"
#: No writer requests a bill. Bills follow from `completed`, in the other database.
BILLED = "billed"

#: Identifies a visit by patient, day and time. The service generates the visit's id, and no index prevents two visits
#: without a time on one day, so that a write which was carried out twice is visible as two visits.
Key = tuple[str, date, str]


@dataclass
class WriteCounts:
    """The writes of one operation. `unanswered` writes ended in an error; `kept` of them are stored nevertheless."""

    acknowledged: int = 0
    present: int = 0
    doubled: int = 0
    unanswered: int = 0
    kept: int = 0

    @property
    def lost(self) -> int:
        return self.acknowledged - self.present

    def as_json(self) -> dict[str, int]:
        return {**asdict(self), "lost": self.lost}


@dataclass
class Ledger:
    """The results of all writes of one client."""

    #: Operation → record → whether the write was acknowledged. Instructions identify a prescription.
    results: dict[str, dict[Any, bool]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, operation: str, key: object, *, acknowledged: bool) -> None:
        with self._lock:
            self.results.setdefault(operation, {})[key] = acknowledged

    def compare(self, patients: Collection[str]) -> dict[str, WriteCounts]:
        """Return by operation how many writes were acknowledged, are stored, and are stored more than once."""
        visits: dict[Key, list[Appointment]] = {}
        for visit in Appointment.objects.filter(patient_id__in=list(patients)):
            visits.setdefault((visit.patient_id, visit.date, visit.time), []).append(visit)
        statuses = {key: {visit.status for visit in found} for key, found in visits.items()}
        prescribed = Counter(
            each["instructions"]
            for each in raw.collection(Prescription).find(
                {"patient_id": {"$in": list(patients)}}, projection=["instructions"]
            )
        )
        rows = {
            BOOKED: self._row(BOOKED, {key: len(found) for key, found in visits.items()}),
            CANCELLED: self._row(CANCELLED, _visits_with(statuses, Status.CANCELLED)),
            COMPLETED: self._row(COMPLETED, _visits_with(statuses, Status.COMPLETED)),
            PRESCRIBED: self._row(PRESCRIBED, prescribed),
        }
        bills = Counter(Bill.objects.filter(patient_id__in=patients).values_list("appointment_id", flat=True))
        billed = {
            key: sum(bills[visit.appointment_id] for visit in found)
            for key, found in visits.items()
            if COMPLETED in {visit.status for visit in found}
        }
        rows[BILLED] = self._row(COMPLETED, billed)
        rows[BILLED].unanswered = rows[BILLED].kept = 0
        return {operation: row for operation, row in rows.items() if row.acknowledged or row.unanswered}

    def _row(self, operation: str, found: dict[Any, int]) -> WriteCounts:
        row = WriteCounts()
        for key, is_acknowledged in self.results.get(operation, {}).items():
            copies = found.get(key, 0)
            row.doubled += max(0, copies - 1)
            if is_acknowledged:
                row.acknowledged += 1
                row.present += bool(copies)
            else:
                row.unanswered += 1
                row.kept += bool(copies)
        return row


def differing_charts(patients: Iterable[str]) -> int:
    """Return how many of the patients' charts differ from the collections."""
    different = 0
    for patient in raw.collection(Patient).find({"_id": {"$in": list(patients)}}):
        newest = {
            "appointments": appointment_queries.newest_entries(patient["_id"]),
            "prescriptions": prescription_queries.newest_entries(patient["_id"]),
        }
        different += any(patient[kind] != entries for kind, entries in newest.items())
    return different


def _visits_with(statuses: dict[Key, set[str]], status: str) -> dict[Key, int]:
    return {key: 1 for key, found in statuses.items() if status in found}

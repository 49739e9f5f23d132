"""What the load was answered, held against what is in the databases."""

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
#: Nobody asked for it: it follows from `completed`, in the other database.
BILLED = "billed"

#: What a visit is known by: the patient, the day and the time. Nothing in the database keeps an untimed one from being
#: there twice, and its id is made by the service, so that a write which was carried out twice shows.
Key = tuple[str, date, str]


@dataclass
class Row:
    """The writes of one kind. `unanswered` ended in an error; `kept` of them are there all the same, as they may."""

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
    """The answers to all writers of one client."""

    #: Deed → what it was done to → whether it was acknowledged. A prescription is known by its instructions.
    answers: dict[str, dict[Any, bool]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, deed: str, key: Any, *, acknowledged: bool) -> None:
        with self._lock:
            self.answers.setdefault(deed, {})[key] = acknowledged

    def compare(self, patients: Collection[str]) -> dict[str, Row]:
        """Each kind of write: how many were acknowledged, are there, and are there more than once."""
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
            CANCELLED: self._row(CANCELLED, _with(statuses, Status.CANCELLED)),
            COMPLETED: self._row(COMPLETED, _with(statuses, Status.COMPLETED)),
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
        return {deed: row for deed, row in rows.items() if row.acknowledged or row.unanswered}

    def _row(self, deed: str, found: dict[Any, int]) -> Row:
        row = Row()
        for key, is_acknowledged in self.answers.get(deed, {}).items():
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
    """How many of the patients' charts are not what the collections say."""
    different = 0
    for patient in raw.collection(Patient).find({"_id": {"$in": list(patients)}}):
        newest = {
            "appointments": appointment_queries.newest_entries(patient["_id"]),
            "prescriptions": prescription_queries.newest_entries(patient["_id"]),
        }
        different += any(patient[kind] != entries for kind, entries in newest.items())
    return different


def _with(statuses: dict[Key, set[str]], status: str) -> dict[Key, int]:
    return {key: 1 for key, found in statuses.items() if status in found}

"""Writes to the chart of a patient: copies of the newest appointments and prescriptions.

Each function must run in the transaction that writes the original. Each increments the patient's `revision`. Two
transactions about one patient therefore always conflict, and the later one is retried on the result of the first
(docs/decisions/0006-one-transaction-per-clinical-write.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from healthcare.mongodb import raw
from patients.models import CHART_LENGTH, Patient

Kind = Literal["appointments", "prescriptions"]
#: The id of an entry, and the fields that entries are ordered by, the newest first.
KEYS: Mapping[str, str] = {"appointments": "appointment_id", "prescriptions": "prescription_id"}
ORDER: Mapping[str, tuple[str, ...]] = {
    "appointments": ("date", "time", "appointment_id"),
    "prescriptions": ("start_date", "prescription_id"),
}


def add(kind: Kind, patient_id: str, entry: Mapping[str, object]) -> bool:
    """Insert an entry in order, if it is one of the newest. Return False if there is no such patient."""
    pushed = {"$each": [entry], "$sort": dict.fromkeys(ORDER[kind], -1), "$slice": CHART_LENGTH}
    return _update(patient_id, {"$push": {kind: pushed}})


def amend(kind: Kind, patient_id: str, key: object, changes: Mapping[str, object]) -> bool:
    """Set fields of an entry that are not part of its order. Return False if there is no such patient.

    If the entry is too old and the chart does not have it, no entry of the chart changes.
    """
    fields = {f"{kind}.$[entry].{name}": value for name, value in changes.items()}
    return _update(
        patient_id, {"$set": fields} if fields else {}, array_filters=[{f"entry.{KEYS[kind]}": key}] if fields else None
    )


def replace(kind: Kind, patient_id: str, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Replace all entries by those that the caller read in this transaction, the newest first.

    Return False if there is no such patient.
    """
    return _update(patient_id, {"$set": {kind: list(entries)}})


def _update(
    patient_id: str, update: Mapping[str, object], array_filters: Sequence[Mapping[str, Any]] | None = None
) -> bool:
    found = raw.collection(Patient).update_one(
        {"_id": patient_id}, {**update, "$inc": {"revision": 1}}, array_filters=array_filters
    )
    return bool(found.matched_count)

"""The chart inside a patient: copies of the newest appointments and prescriptions, written with their originals.

Every function belongs into the transaction that changes the original, and raises the patient's `revision`: two
transactions about one patient then always conflict, and the later one begins again on what the first has left.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from healthcare.mongodb import raw
from patients.models import CHART_LENGTH, Patient

Kind = Literal["appointments", "prescriptions"]
#: What an entry is known by, and how a chart is ordered: the newest first.
KEYS: Mapping[str, str] = {"appointments": "appointment_id", "prescriptions": "prescription_id"}
ORDER: Mapping[str, tuple[str, ...]] = {
    "appointments": ("date", "time", "appointment_id"),
    "prescriptions": ("start_date", "prescription_id"),
}


def add(kind: Kind, patient_id: str, entry: Mapping[str, Any]) -> bool:
    """Add an entry where it belongs, if it is one of the newest. False when there is no such patient."""
    pushed = {"$each": [entry], "$sort": dict.fromkeys(ORDER[kind], -1), "$slice": CHART_LENGTH}
    return _update(patient_id, {"$push": {kind: pushed}})


def amend(kind: Kind, patient_id: str, key: Any, changes: Mapping[str, Any]) -> bool:
    """Set fields of an entry that keep its place; nothing happens to it when the chart does not reach that far."""
    fields = {f"{kind}.$[entry].{name}": value for name, value in changes.items()}
    return _update(
        patient_id, {"$set": fields} if fields else {}, array_filters=[{f"entry.{KEYS[kind]}": key}] if fields else None
    )


def replace(kind: Kind, patient_id: str, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Write all entries anew: the newest, in order, as the caller read them in this transaction."""
    return _update(patient_id, {"$set": {kind: list(entries)}})


def _update(
    patient_id: str, update: Mapping[str, Any], array_filters: Sequence[Mapping[str, Any]] | None = None
) -> bool:
    found = raw.collection(Patient).update_one(
        {"_id": patient_id}, {**update, "$inc": {"revision": 1}}, array_filters=array_filters
    )
    return bool(found.matched_count)

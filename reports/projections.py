"""The projection that updates the rollups of the reports in the transaction of each clinical write.

Two writes about one patient always conflict, because each raises the patient's `revision`. Therefore one transaction at
a time reads and writes the pairs and treatments of a patient. The counters that many patients share are increased by
`$inc`, in one command at the end of the transaction, in the bucket of this thread.
"""

import itertools
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import DeleteOne, UpdateOne

from appointments.models import Appointment
from healthcare.mongodb import raw
from healthcare.mongodb.raw import Document
from prescriptions.models import Prescription
from reports import rollups
from reports.models import Counter, Pair, Treatment
from reports.rollups import Basis, CostFigures, DiseaseFigures, Fact, MonthKey, PairKey, Sums, TreatmentKey

BUCKETS = 64

#: A filter and an update, which inserts the document if there is none.
Update = tuple[Mapping[str, Any], Mapping[str, Any]]

EVENT_KINDS = frozenset(
    f"appointment.{action_name}" for action_name in ("booked", "moved", "amended", "completed", "cancelled", "deleted")
) | {"prescription.issued", "prescription.amended", "prescription.deleted", "doctor.deleted"}

_thread = threading.local()
_thread_numbers = itertools.count()


def apply_event(event: Mapping[str, Any]) -> None:
    """Update the rollups with an event, inside the transaction of the event."""
    resource = event["kind"].partition(".")[0]
    if resource == "appointment":
        _apply_appointment(event["before"], event["after"])
    elif resource == "prescription":
        _apply_prescription(event["before"], event["after"])
    else:
        _conflict_with_writes_of(event["subject_id"])


def bucket() -> int:
    """Return the bucket of this thread. The threads of a process have different buckets if there are enough."""
    if not hasattr(_thread, "bucket"):
        _thread.bucket = (os.getpid() * 7 + next(_thread_numbers)) % BUCKETS
    return _thread.bucket


def _apply_appointment(before: Fact | None, after: Fact | None) -> None:
    sums = Sums()
    pairs: dict[PairKey, int] = {}
    treatments: dict[TreatmentKey, None] = {}
    for image, sign in ((before, -1), (after, 1)):
        if image is None:
            continue
        sums.months[rollups.month_of(image)] += sign
        if pair := rollups.pair_of(image):
            pairs[pair] = pairs.get(pair, 0) + sign
        if treatment := rollups.treatment_of_appointment(image):
            treatments[treatment] = None
    for pair, change in pairs.items():
        if change:
            _change_pair(pair, change, sums)
    for treatment in treatments:
        _store_treatment(treatment, _treatment_by_appointments(treatment), sums)
    add(sums)


def _apply_prescription(before: Fact | None, after: Fact | None) -> None:
    sums = Sums()
    for image, sign in ((before, -1), (after, 1)):
        if image is not None:
            sums.add_cost(image, sign)
    treatments = (rollups.treatment_of_prescription(image) for image in (before, after) if image is not None)
    for key in {key for key in treatments if key is not None}:
        old, new = _treatments_by_prescriptions(key, before, after)
        # A second drug for the same days, for example, does not change the treatment.
        if old != new:
            _store_treatment(key, new, sums)
    written = after if before is None else None
    add(sums, guarded=[written["doctor_id"]] if written else [])


def _conflict_with_writes_of(doctor_id: str) -> None:
    """Write and delete the documents that bookings and prescriptions of a deleted doctor write, to conflict with them.

    Without the conflict, a visit could be booked or a prescription issued while the doctor is deleted.
    """
    keys = [doctor_counter(doctor_id), *(guard_id(doctor_id, number) for number in range(BUCKETS))]
    touches = [UpdateOne({"_id": key}, {"$inc": {"writes": 1}}, upsert=True) for key in keys]
    raw.collection(Counter).bulk_write([*touches, *(DeleteOne({"_id": key}) for key in keys)])


def _change_pair(key: PairKey, change: int, sums: Sums) -> None:
    where = {"_id": pair_id(key)}
    changed = raw.collection(Pair).find_one_and_update(where, {"$inc": {"n": change}}, upsert=True)
    after = changed["n"] if changed else 0
    sums.add_pair(key, after - change, after)
    if after == 0:
        raw.collection(Pair).delete_one(where)


def _treatments_by_prescriptions(
    key: TreatmentKey, before: Fact | None, after: Fact | None
) -> tuple[rollups.Treatment | None, rollups.Treatment | None]:
    """Return a treatment before and after a change of one of its prescriptions."""
    changed = (after or before or {})["id"]
    others = [each for each in _prescriptions_of(key) if each["_id"] != changed]
    images = [image if image and rollups.treatment_of_prescription(image) == key else None for image in (before, after)]
    old, new = (rollups.treatment_from_prescriptions([*others, image] if image else others) for image in images)
    return old, new


def _store_treatment(key: TreatmentKey, after: rollups.Treatment | None, sums: Sums) -> None:
    """Store a treatment and add the difference to the sums; delete it if `after` is None."""
    where = {"_id": treatment_id(key)}
    if after is None:
        before = raw.collection(Treatment).find_one(where)
        raw.collection(Treatment).delete_one(where)
    else:
        update = {"$set": {"ongoing": after.is_ongoing, "days": after.days}}
        before = raw.collection(Treatment).find_one_and_update(where, update, upsert=True, return_after=False)
    sums.add_treatment(key, treatment_from(before) if before else None, after)


def _treatment_by_appointments(key: TreatmentKey) -> rollups.Treatment | None:
    where = {"patient_id": key.patient_id, "disease": key.disease, "status": rollups.COMPLETED}
    found = raw.collection(Appointment).find(where, projection=["date"])
    return rollups.treatment_from_visits(each["date"] for each in found)


def _prescriptions_of(key: TreatmentKey) -> list[Document]:
    where = {"patient_id": key.patient_id, "disease": key.disease}
    return raw.collection(Prescription).find(where, projection=["start_date", "duration_days"])


# --- Documents -------------------------------------------------------------------------------------------------------


def pair_id(key: PairKey) -> dict[str, str]:
    return {"p": key.patient_id, "d": key.doctor_id}


def treatment_id(key: TreatmentKey) -> dict[str, str]:
    return {"p": key.patient_id, "d": key.disease, "b": key.basis}


def treatment_from(document: Mapping[str, Any]) -> rollups.Treatment:
    return rollups.Treatment(is_ongoing=document["ongoing"], days=document["days"])


def month_counter(year: int, number: int) -> str:
    return f"month {year:04d} {number}"


def disease_counter(basis: Basis, number: int) -> str:
    return f"disease {basis} {number}"


def cost_counter(number: int) -> str:
    return f"cost {number}"


def doctor_counter(doctor_id: str) -> str:
    return f"doctor {doctor_id}"


def guard_id(doctor_id: str, number: int) -> str:
    """Return the id of a document without content, which exists only so that two writes conflict.

    A new prescription writes the guard of its doctor in its own bucket. Deleting the doctor writes all of them.
    """
    return f"guard {doctor_id} {number}"


def add(sums: Sums, *, guarded: Iterable[str] = ()) -> None:
    """Add the sums to the counters with one command. `guarded` are the doctors whose guards are written."""
    writes = writes_of(sums, bucket())
    writes += [({"_id": guard_id(each, bucket())}, {"$inc": {"writes": 1}}) for each in guarded]
    if writes:
        raw.collection(Counter).update_each(writes)


def writes_of(sums: Sums, number: int) -> list[Update]:
    """Return the updates that add the sums to the counters of a bucket, without those that change nothing."""
    writes: list[Update] = []
    years: dict[int, dict[str, int]] = {}
    for month, change in sums.months.items():
        if change:
            years.setdefault(month.year, {})[_month_field(month)] = change
    writes += [({"_id": month_counter(year, number)}, {"$inc": by}) for year, by in years.items()]
    for basis in rollups.BASES:
        figures = {disease: each for (its_basis, disease), each in sums.diseases.items() if its_basis == basis}
        writes += _by_disease(disease_counter(basis, number), figures)
    writes += _by_disease(cost_counter(number), sums.costs)
    for doctor_id, of_doctor in sums.doctors.items():
        if any(of_doctor):
            update = {"$set": {"doctor_id": doctor_id}, "$inc": of_doctor._asdict()}
            writes.append(({"_id": doctor_counter(doctor_id)}, update))
    return writes


def _by_disease(key: str, figures: Mapping[str, DiseaseFigures | CostFigures]) -> list[Update]:
    """Return the update of a document with figures by disease. The field names are hashes of the diseases."""
    names: dict[str, str] = {}
    added: dict[str, int] = {}
    for disease, each in figures.items():
        if any(each):
            field = f"diseases.{rollups.disease_key(disease)}"
            names[f"{field}.name"] = disease
            added |= {f"{field}.{name}": value for name, value in each._asdict().items()}
    return [({"_id": key}, {"$set": names, "$inc": added})] if added else []


def _month_field(month: MonthKey) -> str:
    return f"months.{month.month:02d}.{month.status}"

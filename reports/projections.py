"""Keeping the rollups exact: what one clinical write changes, written in that write's own transaction.

Two writes about one patient always conflict (each raises the patient's `revision`), so the states of a patient, pairs
and treatments, are read and written by one transaction at a time. What many patients share is added to with `$inc`, all
of it in one command and last, in a bucket that belongs to this thread.
"""

import itertools
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import DeleteOne, UpdateOne

from appointments.models import Appointment
from healthcare.mongodb import raw
from prescriptions.models import Prescription
from reports import rollups
from reports.models import Counter, Pair, Treatment
from reports.rollups import Basis, CostFigures, DiseaseFigures, Fact, MonthKey, PairKey, Sums, TreatmentKey

BUCKETS = 64

#: A filter, and what is done to the document or makes it.
Update = tuple[Mapping[str, Any], Mapping[str, Any]]

KINDS = frozenset(
    f"appointment.{action_name}" for action_name in ("booked", "moved", "amended", "completed", "cancelled", "deleted")
) | {"prescription.issued", "prescription.amended", "prescription.deleted", "doctor.deleted"}

_own = threading.local()
_threads = itertools.count()


def count(event: Mapping[str, Any]) -> None:
    """The projection: bring the rollups up to date with an event, inside its transaction."""
    resource = event["kind"].partition(".")[0]
    if resource == "appointment":
        _count_appointment(event["before"], event["after"])
    elif resource == "prescription":
        _count_prescription(event["before"], event["after"])
    else:
        _forget_doctor(event["subject_id"])


def bucket() -> int:
    """This thread's bucket. Threads of one process have different ones as long as there are enough."""
    if not hasattr(_own, "bucket"):
        _own.bucket = (os.getpid() * 7 + next(_threads)) % BUCKETS
    return _own.bucket


def _count_appointment(before: Fact | None, after: Fact | None) -> None:
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
        _renew_treatment(treatment, _attendance(treatment), sums)
    add(sums)


def _count_prescription(before: Fact | None, after: Fact | None) -> None:
    sums = Sums()
    for image, sign in ((before, -1), (after, 1)):
        if image is not None:
            sums.add_cost(image, sign)
    keys = {rollups.treatment_of_prescription(image) for image in (before, after) if image is not None}
    for key in keys - {None}:
        was, now = _courses(key, before, after)  # type: ignore[arg-type]
        # A second drug of the same days, say, leaves the treatment as it is.
        if was != now:
            _renew_treatment(key, now, sums)  # type: ignore[arg-type]
    written = after if before is None else None
    add(sums, guarded=[written["doctor_id"]] if written else [])


def _forget_doctor(doctor_id: str) -> None:
    """Write and remove what bookings and prescriptions of the doctor write: those that are under way conflict with it.

    Else a visit could be booked, or a prescription issued, with a doctor who is being deleted.
    """
    keys = [doctor_counter(doctor_id), *(guard(doctor_id, number) for number in range(BUCKETS))]
    touches = [UpdateOne({"_id": key}, {"$inc": {"writes": 1}}, upsert=True) for key in keys]
    raw.collection(Counter).bulk_write([*touches, *(DeleteOne({"_id": key}) for key in keys)])


def _change_pair(key: PairKey, change: int, sums: Sums) -> None:
    where = {"_id": pair_id(key)}
    changed = raw.collection(Pair).find_one_and_update(where, {"$inc": {"n": change}}, upsert=True)
    after = changed["n"] if changed else 0
    sums.add_pair(key, after - change, after)
    if after == 0:
        raw.collection(Pair).delete_one(where)


def _courses(
    key: TreatmentKey, before: Fact | None, after: Fact | None
) -> tuple[rollups.Treatment | None, rollups.Treatment | None]:
    """The treatment without a change of one of its prescriptions, and with it."""
    changed = (after or before or {})["id"]
    others = [each for each in _prescriptions_of(key) if each["_id"] != changed]
    images = [image if image and rollups.treatment_of_prescription(image) == key else None for image in (before, after)]
    was, now = (rollups.course([*others, image] if image else others) for image in images)
    return was, now


def _renew_treatment(key: TreatmentKey, after: rollups.Treatment | None, sums: Sums) -> None:
    """Store what a treatment is now, by its facts as they are in this transaction."""
    where = {"_id": treatment_id(key)}
    if after is None:
        before = raw.collection(Treatment).find_one(where)
        raw.collection(Treatment).delete_one(where)
    else:
        said = {"$set": {"ongoing": after.is_ongoing, "days": after.days}}
        before = raw.collection(Treatment).find_one_and_update(where, said, upsert=True, return_after=False)
    sums.add_treatment(key, treatment_from(before) if before else None, after)


def _attendance(key: TreatmentKey) -> rollups.Treatment | None:
    where = {"patient_id": key.patient_id, "disease": key.disease, "status": rollups.COMPLETED}
    found = raw.collection(Appointment).find(where, projection=["date"])
    return rollups.attendance(each["date"] for each in found)


def _prescriptions_of(key: TreatmentKey) -> list[dict[str, Any]]:
    where = {"patient_id": key.patient_id, "disease": key.disease}
    return raw.collection(Prescription).find(where, projection=["start_date", "duration_days"])


# --- The documents ---------------------------------------------------------------------------------------------------


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


def guard(doctor_id: str, number: int) -> str:
    """A document that says nothing: a prescription writes one of the doctor's, a deletion of the doctor all."""
    return f"guard {doctor_id} {number}"


def add(sums: Sums, *, guarded: Iterable[str] = ()) -> None:
    """Add to the counters, in one command."""
    writes = writes_of(sums, bucket())
    writes += [({"_id": guard(each, bucket())}, {"$inc": {"writes": 1}}) for each in guarded]
    if writes:
        raw.collection(Counter).update_each(writes)


def writes_of(sums: Sums, number: int) -> list[Update]:
    """The updates that add to the counters in a bucket; nothing for what does not change."""
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
            said = {"$set": {"doctor_id": doctor_id}, "$inc": of_doctor._asdict()}
            writes.append(({"_id": doctor_counter(doctor_id)}, said))
    return writes


def _by_disease(key: str, figures: Mapping[str, DiseaseFigures | CostFigures]) -> list[Update]:
    """The update of a document that has a figure for each disease, under a name that MongoDB takes."""
    said: dict[str, str] = {}
    added: dict[str, int] = {}
    for disease, each in figures.items():
        if any(each):
            field = f"diseases.{rollups.disease_key(disease)}"
            said[f"{field}.name"] = disease
            added |= {f"{field}.{name}": value for name, value in each._asdict().items()}
    return [({"_id": key}, {"$set": said, "$inc": added})] if added else []


def _month_field(month: MonthKey) -> str:
    return f"months.{month.month:02d}.{month.status}"

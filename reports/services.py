"""Services that rebuild the rollups from the facts and that compare both."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from bson import MaxKey
from django.db import models
from pymongo import DeleteOne, ReplaceOne, UpdateOne

from appointments.models import Appointment
from healthcare.mongodb import raw
from healthcare.mongodb.transactions import clinical_transaction
from patients.models import Patient
from prescriptions.models import Prescription
from reports import pipelines, projections, rollups
from reports.models import Counter, Pair, Treatment
from reports.rollups import (
    BASES,
    CostFigures,
    DiseaseFigures,
    DoctorFigures,
    MonthKey,
    PairKey,
    PatientRollups,
    Sums,
    TreatmentKey,
)

#: Patients whose pairs and treatments one transaction rebuilds. The transaction must commit within seconds.
PATIENTS_PER_TRANSACTION = 100
MAX_TIME_MS = 60_000
#: The bucket of corrections, which belongs to no thread.
CORRECTIONS = projections.BUCKETS
#: Counters that one transaction corrects. The number is low because bookings write the counters of doctors meanwhile.
CORRECTIONS_PER_TRANSACTION = 20
#: The id of the counter of corrections, by which a process sees that another one has corrected counters.
CORRECTION_COUNT = "corrections"


def is_rebuild_needed() -> bool:
    """Return whether there are records and no rollups at all."""
    if raw.collection(Counter).find_one({}, projection=["_id"]):
        return False
    return any(raw.collection(model).find_one({}, projection=["_id"]) for model in (Appointment, Prescription))


@clinical_transaction
def reconcile(
    *,
    patient_ids: Sequence[str],
    new_appointments: Iterable[rollups.Fact] = (),
    new_prescriptions: Iterable[rollups.Fact] = (),
) -> int:
    """Rebuild the pairs and treatments of some patients from their facts, and return how many were wrong.

    The patients' revisions are raised, so that a concurrent write about one of them is retried. The differences are
    added to the counters, as well as the months and costs of the documents that are new in this transaction.
    """
    raw.collection(Patient).update_many({"_id": {"$in": list(patient_ids)}}, {"$inc": {"revision": 1}})
    expected, stored = rollups.patient_rollups(*_facts_of(patient_ids)), stored_rollups(patient_ids)
    sums = _sums_of(expected, stored)
    for appointment in new_appointments:
        sums.months[rollups.month_of(appointment)] += 1
    for prescription in new_prescriptions:
        sums.add_cost(prescription, 1)
    corrected = _write_differences(expected, stored)
    projections.add(sums)
    return corrected


def add_new(*, appointments: Iterable[raw.Document], prescriptions: Iterable[raw.Document]) -> None:
    """Add the rollups of new patients with all of their facts, as the seeder makes them.

    No transaction is needed, because an interrupted run of the seeder is deleted as a whole.
    """
    expected = rollups.patient_rollups(appointments, prescriptions)
    sums = _sums_of(expected, PatientRollups())
    for appointment in appointments:
        sums.months[rollups.month_of(appointment)] += 1
    for prescription in prescriptions:
        sums.add_cost(prescription, 1)
    _write(Pair, (ReplaceOne({"_id": i}, d, upsert=True) for i, d in _pair_documents(expected.pairs)))
    _write(Treatment, (ReplaceOne({"_id": i}, d, upsert=True) for i, d in _treatment_documents(expected.treatments)))
    projections.add(sums)


def rebuild() -> Iterator[tuple[int, int]]:
    """Rebuild all rollups from the facts while the system runs. Yields (patients checked, figures corrected) so far.

    The pairs and treatments are rebuilt first, for some patients at a time (`reconcile`), in conflict with the writes
    about these patients. Then the counters are compared with the facts in one snapshot of MongoDB, and the difference
    is added to them. A write after the snapshot changes counters and facts alike, so nothing is lost or added twice.
    """
    checked = corrected = 0
    for patient_ids in _patients():
        corrected += reconcile(patient_ids=patient_ids)
        checked += len(patient_ids)
        yield checked, corrected
    corrected += correct_counters()
    yield checked, corrected


def correct_counters() -> int:
    """Add the difference to the counters that are wrong, and return how many were wrong.

    Each transaction corrects some counters, if no other process has corrected any since they were compared. If another
    process has, this one compares again, because both would add the same difference.
    """
    found: int | None = None
    while True:
        wrong, turn = _compare_counters()
        found = count_of(wrong) if found is None else found
        writes = projections.writes_of(wrong, CORRECTIONS)
        try:
            for start in range(0, len(writes), CORRECTIONS_PER_TRANSACTION):
                turn = _correct(writes[start : start + CORRECTIONS_PER_TRANSACTION], turn=turn)
        except _ConcurrentCorrection:
            continue
        return found


class _ConcurrentCorrection(Exception):
    """Another process has corrected the counters since they were compared."""


@clinical_transaction
def _correct(writes: Sequence[projections.Update], *, turn: int) -> int:
    count = raw.collection(Counter).find_one_and_update({"_id": CORRECTION_COUNT}, {"$inc": {"turn": 1}}, upsert=True)
    if count is None or count["turn"] != turn + 1:
        raise _ConcurrentCorrection
    raw.collection(Counter).update_each(writes)
    return turn + 1


def wrong_counters() -> Sums:
    """Return the difference between the facts and the counters, read in one snapshot."""
    return _compare_counters()[0]


def _compare_counters() -> tuple[Sums, int]:
    with raw.snapshot():
        count = raw.collection(Counter).find_one({"_id": CORRECTION_COUNT}) or {"turn": 0}
        return difference(counters_of_facts(), stored_counters()), count["turn"]


def count_of(sums: Sums) -> int:
    """Count the figures of the sums that are not zero."""
    return (
        sum(1 for each in sums.months.values() if each)
        + sum(1 for each in sums.doctors.values() if any(each))
        + sum(1 for each in sums.diseases.values() if any(each))
        + sum(1 for each in sums.costs.values() if any(each))
    )


def counters_of_facts() -> Sums:
    """Return the correct counters: months and doctors from appointments, diseases from treatments, costs from facts."""
    sums = Sums()
    for each in raw.aggregate(Appointment, pipelines.months_of_facts(), max_time_ms=MAX_TIME_MS):
        key = MonthKey(each["_id"]["year"], each["_id"]["month"], each["_id"]["status"])
        sums.months[key] = each["appointments"]
    doctors = raw.aggregate(
        Appointment, pipelines.doctors_of_period(), hint=pipelines.PERIOD_INDEX, max_time_ms=MAX_TIME_MS
    )
    for each in doctors:
        sums.doctors[each["doctor_id"]] = DoctorFigures(each["patients"], each["appointments"])
    for each in raw.aggregate(Treatment, pipelines.diseases_of_treatments(), max_time_ms=MAX_TIME_MS):
        key_of_disease = each["_id"]["basis"], each["_id"]["disease"]
        sums.diseases[key_of_disease] = DiseaseFigures(each["patients"], each["ongoing"], each["days"])
    for each in raw.aggregate(Prescription, pipelines.costs_of_facts(), max_time_ms=MAX_TIME_MS):
        # MongoDB returns the integer 0 as the sum of no decimals.
        cents = rollups.cents_of(Decimal(each["cost"])) or 0
        sums.costs[each["_id"]] = CostFigures(each["prescriptions"], each["costed"], cents)
    return sums


def stored_counters() -> Sums:
    """Return the stored counters, with the buckets added up."""
    sums = Sums()
    for document in raw.collection(Counter).find({}, max_time_ms=MAX_TIME_MS):
        kind, _, rest = document["_id"].partition(" ")
        if kind == "month":
            for month, statuses in document["months"].items():
                for status, number in statuses.items():
                    sums.months[MonthKey(int(rest.split()[0]), int(month), status)] += number
        elif kind == "doctor":
            sums.doctors[rest] = DoctorFigures(document.get("patients", 0), document.get("appointments", 0))
        elif kind == "disease":
            basis = next(each for each in BASES if rest.startswith(f"{each} "))
            for each in document["diseases"].values():
                figures = DiseaseFigures(*(each.get(name, 0) for name in DiseaseFigures._fields))
                key = basis, each["name"]
                sums.diseases[key] = DiseaseFigures(*map(sum, zip(sums.diseases[key], figures, strict=True)))
        elif kind == "cost":
            for each in document["diseases"].values():
                costs = CostFigures(*(each.get(name, 0) for name in CostFigures._fields))
                sums.costs[each["name"]] = CostFigures(*map(sum, zip(sums.costs[each["name"]], costs, strict=True)))
    return sums


def difference(expected: Sums, stored: Sums) -> Sums:
    """Return the sums that must be added to the stored sums to get the expected ones."""
    result = Sums()
    for month in {*expected.months, *stored.months}:
        result.months[month] = expected.months.get(month, 0) - stored.months.get(month, 0)
    for doctor_id in {*expected.doctors, *stored.doctors}:
        one, other = (each.doctors.get(doctor_id, DoctorFigures()) for each in (expected, stored))
        result.doctors[doctor_id] = DoctorFigures(*(a - b for a, b in zip(one, other, strict=True)))
    for key in {*expected.diseases, *stored.diseases}:
        mine, theirs = (each.diseases.get(key, DiseaseFigures()) for each in (expected, stored))
        result.diseases[key] = DiseaseFigures(*(a - b for a, b in zip(mine, theirs, strict=True)))
    for disease in {*expected.costs, *stored.costs}:
        these, those = (each.costs.get(disease, CostFigures()) for each in (expected, stored))
        result.costs[disease] = CostFigures(*(a - b for a, b in zip(these, those, strict=True)))
    return result


# --- Comparison ------------------------------------------------------------------------------------------------------


def find_differences() -> Iterator[str]:
    """Yield a sentence about every rollup that differs from the facts. The sentences have ids and figures, no names."""
    wrong = wrong_counters()
    for month, number in sorted(wrong.months.items()):
        if number:
            yield f"{month.year}-{month.month:02d}, {month.status}: the counter is wrong by {-number:+d}."
    for doctor_id, figures in sorted(wrong.doctors.items()):
        if any(figures):
            by = f"patients wrong by {-figures.patients:+d}, appointments by {-figures.appointments:+d}"
            yield f"Doctor {doctor_id}: {by}."
    for (basis, disease), sums in sorted(wrong.diseases.items()):
        if any(sums):
            yield (
                f"{disease} by {basis}: patients wrong by {-sums.patients:+d}, ongoing by {-sums.ongoing:+d}, "
                f"days by {-sums.days:+d}."
            )
    for disease, costs in sorted(wrong.costs.items()):
        if any(costs):
            by = f"{-costs.prescriptions:+d} prescriptions, {-costs.cents:+d} hundredths"
            yield f"The costs of {disease} are wrong by {by}."
    for patient_ids in _patients():
        yield from _wrong_patient_rollups(patient_ids)


@clinical_transaction
def _wrong_patient_rollups(patient_ids: Sequence[str]) -> list[str]:
    expected, stored = rollups.patient_rollups(*_facts_of(patient_ids)), stored_rollups(patient_ids)
    sentences = [
        f"Patient {pair.patient_id} and doctor {pair.doctor_id}: {stored.pairs.get(pair, 0)} appointments are counted "
        f"instead of {expected.pairs.get(pair, 0)}."
        for pair in sorted({*expected.pairs, *stored.pairs})
        if expected.pairs.get(pair) != stored.pairs.get(pair)
    ]
    return sentences + [
        f"Patient {key.patient_id}: the treatment by {key.basis} differs from the records."
        for key in sorted({*expected.treatments, *stored.treatments})
        if expected.treatments.get(key) != stored.treatments.get(key)
    ]


# --- Pairs and treatments --------------------------------------------------------------------------------------------


def stored_rollups(patient_ids: Sequence[str]) -> PatientRollups:
    """Return the stored pairs and treatments of some patients."""
    # The documents of a patient are one range of the primary key.
    of_patients = {"$or": [{"_id": {"$gte": {"p": each}, "$lte": {"p": each, "d": MaxKey()}}} for each in patient_ids]}
    result = PatientRollups()
    for each in raw.collection(Pair).find(of_patients, max_time_ms=MAX_TIME_MS):
        result.pairs[PairKey(each["_id"]["d"], each["_id"]["p"])] = each["n"]
    for each in raw.collection(Treatment).find(of_patients, max_time_ms=MAX_TIME_MS):
        key = TreatmentKey(each["_id"]["b"], each["_id"]["p"], each["_id"]["d"])
        result.treatments[key] = projections.treatment_from(each)
    return result


def _facts_of(patient_ids: Sequence[str]) -> tuple[list[raw.Document], list[raw.Document]]:
    where = {"patient_id": {"$in": list(patient_ids)}}
    appointments = raw.collection(Appointment).find(
        where, projection=["patient_id", "doctor_id", "date", "status", "disease"], max_time_ms=MAX_TIME_MS
    )
    prescriptions = raw.collection(Prescription).find(
        where, projection=["patient_id", "disease", "start_date", "duration_days"], max_time_ms=MAX_TIME_MS
    )
    return appointments, prescriptions


def _write_differences(expected: PatientRollups, stored: PatientRollups) -> int:
    """Write the pairs and treatments that differ, and return how many did."""
    pairs = {key for key in {*expected.pairs, *stored.pairs} if expected.pairs.get(key) != stored.pairs.get(key)}
    treatments = {
        key
        for key in {*expected.treatments, *stored.treatments}
        if expected.treatments.get(key) != stored.treatments.get(key)
    }
    kept_pairs = {key: expected.pairs[key] for key in pairs if key in expected.pairs}
    deleted_pairs = [DeleteOne({"_id": projections.pair_id(key)}) for key in pairs - kept_pairs.keys()]
    _write(Pair, [*deleted_pairs, *(ReplaceOne({"_id": i}, d, upsert=True) for i, d in _pair_documents(kept_pairs))])
    kept = {key: expected.treatments[key] for key in treatments if key in expected.treatments}
    deleted = [DeleteOne({"_id": projections.treatment_id(key)}) for key in treatments - kept.keys()]
    _write(Treatment, [*deleted, *(ReplaceOne({"_id": i}, d, upsert=True) for i, d in _treatment_documents(kept))])
    return len(pairs) + len(treatments)


def _sums_of(expected: PatientRollups, stored: PatientRollups) -> Sums:
    """Return the changes of the counters if the stored pairs and treatments become the expected ones."""
    sums = Sums()
    for pair in {*expected.pairs, *stored.pairs}:
        sums.add_pair(pair, stored.pairs.get(pair, 0), expected.pairs.get(pair, 0))
    for key in {*expected.treatments, *stored.treatments}:
        sums.add_treatment(key, stored.treatments.get(key), expected.treatments.get(key))
    return sums


def _pair_documents(pairs: dict[PairKey, int]) -> Iterator[tuple[raw.Document, raw.Document]]:
    return ((projections.pair_id(key), {"n": number}) for key, number in pairs.items())


def _treatment_documents(
    treatments: dict[TreatmentKey, rollups.Treatment],
) -> Iterator[tuple[raw.Document, raw.Document]]:
    for key, each in treatments.items():
        yield projections.treatment_id(key), {"ongoing": each.is_ongoing, "days": each.days}


def _write(model: type[models.Model], writes: Iterable[ReplaceOne | DeleteOne | UpdateOne]) -> None:
    listed: list[Any] = list(writes)
    if listed:
        raw.collection(model).bulk_write(listed, is_ordered=False, max_time_ms=MAX_TIME_MS)


def _patients() -> Iterator[list[str]]:
    """Yield the ids of all patients in batches, including deleted patients who still have pairs or treatments."""
    after = ""
    while True:
        found = raw.collection(Patient).find(
            {"_id": {"$gt": after}}, projection=["_id"], sort=[("_id", 1)], limit=PATIENTS_PER_TRANSACTION
        )
        if not found:
            break
        after = found[-1]["_id"]
        yield [each["_id"] for each in found]
    yield from _deleted_patients()


def _deleted_patients() -> Iterator[list[str]]:
    """Yield the ids of patients who have pairs or treatments and no record. A correct delete leaves none."""
    for model in (Pair, Treatment):
        patient_ids: set[str] = set()
        for each in raw.collection(model).stream([{"$group": {"_id": "$_id.p"}}]):
            patient_ids.add(each["_id"])
            if len(patient_ids) == PATIENTS_PER_TRANSACTION:
                yield from _without_record(patient_ids)
                patient_ids.clear()
        yield from _without_record(patient_ids)


def _without_record(patient_ids: set[str]) -> Iterator[list[str]]:
    existing = raw.collection(Patient).find({"_id": {"$in": sorted(patient_ids)}}, projection=["_id"])
    missing = patient_ids - {each["_id"] for each in existing}
    if missing:
        yield sorted(missing)

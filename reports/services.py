"""Making the rollups anew from the facts, and comparing the two."""

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
    States,
    Sums,
    TreatmentKey,
)

#: Patients whose states one transaction makes anew: it has to end within some seconds.
PATIENTS_AT_ONCE = 100
MAX_TIME_MS = 60_000
#: The bucket of corrections, which belongs to no thread.
CORRECTIONS = projections.BUCKETS
#: Counters that one transaction corrects: bookings write those of doctors at the same time.
CORRECTIONS_AT_ONCE = 20
#: Counts the corrections, and says so to whoever is about to make one.
TURNS = "corrections"


def are_missing() -> bool:
    """Whether there are records to count and nothing was ever counted."""
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
    """Make the states of some patients what their facts say; how many were not.

    It raises the patients' revisions, so that a write about one of them at the same time begins again. What the states
    changed by is added to the counters, like every other write, and so are the months and costs of what is new in this
    transaction.
    """
    raw.collection(Patient).update_many({"_id": {"$in": list(patient_ids)}}, {"$inc": {"revision": 1}})
    expected, stored = rollups.states_of(*_facts_of(patient_ids)), stored_states(patient_ids)
    sums = _sums_of(expected, stored)
    for appointment in new_appointments:
        sums.months[rollups.month_of(appointment)] += 1
    for prescription in new_prescriptions:
        sums.add_cost(prescription, 1)
    mended = _settle(expected, stored)
    projections.add(sums)
    return mended


def add_new(*, appointments: Iterable[raw.Document], prescriptions: Iterable[raw.Document]) -> None:
    """Count the facts of patients who have just come with all of them, as the seeder makes them.

    Not in a transaction: an interrupted run of the seeder is flushed as a whole.
    """
    expected = rollups.states_of(appointments, prescriptions)
    sums = _sums_of(expected, States())
    for appointment in appointments:
        sums.months[rollups.month_of(appointment)] += 1
    for prescription in prescriptions:
        sums.add_cost(prescription, 1)
    _write(Pair, (ReplaceOne({"_id": i}, d, upsert=True) for i, d in _pair_documents(expected.pairs)))
    _write(Treatment, (ReplaceOne({"_id": i}, d, upsert=True) for i, d in _treatment_documents(expected.treatments)))
    projections.add(sums)


def rebuild() -> Iterator[tuple[int, int]]:
    """Make all rollups what the facts say, while the system runs; yields (patients looked at, states mended) so far.

    States are made anew some patients at a time (`reconcile`), which conflicts with the writes about those. Then the
    counters: at one moment of MongoDB's history they are compared with the facts, and what they are wrong by is added
    to them. Writes since that moment have moved both alike, so nothing is lost or told twice.
    """
    looked_at = mended = 0
    for some in _patients():
        mended += reconcile(patient_ids=some)
        looked_at += len(some)
        yield looked_at, mended
    mended += correct_counters()
    yield looked_at, mended


def correct_counters() -> int:
    """Add to the counters what they are wrong by; how many were.

    Some at a time, and each time only while nobody else has corrected any since they were compared: of two rebuilds at
    once one begins again, where both would have added the same.
    """
    found: int | None = None
    while True:
        wrong, turn = _compare_counters()
        found = count_of(wrong) if found is None else found
        writes = projections.writes_of(wrong, CORRECTIONS)
        try:
            for start in range(0, len(writes), CORRECTIONS_AT_ONCE):
                turn = _correct(writes[start : start + CORRECTIONS_AT_ONCE], turn=turn)
        except _Overtaken:
            continue
        return found


class _Overtaken(Exception):
    """Somebody else has corrected the counters since they were compared."""


@clinical_transaction
def _correct(writes: Sequence[projections.Update], *, turn: int) -> int:
    taken = raw.collection(Counter).find_one_and_update({"_id": TURNS}, {"$inc": {"turn": 1}}, upsert=True)
    if taken is None or taken["turn"] != turn + 1:
        raise _Overtaken
    raw.collection(Counter).update_each(writes)
    return turn + 1


def wrong_counters() -> Sums:
    """By how much the counters differ from the facts and states, all read at one moment."""
    return _compare_counters()[0]


def _compare_counters() -> tuple[Sums, int]:
    with raw.snapshot():
        taken = raw.collection(Counter).find_one({"_id": TURNS}) or {"turn": 0}
        return difference(counters_of_facts(), stored_counters()), taken["turn"]


def count_of(sums: Sums) -> int:
    """How many figures of sums are not zero."""
    return (
        sum(1 for each in sums.months.values() if each)
        + sum(1 for each in sums.doctors.values() if any(each))
        + sum(1 for each in sums.diseases.values() if any(each))
        + sum(1 for each in sums.costs.values() if any(each))
    )


def counters_of_facts() -> Sums:
    """What the counters have to be: months and doctors from the appointments, diseases from the treatments."""
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
        # The sum of no Decimal is the integer 0.
        cents = rollups.cents_of(Decimal(each["cost"])) or 0
        sums.costs[each["_id"]] = CostFigures(each["prescriptions"], each["costed"], cents)
    return sums


def stored_counters() -> Sums:
    """What the counters are, buckets added up."""
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
    """What has to be added to the stored sums to make them what is expected."""
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


# --- Comparing -------------------------------------------------------------------------------------------------------


def find_differences() -> Iterator[str]:
    """Sentences about every rollup that is not what the facts say; ids and figures, no names."""
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
            yield f"The costs of {disease}: {-costs.prescriptions:+d} prescriptions, {-costs.cents:+d} hundredths."
    for some in _patients():
        yield from _wrong_states(some)


@clinical_transaction
def _wrong_states(patient_ids: Sequence[str]) -> list[str]:
    expected, stored = rollups.states_of(*_facts_of(patient_ids)), stored_states(patient_ids)
    sentences = [
        f"Patient {pair.patient_id} and doctor {pair.doctor_id}: {stored.pairs.get(pair, 0)} appointments are counted, "
        f"there are {expected.pairs.get(pair, 0)}."
        for pair in sorted({*expected.pairs, *stored.pairs})
        if expected.pairs.get(pair) != stored.pairs.get(pair)
    ]
    return sentences + [
        f"Patient {key.patient_id}: a treatment by {key.basis} is not what the records say."
        for key in sorted({*expected.treatments, *stored.treatments})
        if expected.treatments.get(key) != stored.treatments.get(key)
    ]


# --- States ----------------------------------------------------------------------------------------------------------


def stored_states(patient_ids: Sequence[str]) -> States:
    """The states as they are stored."""
    # A patient's documents are one range of the primary key.
    of_patients = {"$or": [{"_id": {"$gte": {"p": each}, "$lte": {"p": each, "d": MaxKey()}}} for each in patient_ids]}
    states = States()
    for each in raw.collection(Pair).find(of_patients, max_time_ms=MAX_TIME_MS):
        states.pairs[PairKey(each["_id"]["d"], each["_id"]["p"])] = each["n"]
    for each in raw.collection(Treatment).find(of_patients, max_time_ms=MAX_TIME_MS):
        key = TreatmentKey(each["_id"]["b"], each["_id"]["p"], each["_id"]["d"])
        states.treatments[key] = projections.treatment_from(each)
    return states


def _facts_of(patient_ids: Sequence[str]) -> tuple[list[raw.Document], list[raw.Document]]:
    where = {"patient_id": {"$in": list(patient_ids)}}
    appointments = raw.collection(Appointment).find(
        where, projection=["patient_id", "doctor_id", "date", "status", "disease"], max_time_ms=MAX_TIME_MS
    )
    prescriptions = raw.collection(Prescription).find(
        where, projection=["patient_id", "disease", "start_date", "duration_days"], max_time_ms=MAX_TIME_MS
    )
    return appointments, prescriptions


def _settle(expected: States, stored: States) -> int:
    """Write the states that differ; how many did."""
    pairs = {key for key in {*expected.pairs, *stored.pairs} if expected.pairs.get(key) != stored.pairs.get(key)}
    treatments = {
        key
        for key in {*expected.treatments, *stored.treatments}
        if expected.treatments.get(key) != stored.treatments.get(key)
    }
    there = {key: expected.pairs[key] for key in pairs if key in expected.pairs}
    gone = [DeleteOne({"_id": projections.pair_id(key)}) for key in pairs - there.keys()]
    _write(Pair, [*gone, *(ReplaceOne({"_id": i}, d, upsert=True) for i, d in _pair_documents(there))])
    kept = {key: expected.treatments[key] for key in treatments if key in expected.treatments}
    ended = [DeleteOne({"_id": projections.treatment_id(key)}) for key in treatments - kept.keys()]
    _write(Treatment, [*ended, *(ReplaceOne({"_id": i}, d, upsert=True) for i, d in _treatment_documents(kept))])
    return len(pairs) + len(treatments)


def _sums_of(expected: States, stored: States) -> Sums:
    """What it changes in the counters when the stored states become the expected ones."""
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
    """All patients who have or had something to count, some at a time: those with facts, and those with states."""
    after = ""
    while True:
        found = raw.collection(Patient).find(
            {"_id": {"$gt": after}}, projection=["_id"], sort=[("_id", 1)], limit=PATIENTS_AT_ONCE
        )
        if not found:
            break
        after = found[-1]["_id"]
        yield [each["_id"] for each in found]
    yield from _strays()


def _strays() -> Iterator[list[str]]:
    """Patients who are named by states and facts and are not there; a delete is refused while there are any."""
    for model in (Pair, Treatment):
        named: set[str] = set()
        for each in raw.collection(model).stream([{"$group": {"_id": "$_id.p"}}]):
            named.add(each["_id"])
            if len(named) == PATIENTS_AT_ONCE:
                yield from _without_record(named)
                named.clear()
        yield from _without_record(named)


def _without_record(patient_ids: set[str]) -> Iterator[list[str]]:
    there = raw.collection(Patient).find({"_id": {"$in": sorted(patient_ids)}}, projection=["_id"])
    strays = patient_ids - {each["_id"] for each in there}
    if strays:
        yield sorted(strays)

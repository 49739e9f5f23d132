"""Calculation of the rollups as pure functions: the only place that defines how records are counted.

`reports.projections` applies them to one write, `rebuild_reports` and the seeder to many patients at once. A fact is an
appointment or a prescription as a dict with the field names of the API. Its dates are `date`s, or midnights in UTC as
MongoDB stores them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

Basis = Literal["prescriptions", "appointments"]
BASES: tuple[Basis, ...] = ("prescriptions", "appointments")
COMPLETED, CANCELLED = "completed", "cancelled"
#: The statuses of the appointments that count for a doctor. The index for periods holds only these appointments.
COUNTED = ("completed", "scheduled")

Fact = Mapping[str, Any]


class PairKey(NamedTuple):
    doctor_id: str
    patient_id: str


class TreatmentKey(NamedTuple):
    basis: Basis
    patient_id: str
    disease: str


class Treatment(NamedTuple):
    """A treatment of one patient and disease. `days` is 0 while it is ongoing; averages leave it out."""

    is_ongoing: bool
    days: int


class MonthKey(NamedTuple):
    year: int
    month: int
    status: str


class DoctorFigures(NamedTuple):
    patients: int = 0
    appointments: int = 0

    def plus(self, patients: int, appointments: int) -> "DoctorFigures":
        return DoctorFigures(self.patients + patients, self.appointments + appointments)


class DiseaseFigures(NamedTuple):
    """Figures over treatments: all patients, those with an ongoing treatment, and the days of the other treatments."""

    patients: int = 0
    ongoing: int = 0
    days: int = 0

    def plus(self, treatment: Treatment, sign: int) -> "DiseaseFigures":
        return DiseaseFigures(
            self.patients + sign, self.ongoing + sign * treatment.is_ongoing, self.days + sign * treatment.days
        )


class CostFigures(NamedTuple):
    """Figures over prescriptions: all, those with a cost, and the sum of the costs in hundredths, which is exact."""

    prescriptions: int = 0
    costed: int = 0
    cents: int = 0

    def plus(self, cents: int | None, sign: int) -> "CostFigures":
        return CostFigures(
            self.prescriptions + sign, self.costed + sign * (cents is not None), self.cents + sign * (cents or 0)
        )


@dataclass
class PatientRollups:
    """Rollups that depend on the facts of one patient each: pairs and treatments."""

    pairs: dict[PairKey, int] = field(default_factory=dict)
    treatments: dict[TreatmentKey, Treatment] = field(default_factory=dict)


@dataclass
class Sums:
    """Sums over many patients: the values of the counters, or changes to be added to them."""

    months: dict[MonthKey, int] = field(default_factory=lambda: defaultdict(int))
    doctors: dict[str, DoctorFigures] = field(default_factory=lambda: defaultdict(DoctorFigures))
    diseases: dict[tuple[Basis, str], DiseaseFigures] = field(default_factory=lambda: defaultdict(DiseaseFigures))
    costs: dict[str, CostFigures] = field(default_factory=lambda: defaultdict(CostFigures))

    def add_pair(self, key: PairKey, before: int, after: int) -> None:
        gained = (after > 0) - (before > 0)
        if gained or after != before:
            self.doctors[key.doctor_id] = self.doctors[key.doctor_id].plus(gained, after - before)

    def add_cost(self, prescription: Fact, sign: int) -> None:
        if disease := prescription["disease"]:
            self.costs[disease] = self.costs[disease].plus(cents_of(prescription["cost"]), sign)

    def add_treatment(self, key: TreatmentKey, before: Treatment | None, after: Treatment | None) -> None:
        if before == after:
            return
        of_disease = key.basis, key.disease
        for treatment, sign in ((before, -1), (after, 1)):
            if treatment is not None:
                self.diseases[of_disease] = self.diseases[of_disease].plus(treatment, sign)


def month_of(appointment: Fact) -> MonthKey:
    day = day_of(appointment["date"])
    return MonthKey(day.year, day.month, str(appointment["status"]))


def pair_of(appointment: Fact) -> PairKey | None:
    """Return the pair of an appointment, or None if it is cancelled and therefore does not count."""
    if appointment["status"] == CANCELLED:
        return None
    return PairKey(appointment["doctor_id"], appointment["patient_id"])


def treatment_of_appointment(appointment: Fact) -> TreatmentKey | None:
    if appointment["status"] != COMPLETED or not appointment["disease"]:
        return None
    return TreatmentKey("appointments", appointment["patient_id"], appointment["disease"])


def treatment_of_prescription(prescription: Fact) -> TreatmentKey | None:
    if not prescription["disease"]:
        return None
    return TreatmentKey("prescriptions", prescription["patient_id"], prescription["disease"])


def treatment_from_prescriptions(prescriptions: Iterable[Fact]) -> Treatment | None:
    """Return the treatment of one patient and disease by its prescriptions, or None if there are none.

    Units:   whole days from the earliest start to the latest end, both counted; ongoing if any end is open
    Source:  docs/reports.md, "disease-trends"
    """
    spans = [(day_of(each["start_date"]).toordinal(), each["duration_days"]) for each in prescriptions]
    if not spans:
        return None
    if any(not days for _, days in spans):
        return Treatment(is_ongoing=True, days=0)
    first = min(start for start, _ in spans)
    return Treatment(is_ongoing=False, days=max(start + days - 1 for start, days in spans) - first + 1)


def treatment_from_visits(days: Iterable[date | datetime]) -> Treatment | None:
    """Return the treatment of one patient and disease by the days of completed visits, or None if there are none.

    Units:   whole days from the first to the last visit, both counted
    Source:  docs/reports.md, "disease-trends"
    """
    ordinals = [day_of(day).toordinal() for day in days]
    if not ordinals:
        return None
    return Treatment(is_ongoing=False, days=max(ordinals) - min(ordinals) + 1)


def patient_rollups(appointments: Iterable[Fact], prescriptions: Iterable[Fact]) -> PatientRollups:
    """Return the pairs and treatments of some patients from all of their facts."""
    result = PatientRollups()
    visits: dict[TreatmentKey, list[Any]] = defaultdict(list)
    courses: dict[TreatmentKey, list[Fact]] = defaultdict(list)
    for appointment in appointments:
        if pair := pair_of(appointment):
            result.pairs[pair] = result.pairs.get(pair, 0) + 1
        if key := treatment_of_appointment(appointment):
            visits[key].append(appointment["date"])
    for prescription in prescriptions:
        if key := treatment_of_prescription(prescription):
            courses[key].append(prescription)
    for key, days in visits.items():
        if treatment := treatment_from_visits(days):
            result.treatments[key] = treatment
    for key, facts in courses.items():
        if treatment := treatment_from_prescriptions(facts):
            result.treatments[key] = treatment
    return result


def cents_of(cost: Any) -> int | None:
    """Return an amount in hundredths. The seeder passes MongoDB's Decimal128 instead of Decimal."""
    if cost is None:
        return None
    amount = cost.to_decimal() if hasattr(cost, "to_decimal") else cost
    return int(amount.scaleb(2))


def day_of(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value


def disease_key(disease: str) -> str:
    """Return a hash of a disease as the name of a field, because the name of a disease may contain dots and dollars."""
    return hashlib.blake2b(disease.encode(), digest_size=10).hexdigest()

"""What facts add up to, as pure functions: the one place that says how appointments and prescriptions are counted.

Projections apply it to one write, `rebuild_reports` and the seeder to many patients at once. Facts are documents with
the API's field names; dates are `date`s or the midnights that MongoDB has of them.
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
#: The statuses of appointments that make somebody a patient; the index of the report on doctors holds just these.
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
    """`days` is 0 while the treatment is ongoing: such a one is not averaged."""

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
    """Over treatments: patients, those whose treatment goes on, and the days of all others."""

    patients: int = 0
    ongoing: int = 0
    days: int = 0

    def plus(self, treatment: Treatment, sign: int) -> "DiseaseFigures":
        return DiseaseFigures(
            self.patients + sign, self.ongoing + sign * treatment.is_ongoing, self.days + sign * treatment.days
        )


class CostFigures(NamedTuple):
    """Over prescriptions: how many, how many with a cost, and the sum of those in hundredths, which are exact."""

    prescriptions: int = 0
    costed: int = 0
    cents: int = 0

    def plus(self, cents: int | None, sign: int) -> "CostFigures":
        return CostFigures(
            self.prescriptions + sign, self.costed + sign * (cents is not None), self.cents + sign * (cents or 0)
        )


@dataclass
class States:
    """What patients' facts add up to, for each pair and treatment: whatever another patient does, it stays."""

    pairs: dict[PairKey, int] = field(default_factory=dict)
    treatments: dict[TreatmentKey, Treatment] = field(default_factory=dict)


@dataclass
class Sums:
    """Changes of what is shared by many patients, to be added to the counters."""

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
    """None for a cancelled appointment, which makes nobody somebody's patient."""
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


def course(prescriptions: Iterable[Fact]) -> Treatment | None:
    """The treatment that prescriptions of one patient and disease make up; None without any.

    From the earliest start to the latest end, in days, both counted; ongoing with any open end.
    """
    spans = [(day_of(each["start_date"]).toordinal(), each["duration_days"]) for each in prescriptions]
    if not spans:
        return None
    if any(not days for _, days in spans):
        return Treatment(is_ongoing=True, days=0)
    first = min(start for start, _ in spans)
    return Treatment(is_ongoing=False, days=max(start + days - 1 for start, days in spans) - first + 1)


def attendance(days: Iterable[date | datetime]) -> Treatment | None:
    """The treatment that completed visits of one patient and disease make up: from the first to the last."""
    ordinals = [day_of(day).toordinal() for day in days]
    if not ordinals:
        return None
    return Treatment(is_ongoing=False, days=max(ordinals) - min(ordinals) + 1)


def states_of(appointments: Iterable[Fact], prescriptions: Iterable[Fact]) -> States:
    """The states of some patients, from all of their facts."""
    states = States()
    visits: dict[TreatmentKey, list[Any]] = defaultdict(list)
    courses: dict[TreatmentKey, list[Fact]] = defaultdict(list)
    for appointment in appointments:
        if pair := pair_of(appointment):
            states.pairs[pair] = states.pairs.get(pair, 0) + 1
        if key := treatment_of_appointment(appointment):
            visits[key].append(appointment["date"])
    for prescription in prescriptions:
        if key := treatment_of_prescription(prescription):
            courses[key].append(prescription)
    for key, days in visits.items():
        states.treatments[key] = attendance(days)  # type: ignore[assignment]
    for key, facts in courses.items():
        states.treatments[key] = course(facts)  # type: ignore[assignment]
    return states


def cents_of(cost: Any) -> int | None:
    """Money in hundredths; MongoDB's own decimals come from the seeder, which knows no other."""
    if cost is None:
        return None
    amount = cost.to_decimal() if hasattr(cost, "to_decimal") else cost
    return int(amount.scaleb(2))


def day_of(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value


def disease_key(disease: str) -> str:
    """A field name for a disease, whose own may hold dots and dollars."""
    return hashlib.blake2b(disease.encode(), digest_size=10).hexdigest()

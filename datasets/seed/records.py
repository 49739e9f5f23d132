"""The records of a block as MongoDB documents and PostgreSQL rows: a pure function of the plan.

A patient has a few diseases, each with a doctor of the specialty that treats the disease. Visits follow from the
diseases, prescriptions and bills from the visits. A patient's document includes the chart, so that one insert stores
both.
"""

from bisect import bisect
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from bson import Decimal128, Int64

from appointments.models import Status as VisitStatus
from appointments.services import KEY_PREFIX as APPOINTMENT_PREFIX
from billing.models import Status as BillStatus
from datasets.seed import keys
from datasets.seed.medicine import DISEASES, GENERAL_PRACTICE, SPECIALTIES, Disease, Drug
from datasets.seed.names import mail_part
from datasets.seed.places import PLACES, fill_pattern, random_address
from datasets.seed.plan import WEEKS, Block, Plan
from datasets.seed.slot_allocator import SlotAllocator, Window, nearest_working_day
from datasets.seed.staff import Doctor, Practice, midnight, person, practice
from patients.models import CHART_LENGTH, Sex
from patients.services import KEY_PREFIX as PATIENT_PREFIX
from patients.services import age_on

Document = dict[str, Any]
T = TypeVar("T")

#: Shares between 0 and 1: of visits that are cancelled, that have no time of day and that are check-ups, and of
#: prescriptions that belong to a visit.
CANCELLED = 0.10
UNTIMED = 0.02
CHECK_UP = 0.06
WITH_VISIT = 0.85

#: (age in years at which a group begins, percentage of the patients in the group). A group ends where the next begins.
_AGES = ((0.2, 6), (5, 14), (18, 16), (30, 20), (45, 19), (60, 16), (75, 8), (90, 1), (99, 0))
_NOTES = (
    "Needs an interpreter.",
    "Uses a wheelchair.",
    "Hard of hearing in the left ear.",
    "Prefers appointments in the morning.",
    "Prefers to be called on the telephone.",
    "A relative comes along to visits.",
    "Lives alone; has help at home twice a week.",
    "Works night shifts.",
)
#: The first patient is the one of the demo account, and has enough records to look at.
_FIRST_PATIENT_AGE = 58
_FIRST_PATIENT_SHARE = 12
#: How much more likely a child has a disease of pediatrics than one of another specialty of the same weight.
_PEDIATRIC_FACTOR = 4.0


class Bill(NamedTuple):
    """A row of the billing table; the fields are in the order of the columns that COPY names."""

    id: int
    patient_id: str
    appointment_id: str | None
    disease: str | None
    total_cost: str
    status: str
    created_at: datetime


class Records(NamedTuple):
    patients: list[Document]
    appointments: list[Document]
    prescriptions: list[Document]
    bills: list[Bill]


class Condition(NamedTuple):
    """A disease of a patient and the doctor who treats it. The disease of a check-up is None."""

    disease: Disease | None
    doctor: Doctor | None


class Visit(NamedTuple):
    document: Document
    day: int
    #: The time at which the visit was over, or an estimate if the visit has no time.
    over_at: datetime
    condition: Condition


class DiseasePool(NamedTuple):
    """The diseases that a patient of some age and sex may have, with the running totals of their weights."""

    diseases: list[Disease]
    totals: list[float]


def make_block(plan: Plan, number: int) -> Records:
    return _BlockBuilder(plan, plan.block(number)).build()


def patient_id(plan: Plan, number: int) -> str:
    """Return the key of a patient of the first block."""
    return keys.key_space(PATIENT_PREFIX, 0, plan.seed, plan.run).key(number)


def appointment_id(plan: Plan, number: int) -> str:
    """Return the key of an appointment of the first block."""
    return keys.key_space(APPOINTMENT_PREFIX, 0, plan.seed, plan.run).key(number)


class _BlockBuilder:
    def __init__(self, plan: Plan, block: Block) -> None:
        self.plan = plan
        self.block = block
        self.rng = plan.rng("block", block.number)
        self.random = self.rng.random
        self.practice: Practice = practice(plan, block.practice)
        self.slots = SlotAllocator(plan, block, self.rng)
        self.days = midnights(plan)
        self.first_day = (plan.first_day - plan.first_monday).days
        self.last_day = (plan.last_day - plan.first_monday).days
        self.today = (plan.as_of - plan.first_monday).days
        self.patient_keys = keys.key_space(PATIENT_PREFIX, block.number, plan.seed, plan.run)
        self.appointment_keys = keys.key_space(APPOINTMENT_PREFIX, block.number, plan.seed, plan.run)
        self.prescription_offset = keys.offset("prescriptions", plan.seed, plan.run)
        self.appointment_numbers = iter(block.appointments)
        self.prescription_numbers = iter(block.prescriptions)
        self.bill_numbers = iter(block.bills)
        self.result = Records([], [], [], [])

    def build(self) -> Records:
        # A few patients see doctors often, most of them rarely.
        needs = [0.15 + 2.0 * self.random() ** 2 for _ in self.block.patients]
        visits = self._distribute(len(self.block.appointments), needs)
        prescriptions = self._distribute(len(self.block.prescriptions), [0.2 + count for count in visits])
        bills = self._distribute(len(self.block.bills), needs)
        for number, *counts in zip(self.block.patients, visits, prescriptions, bills, strict=True):
            self._add_patient(number, *counts)
        # In this order MongoDB writes the entries of one index page one after the other (see `datasets.seed.keys`).
        self.result.appointments.sort(key=itemgetter("date"))
        self.result.prescriptions.sort(key=itemgetter("start_date"))
        return self.result

    def _distribute(self, total: int, weights: Sequence[float]) -> list[int]:
        """Distribute `total` records over the patients by weight; the first patient of the run gets a fixed share."""
        counts = [0] * len(weights)
        if self.block.patients.start == 0:
            counts[0] = min(total, _FIRST_PATIENT_SHARE)
        totals = list(accumulate(weights))
        for at in self.rng.choices(range(len(weights)), cum_weights=totals, k=total - counts[0]):
            counts[at] += 1
        return counts

    def _one_of(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def _unless(self, share: float, value: T) -> T | None:
        """Return None with the probability `share`, else the value."""
        return None if self.random() < share else value

    # --- The patient

    def _add_patient(self, number: int, visit_count: int, prescription_count: int, bill_count: int) -> None:
        is_first = number == 0
        age_years = _FIRST_PATIENT_AGE + 0.5 if is_first else self._age_years()
        born = self.plan.as_of - timedelta(days=int(age_years * 365.2425))
        sex = self._sex()
        name, (given, family) = person(
            self.rng, is_female=sex == Sex.FEMALE or (sex != Sex.MALE and self.random() < 0.5)
        )
        key = self.patient_keys.key(number)
        place = self._one_of(self.practice.doctors).place if self.practice.doctors else self._one_of(PLACES)
        conditions = self._conditions(born, sex, place.city, is_first=is_first)
        birth_day = (born - self.plan.first_monday).days
        window = Window(max(self.first_day, birth_day + 10), self.last_day)
        visits = self._add_visits(key, visit_count, conditions, window, birth_day, is_first=is_first)
        prescriptions = self._add_prescriptions(key, prescription_count, conditions, visits, window)
        self._add_bills(key, bill_count, conditions, visits, window)
        if not (visit_count or prescription_count or bill_count) and self.random() < 0.3:
            conditions = []
        first_record = min(
            (each["created_at"] for each in (*(visit.document for visit in visits), *prescriptions)), default=None
        )
        registered = (first_record or self.days[self.today]) - timedelta(
            minutes=int(self.random() ** 2 * 2000 * 1440) + 5
        )
        self.result.patients.append(
            {
                "_id": key,
                "name": name,
                "birth_date": midnight(born),
                "sex": sex,
                "diseases": [each.disease.name for each in conditions if each.disease],
                "phone": self._unless(0.05, fill_pattern(place.phone, self.rng)),
                "email": self._unless(0.15, f"{mail_part(given)}.{mail_part(family)}.{key[-5:].lower()}@example.org"),
                "address": self._unless(0.05, random_address(place, self.rng)),
                "national_id": self._unless(0.1, fill_pattern(place.national_id, self.rng)),
                "notes": self._unless(0.88, self._one_of(_NOTES)),
                "user_id": None,
                "appointments": [
                    {
                        "appointment_id": each["_id"],
                        "doctor_id": each["doctor_id"],
                        "date": each["date"],
                        "time": each["time"],
                        "duration_minutes": each["duration_minutes"],
                        "status": each["status"],
                        "disease": each["disease"],
                    }
                    for each in sorted((visit.document for visit in visits), key=_visit_order, reverse=True)[
                        :CHART_LENGTH
                    ]
                ],
                "prescriptions": [
                    {
                        "prescription_id": each["_id"],
                        "doctor_id": each["doctor_id"],
                        "drug": each["drug"],
                        "dosage": each["dosage"],
                        "frequency": each["frequency"],
                        "start_date": each["start_date"],
                        "duration_days": each["duration_days"],
                        "disease": each["disease"],
                    }
                    for each in sorted(prescriptions, key=_prescription_order, reverse=True)[:CHART_LENGTH]
                ],
                "created_at": max(registered, min(midnight(born), first_record or midnight(born))),
                "revision": Int64(0),
            }
        )

    def _age_years(self) -> float:
        at = bisect(_AGE_TOTALS, self.random() * _AGE_TOTALS[-1])
        start, end = _AGES[at][0], _AGES[at + 1][0]
        return start + self.random() * (end - start)

    def _sex(self) -> str:
        at = self.random()
        if at < 0.01:
            return Sex.OTHER.value if at < 0.006 else Sex.UNKNOWN.value
        return Sex.FEMALE.value if at < 0.51 else Sex.MALE.value

    def _conditions(self, born: date, sex: str, city: str, *, is_first: bool) -> list[Condition]:
        age = age_on(born, self.plan.as_of)
        pool = _pool(self.plan, self.block.practice, age, sex)
        count = 1 + (self.random() < 0.5) + (self.random() < 0.2) + (age >= 50 and self.random() < 0.5)
        found = self.rng.choices(pool.diseases, cum_weights=pool.totals, k=count)
        if is_first:
            # The patient of the demo account sees the doctor of the demo account, the first doctor of the run, who is
            # a general practitioner because the rotation of specialties begins with one.
            found = [next(each for each in pool.diseases if each.specialty == GENERAL_PRACTICE), *found]
        conditions = [
            Condition(each, self._doctor_for(each.specialty, city))
            for each in {each.name: each for each in found}.values()
        ]
        if is_first and self.practice.doctors:
            return [conditions[0]._replace(doctor=self.practice.doctors[0]), *conditions[1:]]
        return conditions

    def _doctor_for(self, specialty: str, city: str) -> Doctor | None:
        """Choose a doctor of the specialty, from the patient's own city if there is one."""
        doctors = self.practice.by_specialty.get(specialty, self.practice.doctors)
        return self._one_of([each for each in doctors if each.place.city == city] or doctors) if doctors else None

    # --- Visits

    def _add_visits(
        self,
        patient: str,
        count: int,
        conditions: list[Condition],
        window: Window,
        birth_day: int,
        *,
        is_first: bool,
    ) -> list[Visit]:
        if not count:
            return []
        check_up = Condition(None, conditions[0].doctor if is_first else self._doctor_for(GENERAL_PRACTICE, ""))
        totals = list(accumulate(3.0 if each.disease and each.disease.is_chronic else 1.5 for each in conditions))
        chosen = self.rng.choices(conditions, cum_weights=totals, k=count)
        reasons = [check_up if self.random() < CHECK_UP else each for each in chosen]
        busy: list[tuple[int, int]] = []
        visits = []
        if is_first:
            reasons[0] = conditions[0]
            next_week = self._visit(patient, reasons.pop(0), self.today + 10, window, birth_day, busy, is_kept=True)
            visits.append(next_week)
        for condition in dict.fromkeys(reasons):
            for about in self._days_of(condition.disease, reasons.count(condition), window):
                visits.append(self._visit(patient, condition, about, window, birth_day, busy))
        return visits

    def _days_of(self, disease: Disease | None, count: int, window: Window) -> list[int]:
        """Choose the days around which a patient sees the doctor for a disease."""
        length = window.last - window.first
        if disease is None or disease.is_chronic:
            onset = window.first + length * 0.5 * self.random() ** 2
            step = (window.last - onset) / count
            return [int(onset + step * (at + self.random())) for at in range(count)]
        days: list[int] = []
        for _ in range(count):
            after = days[-1] + 7 + int(self.random() * 14) if days and self.random() < 0.5 else None
            if after is None or after > window.last:
                after = window.first + int(self.random() * length)
            days.append(after)
        return days

    def _visit(
        self,
        patient: str,
        condition: Condition,
        about: int,
        window: Window,
        birth_day: int,
        busy: list[tuple[int, int]],
        *,
        is_kept: bool = False,
    ) -> Visit:
        doctor = condition.doctor
        assert doctor is not None, "the command rejects a plan that has visits and no doctors"  # noqa: S101
        allocation = None
        if is_kept or self.random() >= UNTIMED:
            allocation = self.slots.allocate(doctor, about=about, window=window, busy=busy)
        if allocation:
            day, time = allocation.day, allocation.time
            starts_at = self.days[0] + timedelta(minutes=allocation.starts_minute)
            over_at = starts_at + timedelta(minutes=doctor.slot_minutes)
        else:
            day, time, starts_at = nearest_working_day(doctor, about=about, window=window), "", None
            over_at = self.days[day] + timedelta(hours=17)
        if not is_kept and self.random() < CANCELLED:
            status = _CANCELLED
        else:
            status = _COMPLETED if day < self.today else _SCHEDULED
        booked_on = max(min(day - 1 - int(self.random() * self.random() * 60), self.today - 1), birth_day)
        document = {
            "_id": self.appointment_keys.key(next(self.appointment_numbers)),
            "patient_id": patient,
            "doctor_id": doctor.doctor_id,
            "date": self.days[day],
            "time": time,
            "duration_minutes": doctor.slot_minutes,
            "status": status,
            "disease": condition.disease.name if condition.disease else None,
            "starts_at": starts_at,
            "created_at": self._moment(booked_on),
        }
        self.result.appointments.append(document)
        return Visit(document, day, over_at, condition)

    def _moment(self, day: int) -> datetime:
        """Choose a millisecond within the working hours of the day."""
        return self.days[0] + timedelta(days=day, milliseconds=int((7 + self.random() * 10) * 3_600_000))

    # --- Prescriptions

    def _add_prescriptions(
        self, patient: str, count: int, conditions: list[Condition], visits: list[Visit], window: Window
    ) -> list[Document]:
        past = [each for each in visits if each.document["status"] == _COMPLETED and each.condition.disease]
        prescriptions = []
        for _ in range(count):
            if past and self.random() < WITH_VISIT:
                visit = self._one_of(past)
                condition, day = visit.condition, visit.day
                appointment_id, created_at = visit.document["_id"], visit.over_at
            else:
                condition = self._one_of(conditions)
                day = self._past_day(window)
                appointment_id, created_at = None, self._moment(day)
            prescriptions.append(self._prescription(patient, condition, day, appointment_id, created_at))
        self.result.prescriptions.extend(prescriptions)
        return prescriptions

    def _prescription(
        self, patient: str, condition: Condition, day: int, appointment_id: str | None, created_at: datetime
    ) -> Document:
        disease, doctor = condition
        assert disease is not None, "no prescription belongs to a check-up"  # noqa: S101
        assert doctor is not None, "the command rejects a plan that has prescriptions and no doctors"  # noqa: S101
        drug = self._one_of(disease.drugs)
        duration = self._one_of(drug.courses)
        return {
            "_id": keys.object_id(self.prescription_offset + next(self.prescription_numbers), created_at),
            "patient_id": patient,
            "doctor_id": doctor.doctor_id,
            "appointment_id": appointment_id,
            "drug": drug.name,
            "dosage": self._one_of(drug.dosages),
            "frequency": drug.frequency,
            "cost": self._unless(0.05, self._price(drug, duration)),
            "disease": disease.name,
            "start_date": self.days[day],
            "duration_days": duration,
            "instructions": self._unless(0.2, drug.instructions),
            "created_at": created_at,
        }

    def _price(self, drug: Drug, duration: int | None) -> Decimal128:
        cents = 200 + drug.cents_per_day * (duration or 30) * (0.85 + 0.3 * self.random())
        return Decimal128(_money(int(cents) // 5 * 5))

    def _past_day(self, window: Window) -> int:
        return window.first + int(self.random() * max(1, self.today - window.first))

    # --- Bills

    def _add_bills(
        self, patient: str, count: int, conditions: list[Condition], visits: list[Visit], window: Window
    ) -> None:
        bills = self.result.bills
        first = self.plan.first_bill
        done = self.block.appointments.start + len(self.result.appointments) - len(visits)
        for number, visit in enumerate(visits, start=first + done):
            if visit.document["status"] == _COMPLETED:
                doctor = visit.condition.doctor
                assert doctor is not None  # noqa: S101 - a visit has one
                bills.append(
                    Bill(
                        number,
                        patient,
                        visit.document["_id"],
                        visit.document["disease"],
                        self._fee(doctor.specialty),
                        self._bill_status(visit.day),
                        visit.over_at + timedelta(milliseconds=int(self.random() * 1_200_000)),
                    )
                )
        first += self.plan.sizes.appointments
        for _ in range(count):
            disease = self._one_of(conditions).disease
            assert disease is not None  # noqa: S101 - a check-up is none of a patient's conditions
            day = self._past_day(window)
            bills.append(
                Bill(
                    first + next(self.bill_numbers),
                    patient,
                    None,
                    disease.name,
                    self._fee(disease.specialty),
                    self._bill_status(day),
                    self._moment(day),
                )
            )

    def _fee(self, specialty: str) -> str:
        low, high = SPECIALTIES[specialty].fee
        return _money(int((low + (high - low) * self.random() ** 2) * 20) * 5)

    def _bill_status(self, day: int) -> str:
        """Choose a status: bills of the last 30 days are mostly open, older ones mostly paid."""
        at = self.random()
        if at < 0.04:
            return _VOID
        return _OPEN if at < (0.65 if self.today - day < 30 else 0.12) else _PAID


_AGE_TOTALS = list(accumulate(share for _, share in _AGES[:-1]))
# Plain strings, because enum members are slower to encode and to compare.
_SCHEDULED, _COMPLETED, _CANCELLED = (
    str(each.value) for each in (VisitStatus.SCHEDULED, VisitStatus.COMPLETED, VisitStatus.CANCELLED)
)
_OPEN, _PAID, _VOID = (str(each.value) for each in (BillStatus.OPEN, BillStatus.PAID, BillStatus.VOID))


@lru_cache(maxsize=4)
def midnights(plan: Plan) -> list[datetime]:
    """Return the midnight of each day of the plan's weeks."""
    first = midnight(plan.first_monday)
    return [first + timedelta(days=day) for day in range(WEEKS * 7)]


@lru_cache(maxsize=4096)
def _pool(plan: Plan, practice_number: int, age: int, sex: str) -> DiseasePool:
    """Return the diseases that a patient of this age on the plan's day may have had in each of its three years."""
    found = practice(plan, practice_number)
    weighted = zip(found.diseases, found.weights, strict=True) if found.doctors else ((each, 1.0) for each in DISEASES)
    fitting = [
        (each, weight * (_PEDIATRIC_FACTOR if each.specialty == "Pediatrics" else 1.0))
        for each, weight in weighted
        if (each.ages[0] == 0 or each.ages[0] <= age - 3) and age + 1 <= each.ages[1] and each.sex in (None, sex)
    ]
    return DiseasePool([each for each, _ in fitting], list(accumulate(weight for _, weight in fitting)))


def _visit_order(document: Document) -> tuple[datetime, str, str]:
    return document["date"], document["time"], document["_id"]


def _prescription_order(document: Document) -> tuple[datetime, Any]:
    return document["start_date"], document["_id"]


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"

"""The doctors of a run: their names, specialties, working hours and slots, grouped into practices."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from random import Random
from typing import NamedTuple

from datasets.seed import keys
from datasets.seed.medicine import DISEASES, SPECIALTIES, SPECIALTY_ROTATION, Disease
from datasets.seed.names import REGIONS
from datasets.seed.places import PLACES, Place
from datasets.seed.plan import WEEKS, Plan
from doctors.hours import SkippedTime, instant
from doctors.models import specialty_key
from doctors.services import KEY_PREFIX
from healthcare.mongodb.raw import Document

MINUTES_OF_DAY = 24 * 60

#: Working weeks that doctors may have: days of the week, and the hours of each of these days.
WORKING_WEEKS: tuple[tuple[tuple[range, tuple[tuple[str, str], ...]], ...], ...] = (
    ((range(5), (("08:00", "12:00"), ("13:00", "17:00"))),),
    ((range(5), (("07:30", "12:00"), ("12:30", "16:00"))),),
    ((range(4), (("08:00", "12:00"), ("13:00", "18:00"))),),
    ((range(1, 5), (("09:00", "12:30"), ("13:30", "18:30"))),),
    ((range(5), (("10:00", "14:00"), ("15:00", "19:00"))),),
    ((range(5), (("08:30", "12:30"), ("13:30", "16:30"))), (range(5, 6), (("09:00", "12:00"),))),
)


class Slot(NamedTuple):
    weekday: int
    minute: int
    time: str


class Hours(NamedTuple):
    weekday: int
    start: str
    end: str


def minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


@cache
def hours_of(week: int) -> tuple[Hours, ...]:
    """Return the hours of a working week in the order in which `doctors.services` stores them."""
    return tuple(sorted(Hours(day, *span) for days, spans in WORKING_WEEKS[week] for day in days for span in spans))


@cache
def slots_of(week: int, slot_minutes: int) -> tuple[Slot, ...]:
    """Return the slots that lie entirely within the hours of a working week."""
    return tuple(
        Slot(hours.weekday, minute, f"{minute // 60:02d}:{minute % 60:02d}")
        for hours in hours_of(week)
        for minute in range(minutes(hours.start), minutes(hours.end) - slot_minutes + 1, slot_minutes)
    )


@dataclass(frozen=True)
class Doctor:
    number: int
    doctor_id: str
    name: str
    specialty: str
    place: Place
    week: int
    slot_minutes: int
    #: Days off, counted from the plan's first Monday.
    closed: frozenset[int]
    is_accepting: bool
    created_at: datetime

    @property
    def slots(self) -> tuple[Slot, ...]:
        return slots_of(self.week, self.slot_minutes)

    def document(self, plan: Plan) -> Document:
        """Return the document that the ORM would store for the doctor."""
        return {
            "_id": self.doctor_id,
            "name": self.name,
            "specialty": self.specialty,
            "specialty_key": specialty_key(self.specialty),
            "availability": [
                {"weekday": row.weekday, "start": row.start, "end": row.end, "slot_minutes": self.slot_minutes}
                for row in hours_of(self.week)
            ],
            "exceptions": [
                {"date": midnight(plan.first_monday + timedelta(days=day)), "start": None, "end": None, "closed": True}
                for day in sorted(self.closed)
            ],
            "accepting_patients": self.is_accepting,
            "time_zone": self.place.time_zone,
            "user_id": None,
            "created_at": self.created_at,
        }


@dataclass(frozen=True)
class Practice:
    """A group of doctors whom the patients of some blocks see, and the diseases that they treat."""

    doctors: tuple[Doctor, ...]
    by_specialty: dict[str, tuple[Doctor, ...]]
    diseases: tuple[Disease, ...]
    #: The weight of each disease, such that the visits of a specialty are in proportion to its doctors' hours.
    weights: tuple[float, ...]


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def doctor(plan: Plan, number: int) -> Doctor:
    rng = plan.rng("doctor", number)
    in_practice, practice_number = divmod(number, plan.practice_count)
    rounds, at = divmod(in_practice, len(SPECIALTY_ROTATION))
    specialty = SPECIALTIES[SPECIALTY_ROTATION[at]]
    name, _ = person(rng, is_female=rng.random() < 0.5)
    week = int(rng.random() * len(WORKING_WEEKS))
    slot_minutes = specialty.slot_minutes[int(rng.random() * len(specialty.slot_minutes))]
    # Single days off, and for some doctors a week of holiday, all around the present.
    today = (plan.as_of - plan.first_monday).days
    closed = {today - 60 + int(rng.random() * 150) for _ in range(int(rng.random() * 4))}
    if rng.random() < 0.3:
        monday = (today // 7 + 1 + int(rng.random() * 8)) * 7
        closed |= {monday + day for day in range(5)}
    return Doctor(
        number=number,
        doctor_id=doctor_id(plan, number),
        name=name,
        specialty=specialty.name,
        place=PLACES[(in_practice + rounds + practice_number) % len(PLACES)],
        week=week,
        slot_minutes=slot_minutes,
        closed=frozenset(closed),
        is_accepting=rng.random() < 0.85,
        created_at=midnight(plan.first_day) - timedelta(days=rng.random() * 2000 + 30),
    )


def doctor_id(plan: Plan, number: int) -> str:
    return keys.key_space(KEY_PREFIX, number % plan.practice_count, plan.seed, plan.run).key(number)


def person(rng: Random, *, is_female: bool) -> tuple[str, tuple[str, str]]:
    """Return a full name, and its parts: the given and the family name."""
    region = REGIONS[int(rng.random() * len(REGIONS))]
    given_names = region.female if is_female else region.male
    given = given_names[int(rng.random() * len(given_names))]
    family = region.family[int(rng.random() * len(region.family))]
    return f"{given} {family}", (given, family)


@lru_cache(maxsize=8)
def practice(plan: Plan, number: int) -> Practice:
    doctors = tuple(doctor(plan, each) for each in range(number, plan.sizes.doctors, plan.practice_count))
    by_specialty: dict[str, tuple[Doctor, ...]] = {}
    for each in doctors:
        by_specialty[each.specialty] = (*by_specialty.get(each.specialty, ()), each)
    diseases = tuple(disease for disease in DISEASES if disease.specialty in by_specialty)
    hours = {name: sum(len(each.slots) for each in group) for name, group in by_specialty.items()}
    common = {name: sum(each.weight for each in diseases if each.specialty == name) for name in by_specialty}
    weights = tuple(each.weight * hours[each.specialty] / common[each.specialty] for each in diseases)
    return Practice(doctors, by_specialty, diseases, weights)


def capacity(plan: Plan) -> int:
    """Return the number of visits that fit into the hours of all doctors."""
    return sum(len(doctor(plan, number).slots) for number in range(plan.sizes.doctors)) * (WEEKS - 2)


@cache
def minutes_ahead_of_utc(time_zone: str, day: date) -> int | None:
    """Return the offset of a zone from UTC on a day, in minutes, or None if the clocks change on that day."""
    first, last = (instant_or_none(each, "00:00", time_zone) for each in (day, day + timedelta(days=1)))
    if first is None or last is None or last - first != timedelta(days=1):
        return None
    return int((midnight(day) - first).total_seconds()) // 60


def instant_or_none(day: date, time: str, time_zone: str) -> datetime | None:
    """Return the UTC instant of a wall time, or None if the clocks skip that time."""
    try:
        return instant(day, time, time_zone)
    except SkippedTime:
        return None

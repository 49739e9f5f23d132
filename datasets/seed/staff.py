"""The doctors of a run: who they are, when they see patients, and the slots that follow from it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from datasets.seed import keys
from datasets.seed.medicine import DISEASES, SPECIALTIES, SPECIALTY_ROTATION, Disease
from datasets.seed.names import REGIONS
from datasets.seed.places import PLACES, Place
from datasets.seed.plan import WEEKS, Plan
from doctors.hours import SkippedTime, instant
from doctors.models import specialty_key
from doctors.services import KEY_PREFIX

MINUTES_OF_DAY = 24 * 60

#: Weekly hours that doctors keep: weekdays, and the hours of each of them.
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
    """The hours of a working week, in the order in which the doctors' service stores them."""
    return tuple(sorted(Hours(day, *span) for days, spans in WORKING_WEEKS[week] for day in days for span in spans))


@cache
def slots_of(week: int, slot_minutes: int) -> tuple[Slot, ...]:
    """The slots of a working week that lie in its hours as a whole."""
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
    #: Days off, as days since the plan's first Monday.
    closed: frozenset[int]
    is_accepting: bool
    created_at: datetime

    @property
    def slots(self) -> tuple[Slot, ...]:
        return slots_of(self.week, self.slot_minutes)

    def document(self, plan: Plan) -> dict[str, Any]:
        """The doctor as the ORM would store it."""
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
class House:
    """The doctors whom the patients of a block see, and what is treated there."""

    doctors: tuple[Doctor, ...]
    by_specialty: dict[str, tuple[Doctor, ...]]
    diseases: tuple[Disease, ...]
    #: How likely each disease is, so that every specialty has work for its doctors' hours.
    weights: tuple[float, ...]


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def doctor(plan: Plan, number: int) -> Doctor:
    chance = plan.chance("doctor", number)
    in_house, house = divmod(number, plan.house_count)
    rounds, at = divmod(in_house, len(SPECIALTY_ROTATION))
    specialty = SPECIALTIES[SPECIALTY_ROTATION[at]]
    name, _ = person(chance, is_female=chance.random() < 0.5)
    week = int(chance.random() * len(WORKING_WEEKS))
    slot_minutes = specialty.slot_minutes[int(chance.random() * len(specialty.slot_minutes))]
    # A week's leave at about the present, and single days.
    today = (plan.as_of - plan.first_monday).days
    closed = {today - 60 + int(chance.random() * 150) for _ in range(int(chance.random() * 4))}
    if chance.random() < 0.3:
        monday = (today // 7 + 1 + int(chance.random() * 8)) * 7
        closed |= {monday + day for day in range(5)}
    return Doctor(
        number=number,
        doctor_id=doctor_id(plan, number),
        name=name,
        specialty=specialty.name,
        place=PLACES[(in_house + rounds + house) % len(PLACES)],
        week=week,
        slot_minutes=slot_minutes,
        closed=frozenset(closed),
        is_accepting=chance.random() < 0.85,
        created_at=midnight(plan.first_day) - timedelta(days=chance.random() * 2000 + 30),
    )


def doctor_id(plan: Plan, number: int) -> str:
    return keys.space(KEY_PREFIX, number % plan.house_count, plan.seed, plan.run).key(number)


def person(chance: Random, *, is_female: bool) -> tuple[str, tuple[str, str]]:
    """A name, whole and as given and family name."""
    region = REGIONS[int(chance.random() * len(REGIONS))]
    given_names = region.female if is_female else region.male
    given = given_names[int(chance.random() * len(given_names))]
    family = region.family[int(chance.random() * len(region.family))]
    return f"{given} {family}", (given, family)


@lru_cache(maxsize=8)
def house(plan: Plan, number: int) -> House:
    doctors = tuple(doctor(plan, each) for each in range(number, plan.sizes.doctors, plan.house_count))
    by_specialty: dict[str, tuple[Doctor, ...]] = {}
    for each in doctors:
        by_specialty[each.specialty] = (*by_specialty.get(each.specialty, ()), each)
    diseases = tuple(disease for disease in DISEASES if disease.specialty in by_specialty)
    hours = {name: sum(len(each.slots) for each in group) for name, group in by_specialty.items()}
    common = {name: sum(each.weight for each in diseases if each.specialty == name) for name in by_specialty}
    weights = tuple(each.weight * hours[each.specialty] / common[each.specialty] for each in diseases)
    return House(doctors, by_specialty, diseases, weights)


def capacity(plan: Plan) -> int:
    """Visits that the hours of all doctors have room for."""
    return sum(len(doctor(plan, number).slots) for number in range(plan.sizes.doctors)) * (WEEKS - 2)


@cache
def minutes_ahead_of_utc(time_zone: str, day: date) -> int | None:
    """What to subtract from wall times of that day; None when the clocks change on it."""
    zone_midnights = [instant_or_none(each, "00:00", time_zone) for each in (day, day + timedelta(days=1))]
    first, last = zone_midnights
    if first is None or last is None or last - first != timedelta(days=1):
        return None
    return int((midnight(day) - first).total_seconds()) // 60


def instant_or_none(day: date, time: str, time_zone: str) -> datetime | None:
    """The UTC instant of a wall time; None when the clocks skip it."""
    try:
        return instant(day, time, time_zone)
    except SkippedTime:
        return None


def running_totals(weights: tuple[float, ...]) -> list[float]:
    return list(accumulate(weights))

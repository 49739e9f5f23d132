"""Specialties, diseases and drugs of invented patients, read from the CSV files in `data`.

The doses are usual ones for adults. Nothing here is medical advice. See `datasets/seed/data/README.md` for the columns.
"""

from dataclasses import dataclass, field
from pathlib import Path

from datasets.data_files import read_table, split_cell

DATA = Path(__file__).parent / "data"
OPEN_ENDED = "open-ended"


@dataclass(frozen=True)
class Specialty:
    name: str
    #: Lengths of a visit in minutes. Each doctor has one of them.
    slot_minutes: tuple[int, ...]
    #: The lowest and the highest fee of a visit, in units of the currency.
    fee: tuple[int, int]


@dataclass(frozen=True)
class Drug:
    name: str
    dosages: tuple[str, ...]
    frequency: str
    #: Lengths of a course in days; None is an open-ended course.
    courses: tuple[int | None, ...]
    #: Hundredths of the currency for each day. An open-ended course costs as much as 30 days.
    cents_per_day: int
    instructions: str | None = None


@dataclass(frozen=True)
class Disease:
    name: str
    specialty: str
    #: How common the disease is, relative to the other diseases of its specialty.
    weight: int
    #: A chronic disease needs visits for years. Any other is an episode of a few weeks, which may come back.
    is_chronic: bool
    drugs: tuple[Drug, ...] = field(repr=False)
    #: The youngest and the oldest age at which a patient has a visit for the disease, in years.
    ages: tuple[int, int] = (0, 110)
    #: The sex of the patients; None if the disease affects everybody.
    sex: str | None = None


def _load_specialties() -> dict[str, Specialty]:
    return {
        row["name"]: Specialty(
            name=row["name"],
            slot_minutes=tuple(int(minutes) for minutes in split_cell(row["slot_minutes"])),
            fee=(int(row["lowest_fee"]), int(row["highest_fee"])),
        )
        for row in read_table(DATA / "specialties.csv")
    }


def _load_drugs() -> dict[str, Drug]:
    return {
        row["name"]: Drug(
            name=row["name"],
            dosages=split_cell(row["dosages"]),
            frequency=row["frequency"],
            courses=tuple(None if days == OPEN_ENDED else int(days) for days in split_cell(row["course_days"])),
            cents_per_day=int(row["cents_per_day"]),
            instructions=row["instructions"] or None,
        )
        for row in read_table(DATA / "drugs.csv")
    }


def _load_diseases() -> tuple[Disease, ...]:
    drugs = _load_drugs()
    return tuple(
        Disease(
            name=row["name"],
            specialty=row["specialty"],
            weight=int(row["weight"]),
            is_chronic={"chronic": True, "episode": False}[row["course"]],
            drugs=tuple(drugs[name] for name in split_cell(row["drugs"])),
            ages=(int(row["youngest"]), int(row["oldest"])),
            sex=row["sex"] or None,
        )
        for row in read_table(DATA / "diseases.csv")
    )


GENERAL_PRACTICE = "General Practice"
SPECIALTIES = _load_specialties()
#: The specialties that the doctors of a practice get, one after the other and then again from the start.
SPECIALTY_ROTATION = tuple(row["specialty"] for row in read_table(DATA / "specialty_rotation.csv"))
DISEASES = _load_diseases()

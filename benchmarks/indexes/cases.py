"""The hot queries, in the shape in which the system asks them, and the index that each is there for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db import models
from pymongo import TEXT

from appointments.models import Appointment
from benchmarks.indexes.copies import Copies
from doctors.models import Doctor
from healthcare.api.pagination import DEFAULT_PAGE_SIZE
from healthcare.mongodb import raw
from healthcare.mongodb.lookups import text_search_expression
from prescriptions.models import Prescription
from reports import pipelines
from reports.models import Counter

Stage = dict[str, Any]
Pipeline = list[Stage]
Keys = list[tuple[str, Any]]

PAGE = DEFAULT_PAGE_SIZE + 1
SAMPLES = 20


@dataclass(frozen=True)
class Case:
    """A query with its index and without; where both are the same, the index makes the difference.

    No `keys`: the index is that of `_id`, which is always there, and the query without it asks for a copy of the key.
    """

    name: str
    source: str
    index: str
    keys: Keys
    samples: list[Any]
    with_index: Callable[[Any], Pipeline]
    without_index: Callable[[Any], Pipeline]
    options: dict[str, Any]
    note: str = ""


def cases(copies: Copies) -> Iterator[Case]:
    """The hot queries, asking for what is in the copies."""
    patients, doctors = _some(copies, "patients", "_id"), _some(copies, "doctors", "_id")
    names = _some(copies, "patients", "name")
    latest = _latest(copies)
    yield _by_key("patient by id", copies, "patients", patients, lambda key: {"_id": key})
    yield Case(
        name="patients by name search",
        source=copies["patients"],
        index="patient_name_text",
        keys=[("name", TEXT)],
        samples=names,
        with_index=lambda name: [{"$match": {"$text": {"$search": text_search_expression(name)}}}, *_page("name")],
        without_index=lambda name: [{"$match": _words_anywhere(name)}, *_page("name")],
        options={"default_language": "none"},
        note="without: the same words by regular expression",
    )
    yield _same(
        "doctors by specialty",
        copies["doctors"],
        Doctor,
        "doctor_specialty",
        _some(copies, "doctors", "specialty_key"),
        lambda specialty: [{"$match": {"specialty_key": specialty}}, *_page("name")],
    )
    yield _same(
        "appointments by doctor and dates",
        copies["appointments"],
        Appointment,
        "appointment_doctor",
        doctors,
        lambda key: [{"$match": {"doctor_id": key, "date": _month_before(latest)}}, *_page("-date", "-time")],
    )
    yield _same(
        "appointments by patient",
        copies["appointments"],
        Appointment,
        "appointment_patient",
        patients,
        lambda key: [{"$match": {"patient_id": key}}, *_page("-date", "-time")],
    )
    yield _same(
        "prescriptions by patient",
        copies["prescriptions"],
        Prescription,
        "prescription_patient",
        patients,
        lambda key: [{"$match": {"patient_id": key}}, *_page("-start_date")],
    )
    yield _same(
        "top-doctors",
        copies["report_counters"],
        Counter,
        "report_by_patients",
        [5],
        lambda limit: pipelines.top_doctors(limit=limit, by="patients"),
    )
    yield _same(
        "top-doctors by appointments",
        copies["report_counters"],
        Counter,
        "report_by_appointments",
        [5],
        lambda limit: pipelines.top_doctors(limit=limit, by="appointments"),
    )
    yield _same(
        "top-doctors of a year",
        copies["appointments"],
        Appointment,
        pipelines.PERIOD_INDEX,
        [5],
        lambda limit: pipelines.top_doctors_of_period(
            limit=limit, by="patients", since=latest - timedelta(days=365), until=latest
        ),
    )
    for name, stages in (
        ("disease-trends", pipelines.diseases(basis="prescriptions")),
        ("disease-trends by appointments", pipelines.diseases(basis="appointments")),
        ("monthly-appointments-trend", pipelines.months(year=latest.year)),
        ("average-prescription-cost", pipelines.costs()),
    ):
        yield _by_key(name, copies, "report_counters", [stages], lambda stages: stages[0]["$match"], rest=True)
    yield _same(
        "average-prescription-cost, no visit",
        copies["prescriptions"],
        Prescription,
        pipelines.COST_INDEX,
        [None],
        lambda _: pipelines.prescribed_without_visit(),
    )


def _same(
    name: str,
    source: str,
    model: type[models.Model],
    index: str,
    samples: list[Any],
    pipeline: Callable[[Any], Pipeline],
) -> Case:
    keys, options = _declared(model, index)
    return Case(name, source, index, keys, samples, pipeline, pipeline, options)


def _by_key(
    name: str,
    copies: Copies,
    source: str,
    samples: list[Any],
    where: Callable[[Any], Stage],
    *,
    rest: bool = False,
) -> Case:
    def following(sample: Any) -> Pipeline:
        return list(sample[1:]) if rest else []

    return Case(
        name=name,
        source=copies[source],
        index="_id_",
        keys=[],
        samples=samples,
        with_index=lambda sample: [{"$match": where(sample)}, *following(sample)],
        without_index=lambda sample: [{"$match": {"key": where(sample)["_id"]}}, *following(sample)],
        options={},
        note="without: by a copy of the key",
    )


def _declared(model: type[models.Model], name: str) -> tuple[Keys, dict[str, Any]]:
    """Keys and options of an index, as the migrations have made it in the live collection."""
    found = next(each for each in raw.indexes(model) if each["name"] == name)
    options = {each: found[each] for each in ("partialFilterExpression",) if each in found}
    return list(found["key"].items()), options


def _page(*order: str) -> Pipeline:
    names = {name.lstrip("-"): -1 if name.startswith("-") else 1 for name in order}
    return [{"$sort": {**names, "_id": next(iter(names.values()))}}, {"$limit": PAGE}]


def _some(copies: Copies, source: str, field: str) -> list[Any]:
    """Values that there are, spread over the collection."""
    found = raw.aggregate(copies[source], [{"$sample": {"size": SAMPLES}}, {"$project": {"v": f"${field}"}}])
    return [each["v"] for each in found] or [""]


def _latest(copies: Copies) -> date:
    found = raw.collection(copies["appointments"]).find_one({"status": "completed"}, sort=[("date", -1)])
    return found["date"].date() if found else date(2025, 12, 31)


def _month_before(day: date) -> Stage:
    return {"$gte": day - timedelta(days=30), "$lte": day}


def _words_anywhere(name: str) -> Stage:
    # The names are the benchmark's own data, or the system's: no user's text.
    words = [word for word in name.replace("\\", " ").split() if word.isalpha()]
    return {"$and": [{"name": {"$regex": rf"\b{word}\b", "$options": "i"}} for word in words or ["none"]]}

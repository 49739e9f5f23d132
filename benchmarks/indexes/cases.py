"""The hot queries as the system sends them, with the index of each."""

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
    """A query to run with and without its index.

    Without `keys` the index is that of `_id`, which cannot be dropped, and `without_index` queries a copy of the key.
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
    """Return the hot queries, with values from the copies as parameters."""
    patients, doctors = _sample_values(copies, "patients", "_id"), _sample_values(copies, "doctors", "_id")
    names = _sample_values(copies, "patients", "name")
    latest = _latest(copies)
    yield _case_by_key("patient by id", copies, "patients", patients, lambda key: {"_id": key})
    yield Case(
        name="patients by name search",
        source=copies["patients"],
        index="patient_name_text",
        keys=[("name", TEXT)],
        samples=names,
        with_index=lambda name: [{"$match": {"$text": {"$search": text_search_expression(name)}}}, *_page("name")],
        without_index=lambda name: [{"$match": _contains_words(name)}, *_page("name")],
        options={"default_language": "none"},
        note="without: the same words as a regular expression",
    )
    yield _case(
        "doctors by specialty",
        copies["doctors"],
        Doctor,
        "doctor_specialty",
        _sample_values(copies, "doctors", "specialty_key"),
        lambda specialty: [{"$match": {"specialty_key": specialty}}, *_page("name")],
    )
    yield _case(
        "appointments by doctor and dates",
        copies["appointments"],
        Appointment,
        "appointment_doctor",
        doctors,
        lambda key: [{"$match": {"doctor_id": key, "date": _month_before(latest)}}, *_page("-date", "-time")],
    )
    yield _case(
        "appointments by patient",
        copies["appointments"],
        Appointment,
        "appointment_patient",
        patients,
        lambda key: [{"$match": {"patient_id": key}}, *_page("-date", "-time")],
    )
    yield _case(
        "prescriptions by patient",
        copies["prescriptions"],
        Prescription,
        "prescription_patient",
        patients,
        lambda key: [{"$match": {"patient_id": key}}, *_page("-start_date")],
    )
    yield _case(
        "top-doctors",
        copies["report_counters"],
        Counter,
        "report_by_patients",
        [5],
        lambda limit: pipelines.top_doctors(limit=limit, by="patients"),
    )
    yield _case(
        "top-doctors by appointments",
        copies["report_counters"],
        Counter,
        "report_by_appointments",
        [5],
        lambda limit: pipelines.top_doctors(limit=limit, by="appointments"),
    )
    yield _case(
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
        yield _case_by_key(name, copies, "report_counters", [stages], lambda stages: stages[0]["$match"], rest=True)
    yield _case(
        "average-prescription-cost, no visit",
        copies["prescriptions"],
        Prescription,
        pipelines.COST_INDEX,
        [None],
        lambda _: pipelines.prescribed_without_visit(),
    )


def _case(
    name: str,
    source: str,
    model: type[models.Model],
    index: str,
    samples: list[Any],
    pipeline: Callable[[Any], Pipeline],
) -> Case:
    keys, options = _declared(model, index)
    return Case(name, source, index, keys, samples, pipeline, pipeline, options)


def _case_by_key(
    name: str,
    copies: Copies,
    source: str,
    samples: list[Any],
    where: Callable[[Any], Stage],
    *,
    rest: bool = False,
) -> Case:
    def further_stages(sample: Any) -> Pipeline:
        return list(sample[1:]) if rest else []

    return Case(
        name=name,
        source=copies[source],
        index="_id_",
        keys=[],
        samples=samples,
        with_index=lambda sample: [{"$match": where(sample)}, *further_stages(sample)],
        without_index=lambda sample: [{"$match": {"key": where(sample)["_id"]}}, *further_stages(sample)],
        options={},
        note="without: a query for a copy of the key",
    )


def _declared(model: type[models.Model], name: str) -> tuple[Keys, dict[str, Any]]:
    """Return keys and options of an index of the live collection, which the migrations have created."""
    found = next(each for each in raw.indexes(model) if each["name"] == name)
    options = {each: found[each] for each in ("partialFilterExpression",) if each in found}
    return list(found["key"].items()), options


def _page(*order: str) -> Pipeline:
    names = {name.lstrip("-"): -1 if name.startswith("-") else 1 for name in order}
    return [{"$sort": {**names, "_id": next(iter(names.values()))}}, {"$limit": PAGE}]


def _sample_values(copies: Copies, source: str, field: str) -> list[Any]:
    """Return random values of a field."""
    found = raw.aggregate(copies[source], [{"$sample": {"size": SAMPLES}}, {"$project": {"v": f"${field}"}}])
    return [each["v"] for each in found] or [""]


def _latest(copies: Copies) -> date:
    found = raw.collection(copies["appointments"]).find_one({"status": "completed"}, sort=[("date", -1)])
    return found["date"].date() if found else date(2025, 12, 31)


def _month_before(day: date) -> Stage:
    return {"$gte": day - timedelta(days=30), "$lte": day}


def _contains_words(name: str) -> Stage:
    # The names are stored data and not text of a user, so the expression needs no further escaping.
    words = [word for word in name.replace("\\", " ").split() if word.isalpha()]
    return {"$and": [{"name": {"$regex": rf"\b{word}\b", "$options": "i"}} for word in words or ["none"]]}

"""The reports' pipelines, as pure functions. `reports.queries` runs them; brief section 4 defines the reports.

What they return the driver takes as it is: `client["healthcare"]["appointments"].aggregate(top_doctors_of_period(…))`.

Those over rollups read what `reports.projections` keeps; those over facts read the records themselves, for periods and
for `verify_reports`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from reports.rollups import COUNTED, Basis

Stage = dict[str, Any]
Pipeline = list[Stage]

#: Of a report's answer, by the figure that orders it.
ORDERS: Mapping[str, Sequence[str]] = {
    "patients": ("patients", "appointments"),
    "appointments": ("appointments", "patients"),
}
#: The index that answers each order; `reports.models.Counter` and `appointments.models.Appointment` have them.
ORDER_INDEXES: Mapping[str, str] = {"patients": "report_by_patients", "appointments": "report_by_appointments"}
PERIOD_INDEX = "appointment_report"
#: Finds the prescriptions without a visit; those with one are most of all, and read faster one after the other.
COST_INDEX = "prescription_appointment"


# --- Over rollups ----------------------------------------------------------------------------------------------------


def top_doctors(*, limit: int, by: str) -> Pipeline:
    """Stages for the doctors with most patients or appointments.

    Reads:   report_counters, documents of doctors; the first `limit` keys of one index
    Yields:  {doctor_id: str, patients: int, appointments: int}
    Source:  brief, "top-doctors" without a period
    """
    first, second = ORDERS[by]
    return [
        # The index holds just these documents, and is used only when the query says so.
        {"$match": {first: {"$gt": 0}}},
        {"$sort": {first: -1, second: -1, "doctor_id": 1}},
        {"$limit": limit},
        {"$project": {"_id": 0, "doctor_id": 1, "patients": 1, "appointments": 1}},
    ]


def months(*, year: int) -> Pipeline:
    """Stages for a year's appointments by month and status.

    Reads:   report_counters, the year's document of each bucket
    Yields:  {_id: {month: "09", status: str}, appointments: int}
    Source:  brief, "monthly-appointments-trend"
    """
    return [
        {"$match": _of_kind(f"month {year:04d} ")},
        {"$project": {"months": {"$objectToArray": "$months"}}},
        {"$unwind": "$months"},
        {"$project": {"month": "$months.k", "statuses": {"$objectToArray": "$months.v"}}},
        {"$unwind": "$statuses"},
        {
            "$group": {
                "_id": {"month": "$month", "status": "$statuses.k"},
                "appointments": {"$sum": "$statuses.v"},
            }
        },
        {"$match": {"appointments": {"$ne": 0}}},
    ]


def diseases(*, basis: Basis) -> Pipeline:
    """Stages for the treatments of each disease.

    Reads:   report_counters, the basis's document of each bucket
    Yields:  {disease: str, patients: int, ongoing: int, days: int}; days of those that are not ongoing
    Source:  brief, "disease-trends"
    """
    return [
        {"$match": _of_kind(f"disease {basis} ")},
        {"$project": {"diseases": {"$objectToArray": "$diseases"}}},
        {"$unwind": "$diseases"},
        {
            "$group": {
                "_id": "$diseases.k",
                "disease": {"$first": "$diseases.v.name"},
                "patients": {"$sum": "$diseases.v.patients"},
                "ongoing": {"$sum": "$diseases.v.ongoing"},
                "days": {"$sum": "$diseases.v.days"},
            }
        },
        {"$match": {"patients": {"$ne": 0}}},
        {"$project": {"_id": 0}},
    ]


def costs() -> Pipeline:
    """Stages for the prescriptions of each disease.

    Reads:   report_counters, a document of each bucket
    Yields:  {disease: str, prescriptions: int, costed: int, cents: int}; cents over those that have a cost
    Source:  brief, "average-prescription-cost"
    """
    return [
        {"$match": _of_kind("cost ")},
        {"$project": {"diseases": {"$objectToArray": "$diseases"}}},
        {"$unwind": "$diseases"},
        {
            "$group": {
                "_id": "$diseases.k",
                "disease": {"$first": "$diseases.v.name"},
                "prescriptions": {"$sum": "$diseases.v.prescriptions"},
                "costed": {"$sum": "$diseases.v.costed"},
                "cents": {"$sum": "$diseases.v.cents"},
            }
        },
        {"$match": {"prescriptions": {"$ne": 0}}},
        {"$project": {"_id": 0}},
    ]


def _of_kind(prefix: str) -> Stage:
    # ":" is what follows "9": a range of the primary key.
    return {"_id": {"$gte": prefix, "$lt": f"{prefix}:"}}


# --- Over facts ------------------------------------------------------------------------------------------------------


def top_doctors_of_period(*, limit: int, by: str, since: date | None = None, until: date | None = None) -> Pipeline:
    """Stages for the doctors with most patients or appointments in a period.

    Reads:   appointments {date, status, doctor_id, patient_id}, from the index PERIOD_INDEX alone
    Yields:  {doctor_id: str, patients: int, appointments: int}
    Source:  brief, "top-doctors"
    """
    return [
        *doctors_of_period(since=since, until=until),
        {"$sort": {**dict.fromkeys(ORDERS[by], -1), "doctor_id": 1}},
        {"$limit": limit},
    ]


def doctors_of_period(*, since: date | None = None, until: date | None = None) -> Pipeline:
    """Stages for each doctor's patients and appointments, in no order."""
    day: Stage = {"$gte": _midnight(since or date.min)}
    if until is not None:
        day["$lte"] = _midnight(until)
    return [
        {"$match": {"date": day, "status": {"$in": list(COUNTED)}}},
        {"$project": {"_id": 0, "doctor_id": 1, "patient_id": 1}},
        {
            "$group": {
                "_id": "$doctor_id",
                "patients": {"$addToSet": "$patient_id"},
                "appointments": {"$sum": 1},
            }
        },
        {"$project": {"_id": 0, "doctor_id": "$_id", "patients": {"$size": "$patients"}, "appointments": 1}},
    ]


def _midnight(day: date) -> datetime:
    # As a calendar day is stored; BSON has no dates, and the driver by itself takes none.
    return datetime.combine(day, time.min, tzinfo=UTC)


def months_of_facts() -> Pipeline:
    """Stages for all appointments by year, month and status: {_id: {year, month, status}, appointments: int}."""
    return [
        {"$project": {"_id": 0, "date": 1, "status": 1}},
        {
            "$group": {
                "_id": {"year": {"$year": "$date"}, "month": {"$month": "$date"}, "status": "$status"},
                "appointments": {"$sum": 1},
            }
        },
    ]


def diseases_of_treatments() -> Pipeline:
    """Stages for the treatments of each disease: {_id: {basis, disease}, patients: int, ongoing: int, days: int}."""
    return [
        {
            "$group": {
                "_id": {"basis": "$_id.b", "disease": "$_id.d"},
                "patients": {"$sum": 1},
                "ongoing": {"$sum": {"$cond": ["$ongoing", 1, 0]}},
                "days": {"$sum": "$days"},
            }
        },
    ]


def costs_of_facts() -> Pipeline:
    """Stages for what prescriptions cost: {_id: disease, prescriptions: int, costed: int, cost: Decimal}."""
    return [
        {"$match": {"disease": {"$gt": ""}}},
        {
            "$group": {
                "_id": "$disease",
                "prescriptions": {"$sum": 1},
                "costed": {"$sum": {"$cond": [{"$gt": ["$cost", None]}, 1, 0]}},
                "cost": {"$sum": "$cost"},
            }
        },
    ]


def prescribed_for_visits() -> Pipeline:
    """Stages for the appointments whose bills each disease's prescriptions bring in.

    Reads:   prescriptions {disease, doctor_id, appointment_id}, all of them, as they are stored: MongoDB by itself
             takes the index of COST_INDEX and fetches each (0.9 s against 0.5 at 500,000), and an index that holds
             these fields was no faster (94 ms against 73 at 100,000)
    Yields:  {_id: {disease: str, doctor_id: str}, named: [str]}, with repetitions; by doctor, as one document holds
             16 MB at most, a million ids
    Source:  brief, "average-prescription-cost"
    """
    return _prescribed("appointment_id", {"$gt": ""})


def prescribed_without_visit() -> Pipeline:
    """Stages for the patients whose bills without an appointment each disease's prescriptions bring in.

    Reads:   prescriptions that name no appointment {disease, doctor_id, patient_id}, by the index COST_INDEX
    Yields:  {_id: {disease: str, doctor_id: str}, named: [str]}, with repetitions
    Source:  brief, "average-prescription-cost"
    """
    return _prescribed("patient_id", None)


def _prescribed(named: str, appointment: Any) -> Pipeline:
    return [
        {"$match": {"disease": {"$gt": ""}, "appointment_id": appointment}},
        {"$project": {"_id": 0, "disease": 1, "doctor_id": 1, "appointment_id": 1, "patient_id": 1}},
        {"$group": {"_id": {"disease": "$disease", "doctor_id": "$doctor_id"}, "named": {"$push": f"${named}"}}},
    ]

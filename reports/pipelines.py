"""Aggregation pipelines of the reports, as pure functions that `reports.queries` runs. docs/reports.md defines them.

A driver takes a pipeline as it is: `client["healthcare"]["appointments"].aggregate(top_doctors_of_period(…))`.

Pipelines over rollups read the documents that `reports.projections` updates. Pipelines over facts read the records, for
periods and for `verify_reports`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from reports.rollups import COUNTED, Basis

Stage = dict[str, Any]
Pipeline = list[Stage]

#: The parameter `by` of the report → the fields by which the doctors are sorted, in this order.
ORDERS: Mapping[str, Sequence[str]] = {
    "patients": ("patients", "appointments"),
    "appointments": ("appointments", "patients"),
}
#: The index for each sort order; `reports.models.Counter` defines it.
ORDER_INDEXES: Mapping[str, str] = {"patients": "report_by_patients", "appointments": "report_by_appointments"}
#: The index for periods; `appointments.models.Appointment` defines it.
PERIOD_INDEX = "appointment_report"
#: The index for prescriptions without a visit. Most prescriptions have a visit; for these a collection scan is faster.
COST_INDEX = "prescription_appointment"


# --- Over rollups ----------------------------------------------------------------------------------------------------


def top_doctors(*, limit: int, by: str) -> Pipeline:
    """Return the stages for the doctors with the most patients or appointments.

    Reads:   report_counters, the documents of doctors: the first `limit` keys of one index
    Yields:  {doctor_id: str, patients: int, appointments: int}
    Source:  docs/reports.md, "top-doctors" without a period
    """
    first, second = ORDERS[by]
    return [
        # The index is partial: MongoDB uses it only if the query has its condition.
        {"$match": {first: {"$gt": 0}}},
        {"$sort": {first: -1, second: -1, "doctor_id": 1}},
        {"$limit": limit},
        {"$project": {"_id": 0, "doctor_id": 1, "patients": 1, "appointments": 1}},
    ]


def months(*, year: int) -> Pipeline:
    """Return the stages for the appointments of a year by month and status.

    Reads:   report_counters, the document of the year in each bucket
    Yields:  {_id: {month: "09", status: str}, appointments: int}
    Source:  docs/reports.md, "monthly-appointments-trend"
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
    """Return the stages for the treatments of each disease.

    Reads:   report_counters, the document of the basis in each bucket
    Yields:  {disease: str, patients: int, ongoing: int, days: int}
    Units:   whole days, both ends counted, over the treatments that are not ongoing
    Source:  docs/reports.md, "disease-trends"
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
    """Return the stages for the prescriptions of each disease.

    Reads:   report_counters, the document of costs in each bucket
    Yields:  {disease: str, prescriptions: int, costed: int, cents: int}
    Units:   hundredths of the currency, over the prescriptions that have a cost
    Source:  docs/reports.md, "average-prescription-cost"
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
    # A range of the primary key: ":" is the character after "9".
    return {"_id": {"$gte": prefix, "$lt": f"{prefix}:"}}


# --- Over facts ------------------------------------------------------------------------------------------------------


def top_doctors_of_period(*, limit: int, by: str, since: date | None = None, until: date | None = None) -> Pipeline:
    """Return the stages for the doctors with the most patients or appointments in a period.

    Reads:   appointments {date, status, doctor_id, patient_id}, covered by the index PERIOD_INDEX
    Yields:  {doctor_id: str, patients: int, appointments: int}
    Source:  docs/reports.md, "top-doctors" with a period
    """
    return [
        *doctors_of_period(since=since, until=until),
        {"$sort": {**dict.fromkeys(ORDERS[by], -1), "doctor_id": 1}},
        {"$limit": limit},
    ]


def doctors_of_period(*, since: date | None = None, until: date | None = None) -> Pipeline:
    """Return the stages for the patients and appointments of each doctor in a period, in no order.

    Reads:   appointments {date, status, doctor_id, patient_id}, covered by the index PERIOD_INDEX
    Yields:  {doctor_id: str, patients: int, appointments: int}
    Source:  docs/reports.md, "top-doctors"
    """
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
    # BSON has no dates: a calendar day is stored as its midnight in UTC.
    return datetime.combine(day, time.min, tzinfo=UTC)


def months_of_facts() -> Pipeline:
    """Return the stages for all appointments by year, month and status.

    Reads:   appointments {date, status}, all of them
    Yields:  {_id: {year: int, month: int, status: str}, appointments: int}
    Source:  docs/reports.md, "monthly-appointments-trend"
    """
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
    """Return the stages for the treatments of each disease and basis.

    Reads:   report_treatments, all of them
    Yields:  {_id: {basis: str, disease: str}, patients: int, ongoing: int, days: int}
    Units:   whole days, both ends counted, over the treatments that are not ongoing
    Source:  docs/reports.md, "disease-trends"
    """
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
    """Return the stages for the costs of the prescriptions of each disease.

    Reads:   prescriptions {disease, cost}, all of them
    Yields:  {_id: disease, prescriptions: int, costed: int, cost: Decimal128}
    Units:   units of the currency, over the prescriptions that have a cost
    Source:  docs/reports.md, "average-prescription-cost"
    """
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
    """Return the stages for the appointments whose bills count for each disease of a prescription.

    Reads:   prescriptions {disease, doctor_id, appointment_id}, all of them, by a collection scan: without a hint
             MongoDB uses COST_INDEX and fetches each document (0.9 s instead of 0.5 s at 500,000 prescriptions), and
             an index with these fields was no faster (94 ms instead of 73 ms at 100,000)
    Yields:  {_id: {disease: str, doctor_id: str}, named: [str]}, with repetitions; by doctor, because a document has
             at most 16 MB, which is a million ids
    Source:  docs/reports.md, "average-prescription-cost"
    """
    return _prescribed("appointment_id", {"$gt": ""})


def prescribed_without_visit() -> Pipeline:
    """Return the stages for the patients whose bills without an appointment count for each disease.

    Reads:   prescriptions that name no appointment {disease, doctor_id, patient_id}, by the index COST_INDEX
    Yields:  {_id: {disease: str, doctor_id: str}, named: [str]}, with repetitions
    Source:  docs/reports.md, "average-prescription-cost"
    """
    return _prescribed("patient_id", None)


def _prescribed(named: str, appointment: object) -> Pipeline:
    return [
        {"$match": {"disease": {"$gt": ""}, "appointment_id": appointment}},
        {"$project": {"_id": 0, "disease": 1, "doctor_id": 1, "appointment_id": 1, "patient_id": 1}},
        {"$group": {"_id": {"disease": "$disease", "doctor_id": "$doctor_id"}, "named": {"$push": f"${named}"}}},
    ]

"""Queries of the reports: pipelines on MongoDB, one statement on PostgreSQL, and the join of their results.

A report has the same rows for everybody who may read it, so no query depends on the account. `reports.permissions`
decides who may read reports.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.db import IntegrityError, connections, transaction

from appointments.models import Appointment
from appointments.models import Status as AppointmentStatus
from billing.models import Status as BillStatus
from doctors.models import Doctor
from healthcare import audit_context, clock
from healthcare.errors import InvalidValue
from healthcare.mongodb import raw
from healthcare.routers import DEFAULT
from prescriptions.models import Prescription
from reports import pipelines
from reports.models import Counter, Result
from reports.rollups import Basis

TOP_DOCTORS = "top-doctors"
DISEASE_TRENDS = "disease-trends"
MONTHLY_TREND = "monthly-appointments-trend"
PRESCRIPTION_COST = "average-prescription-cost"
NAMES = (TOP_DOCTORS, DISEASE_TRENDS, MONTHLY_TREND, PRESCRIPTION_COST)

#: The maximum age of the report on costs, and the lease within which one process rebuilds it.
COST_MAX_AGE = timedelta(seconds=60)
COST_LEASE = timedelta(seconds=30)
_COST_POLL_SECONDS = 0.05
_COST_TIME_MS = 60_000
_CENT = Decimal("0.01")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report of docs/reports.md: its rows as dicts by field, and the instant as of which they are correct."""

    name: str
    parameters: dict[str, Any]
    rows: list[Row]
    as_of: datetime

    def __post_init__(self) -> None:
        # A report is made of everybody's records, so the access must be recorded in the audit log.
        audit_context.mark_queried("report")


def top_doctors(
    *, limit: int = 5, by: str = "patients", since: date | None = None, until: date | None = None
) -> Report:
    """Return the doctors with the most patients or appointments (`by`), of all time or of a period.

    The first and the last day of the period are included. Raises: InvalidValue if the period ends before it begins.
    """
    if since is not None and until is not None and until < since:
        raise InvalidValue("The period ends before it begins.", field="to")
    as_of = clock.now()
    if since is None and until is None:
        hint = pipelines.ORDER_INDEXES[by]
        found = raw.aggregate(Counter, pipelines.top_doctors(limit=limit, by=by), hint=hint)
    else:
        pipeline = pipelines.top_doctors_of_period(limit=limit, by=by, since=since, until=until)
        found = raw.aggregate(Appointment, pipeline, hint=pipelines.PERIOD_INDEX)
    return Report(
        name=TOP_DOCTORS,
        parameters={"limit": limit, "by": by, "from": since, "to": until},
        rows=_with_doctors(found),
        as_of=as_of,
    )


def disease_trends(*, basis: Basis = "prescriptions") -> Report:
    """Return how long each disease is treated, by prescriptions or by completed visits."""
    as_of = clock.now()
    found = raw.aggregate(Counter, pipelines.diseases(basis=basis))
    rows = [
        {
            "disease": each["disease"],
            "patients": each["patients"],
            "ongoing": each["ongoing"],
            "average_treatment_days": _average(each["days"], each["patients"] - each["ongoing"]),
        }
        for each in found
    ]
    rows.sort(key=_by_disease)
    return Report(name=DISEASE_TRENDS, parameters={"basis": basis}, rows=rows, as_of=as_of)


def monthly_appointments_trend(*, year: int) -> Report:
    """Return the appointments of a year by month and status, always twelve rows."""
    as_of = clock.now()
    counted = {
        (int(each["_id"]["month"]), each["_id"]["status"]): each["appointments"]
        for each in raw.aggregate(Counter, pipelines.months(year=year))
    }
    statuses = (AppointmentStatus.COMPLETED, AppointmentStatus.CANCELLED, AppointmentStatus.SCHEDULED)
    rows = [
        {"month": month, **{status.value: counted.get((month, status.value), 0) for status in statuses}}
        for month in range(1, 13)
    ]
    return Report(name=MONTHLY_TREND, parameters={"year": year}, rows=rows, as_of=as_of)


def average_prescription_cost(*, fresh: bool = False) -> Report:
    """Return the average costs of prescriptions and billed visits, by disease.

    If the stored report is older than a minute, one process rebuilds it and the others wait for the result. `fresh`
    requires a report that was built after this call began.
    """
    asked_at = clock.now()
    oldest = asked_at if fresh else asked_at - COST_MAX_AGE
    while True:
        stored = raw.collection(Result).find_one({"_id": PRESCRIPTION_COST})
        # Strictly later, because MongoDB stores whole milliseconds: an equal time may be an earlier one.
        if stored and stored.get("as_of") and stored["as_of"] > oldest:
            return _cost_report(stored["rows"], stored["as_of"])
        if _acquire_lease(stored):
            return _rebuild_costs()
        time.sleep(_COST_POLL_SECONDS)


def costs_from_databases() -> list[Row]:
    """Return the rows of average-prescription-cost: one snapshot of MongoDB, then one statement on PostgreSQL."""
    with raw.snapshot():
        costs = sorted(raw.aggregate(Counter, pipelines.costs()), key=_by_disease)
        of_visits = raw.aggregate(
            Prescription, pipelines.prescribed_for_visits(), hint=raw.NATURAL_ORDER, max_time_ms=_COST_TIME_MS
        )
        without_visit = raw.aggregate(
            Prescription,
            pipelines.prescribed_without_visit(),
            hint=pipelines.COST_INDEX,
            max_time_ms=_COST_TIME_MS,
        )
    names = [each["disease"] for each in costs]
    billed = _billed(names, of_visits, without_visit)
    rows = []
    for number, each in enumerate(costs):
        bills, total = billed.get(number, (0, Decimal(0)))
        rows.append(
            {
                "disease": each["disease"],
                "prescriptions": each["prescriptions"],
                "average_prescription_cost": _average(Decimal(each["cents"]).scaleb(-2), each["costed"]),
                "billed_visits": bills,
                "average_total_cost": _average(total, bills),
            }
        )
    return rows


def _billed(
    names: Sequence[str], of_visits: list[raw.Document], without_visit: list[raw.Document]
) -> dict[int, tuple[int, Decimal]]:
    """Return the number of bills of each disease and their sum, by the position of the disease, with one statement."""
    visits, patients = _named(names, of_visits), _named(names, without_visit)
    connection = connections[DEFAULT]
    with transaction.atomic(using=DEFAULT), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Parallel workers take longer to start than they save (0.7 s instead of 0.4 s). The planner does not know
            # how many ids a text holds, and would choose a nested loop over half a million of them.
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL enable_nestloop = off")
            # One text for each disease: the driver takes five times as long to write half a million ids as an array.
            texts = [["\n".join(ids) for ids in each] for each in (visits, patients)]
            cursor.execute(_BILLED, [*texts, list(names)])
        else:
            # SQLite has no arrays.
            lists = [[list(ids) for ids in each] for each in (visits, patients)]
            cursor.execute(_BILLED_SQLITE, [json.dumps(each) for each in (*lists, list(names))])
        return {number: (bills, Decimal(cents).scaleb(-2)) for number, bills, cents in cursor.fetchall()}


def _named(names: Sequence[str], parts: Iterable[raw.Document]) -> list[set[str]]:
    """Return the ids that the prescriptions of each disease name, each id once, in the order of `names`."""
    sets: dict[str, set[str]] = {}
    for part in parts:
        sets.setdefault(part["_id"]["disease"], set()).update(part["named"])
    return [sets.get(name, set()) for name in names]


# A bill either has an appointment or has none, so no bill is in both parts of the UNION. Each id occurs once for a
# disease. An id has no line break.
_BILLED = f"""
    SELECT number - 1, count(*), (sum(total_cost) * 100)::bigint FROM (
        SELECT disease.number, bill.total_cost
        FROM unnest(%s::text[]) WITH ORDINALITY AS disease (ids, number)
        CROSS JOIN unnest(string_to_array(disease.ids, E'\\n')) AS link (appointment_id)
        JOIN billing AS bill ON bill.appointment_id = link.appointment_id
        WHERE bill.status <> '{BillStatus.VOID.value}'
        UNION ALL
        SELECT disease.number, bill.total_cost
        FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS disease (ids, name, number)
        CROSS JOIN unnest(string_to_array(disease.ids, E'\\n')) AS link (patient_id)
        JOIN billing AS bill ON bill.patient_id = link.patient_id AND bill.disease = disease.name
        WHERE bill.appointment_id IS NULL AND bill.status <> '{BillStatus.VOID.value}'
    ) AS billed GROUP BY number
"""  # noqa: S608 - a constant of ours
_BILLED_SQLITE = f"""
    SELECT number, count(*), sum(CAST(round(total_cost * 100) AS INTEGER)) FROM (
        SELECT disease.key AS number, bill.total_cost
        FROM json_each(%s) AS disease JOIN json_each(disease.value) AS link
        JOIN billing AS bill ON bill.appointment_id = link.value
        WHERE bill.status <> '{BillStatus.VOID.value}'
        UNION ALL
        SELECT disease.key, bill.total_cost
        FROM json_each(%s) AS disease JOIN json_each(disease.value) AS link
        JOIN json_each(%s) AS named ON named.key = disease.key
        JOIN billing AS bill ON bill.patient_id = link.value AND bill.disease = named.value
        WHERE bill.appointment_id IS NULL AND bill.status <> '{BillStatus.VOID.value}'
    ) AS billed GROUP BY number
"""  # noqa: S608 - a constant of ours


def _acquire_lease(stored: raw.Document | None) -> bool:
    """Acquire the lease to rebuild the report on costs, and return whether this process has it."""
    now = clock.now()
    lease = {"$set": {"busy_until": now + COST_LEASE}}
    try:
        if stored is None:
            raw.collection(Result).insert_one({"_id": PRESCRIPTION_COST, **lease["$set"]})
            return True
    except IntegrityError:
        return False
    free = {"_id": PRESCRIPTION_COST, "$or": [{"busy_until": None}, {"busy_until": {"$lt": now}}]}
    return bool(raw.collection(Result).update_one(free, lease).modified_count)


def _rebuild_costs() -> Report:
    # The time is taken before the databases are read, so that the rows are at least as new as this time.
    as_of = clock.now()
    done: dict[str, Any] = {"busy_until": None}
    try:
        rows = costs_from_databases()
        done |= {"rows": rows, "as_of": as_of}
    finally:
        raw.collection(Result).update_one({"_id": PRESCRIPTION_COST}, {"$set": done})
    return _cost_report(rows, as_of)


def _cost_report(rows: list[Row], as_of: datetime) -> Report:
    return Report(name=PRESCRIPTION_COST, parameters={}, rows=rows, as_of=as_of)


def _with_doctors(found: list[raw.Document]) -> list[Row]:
    """Return the rows with the names and specialties of the doctors; both are null for a deleted doctor."""
    ids = [each["doctor_id"] for each in found]
    doctors = {
        each["_id"]: each
        for each in raw.collection(Doctor).find({"_id": {"$in": ids}}, projection=["name", "specialty"])
    }
    return [
        {
            "doctor_id": each["doctor_id"],
            "name": doctors.get(each["doctor_id"], {}).get("name"),
            "specialty": doctors.get(each["doctor_id"], {}).get("specialty"),
            "patients": each["patients"],
            "appointments": each["appointments"],
        }
        for each in found
    ]


def _average(total: Decimal | int, number: int) -> Decimal | None:
    """Return the average with two places, rounded half to even, or None if `number` is 0."""
    if not number:
        return None
    return (Decimal(total) / number).quantize(_CENT, rounding=ROUND_HALF_EVEN)


def _by_disease(row: Row) -> str:
    return str(row["disease"])

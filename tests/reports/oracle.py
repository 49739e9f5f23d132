"""Test oracle of the reports: the definitions of docs/reports.md in plain Python over exported records.

The oracle shares no code with the product, so that an error in a pipeline cannot be in both. Records are dicts as the
API returns them, with dates as `date` and money as Decimal.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

Record = dict[str, Any]


def to_places(number: Fraction) -> Decimal:
    """Round an exact fraction to two places, half to even."""
    hundredfold = number * 100
    whole, rest = divmod(hundredfold.numerator, hundredfold.denominator)
    twice = 2 * rest
    if twice > hundredfold.denominator or (twice == hundredfold.denominator and whole % 2):
        whole += 1
    return (Decimal(whole) / 100).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def mean(numbers: Iterable[Any]) -> Decimal | None:
    listed = [Fraction(number) for number in numbers]
    return to_places(sum(listed, Fraction(0)) / len(listed)) if listed else None


def top_doctors(
    doctors: list[Record], appointments: list[Record], limit: int, by: str, since: date | None, until: date | None
) -> list[Record]:
    """Return the figures of each doctor in [from, to], ordered by the chosen figure, the other figure and the id."""
    counted = [
        visit
        for visit in appointments
        if visit["status"] != "cancelled"
        and (since is None or visit["date"] >= since)
        and (until is None or visit["date"] <= until)
    ]
    rows = []
    for doctor in doctors:
        own = [visit for visit in counted if visit["doctor_id"] == doctor["doctor_id"]]
        if own:
            rows.append(
                {
                    "doctor_id": doctor["doctor_id"],
                    "name": doctor["name"],
                    "specialty": doctor["specialty"],
                    "patients": len({visit["patient_id"] for visit in own}),
                    "appointments": len(own),
                }
            )
    other = "appointments" if by == "patients" else "patients"
    rows.sort(key=lambda row: (-row[by], -row[other], row["doctor_id"]))
    return rows[:limit]


def disease_trends(appointments: list[Record], prescriptions: list[Record], basis: str) -> list[Record]:
    """Return the figures of each disease over its treatments, of which each (patient, disease) has one."""
    treatments: dict[tuple[str, str], list[tuple[date, date | None]]] = {}
    if basis == "prescriptions":
        for course in prescriptions:
            if course["disease"]:
                open_ended = course["duration_days"] is None
                end = None if open_ended else course["start_date"] + timedelta(days=course["duration_days"] - 1)
                treatments.setdefault((course["disease"], course["patient_id"]), []).append((course["start_date"], end))
    else:
        for visit in appointments:
            if visit["disease"] and visit["status"] == "completed":
                treatments.setdefault((visit["disease"], visit["patient_id"]), []).append(
                    (visit["date"], visit["date"])
                )
    rows = []
    for disease in sorted({disease for disease, _ in treatments}):
        mine = [spans for (its, _), spans in treatments.items() if its == disease]
        closed = [spans for spans in mine if all(end is not None for _, end in spans)]
        lengths = [
            (max(end for _, end in spans if end is not None) - min(start for start, _ in spans)).days + 1
            for spans in closed
        ]
        rows.append(
            {
                "disease": disease,
                "patients": len(mine),
                "ongoing": len(mine) - len(closed),
                "average_treatment_days": mean(lengths),
            }
        )
    return rows


def monthly_trend(appointments: list[Record], year: int) -> list[Record]:
    return [
        {
            "month": month,
            **{
                status: sum(
                    1
                    for visit in appointments
                    if (visit["date"].year, visit["date"].month, visit["status"]) == (year, month, status)
                )
                for status in ("completed", "cancelled", "scheduled")
            },
        }
        for month in range(1, 13)
    ]


def prescription_cost(prescriptions: list[Record], bills: list[Record]) -> list[Record]:
    """Return the costs for each disease that a prescription names."""
    rows = []
    valid = [bill for bill in bills if bill["status"] != "void"]
    for disease in sorted({course["disease"] for course in prescriptions if course["disease"]}):
        mine = [course for course in prescriptions if course["disease"] == disease]
        visits = {course["appointment_id"] for course in mine if course["appointment_id"] is not None}
        without_visit = {course["patient_id"] for course in mine if course["appointment_id"] is None}
        counted_bills = [
            bill
            for bill in valid
            if (bill["appointment_id"] is not None and bill["appointment_id"] in visits)
            or (bill["appointment_id"] is None and bill["disease"] == disease and bill["patient_id"] in without_visit)
        ]
        rows.append(
            {
                "disease": disease,
                "prescriptions": len(mine),
                "average_prescription_cost": mean(c["cost"] for c in mine if c["cost"] is not None),
                "billed_visits": len(counted_bills),
                "average_total_cost": mean(bill["total_cost"] for bill in counted_bills),
            }
        )
    return rows

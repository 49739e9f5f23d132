"""The charts of patients, made anew from the collections that they are copies of. Pure: stages and updates as data."""

from collections.abc import Collection, Iterable
from typing import Any

from pymongo import UpdateOne

from patients.models import CHART_LENGTH, ChartAppointment, ChartPrescription

Stages = list[dict[str, Any]]


def newest_visits(patient_ids: Collection[str]) -> Stages:
    """Stages for what the charts of these patients show of their visits.

    Reads:   appointments {patient_id, date, time, _id and what ChartAppointment has}
    Yields:  {_id: patient_id, chart: [ChartAppointment]}, the newest first; nobody without visits
    """
    return _newest(patient_ids, ChartAppointment, key="appointment_id", order=("date", "time", "_id"))


def newest_prescriptions(patient_ids: Collection[str]) -> Stages:
    """The same of `prescriptions`, by start date."""
    return _newest(patient_ids, ChartPrescription, key="prescription_id", order=("start_date", "_id"))


def _newest(patient_ids: Collection[str], entry: type, *, key: str, order: tuple[str, ...]) -> Stages:
    shown = {
        field.name: "$_id" if field.name == key else f"${field.name}"
        for field in entry._meta.fields  # type: ignore[attr-defined]
        if not field.primary_key
    }
    newest = {"n": CHART_LENGTH, "sortBy": dict.fromkeys(order, -1), "output": shown}
    return [
        {"$match": {"patient_id": {"$in": sorted(patient_ids)}}},
        {"$group": {"_id": "$patient_id", "chart": {"$topN": newest}}},
    ]


def chart_updates(field: str, charts: Iterable[dict[str, Any]]) -> list[UpdateOne]:
    """Updates that put the charts into their patients; each raises the patient's revision (design decision 6)."""
    return [
        UpdateOne({"_id": found["_id"]}, {"$set": {field: found["chart"]}, "$inc": {"revision": 1}})
        for found in charts
    ]

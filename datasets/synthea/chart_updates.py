"""Stages and updates for the charts that patients embed, as data: one replaces a chart, the other adds to it.

A chart is a copy of the newest documents of a collection. Each update raises the patient's revision
(docs/decisions/0006-one-transaction-per-clinical-write.md).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models
from pymongo import UpdateOne

from appointments.models import Appointment
from healthcare.mongodb.raw import Document
from patients.models import CHART_LENGTH, ChartAppointment, ChartPrescription
from prescriptions.models import Prescription

_RAISE_REVISION = {"revision": 1}


@dataclass(frozen=True)
class ChartList:
    """One of the two lists of a patient's chart, which copies the newest documents of `model`."""

    field: str
    model: type[models.Model]
    entry: type[models.Model]
    key: str
    order: tuple[str, ...]

    @property
    def _fields(self) -> list[str]:
        return [field.name for field in self.entry._meta.fields if not field.primary_key]

    def newest(self, patient_ids: Collection[str]) -> list[Document]:
        """Return the stages that find what the charts of these patients should hold.

        Reads:   the model's collection {patient_id, the fields of the entry}
        Yields:  {_id: patient_id, chart: [entry]}, the newest entry first; no document for a patient without entries
        """
        newest = {
            "n": CHART_LENGTH,
            "sortBy": {"_id" if name == self.key else name: -1 for name in self.order},
            "output": {name: "$_id" if name == self.key else f"${name}" for name in self._fields},
        }
        return [
            {"$match": {"patient_id": {"$in": sorted(patient_ids)}}},
            {"$group": {"_id": "$patient_id", "chart": {"$topN": newest}}},
        ]

    def replacements(self, charts: Iterable[Document]) -> list[UpdateOne]:
        """Return the updates that replace charts by the result of `newest`."""
        return [
            UpdateOne({"_id": found["_id"]}, {"$set": {self.field: found["chart"]}, "$inc": _RAISE_REVISION})
            for found in charts
        ]

    def additions(self, items: Iterable[Any]) -> list[UpdateOne]:
        """Return the updates that add these documents to charts that were right before."""
        entries: dict[str, list[Document]] = {}
        for item in items:
            entry = {name: item.pk if name == self.key else getattr(item, name) for name in self._fields}
            entries.setdefault(item.patient_id, []).append(entry)
        order = dict.fromkeys(self.order, -1)
        return [
            UpdateOne(
                {"_id": patient_id},
                {
                    "$push": {self.field: {"$each": new, "$sort": order, "$slice": CHART_LENGTH}},
                    "$inc": _RAISE_REVISION,
                },
            )
            for patient_id, new in entries.items()
        ]


APPOINTMENTS = ChartList(
    "appointments", Appointment, ChartAppointment, "appointment_id", ("date", "time", "appointment_id")
)
PRESCRIPTIONS = ChartList(
    "prescriptions", Prescription, ChartPrescription, "prescription_id", ("start_date", "prescription_id")
)

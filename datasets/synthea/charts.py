"""The charts of patients: made anew from the collections that they are copies of, or added to. Pure: stages and
updates as data, the latter with the patient's revision raised (design decision 6).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models
from pymongo import UpdateOne

from appointments.models import Appointment
from patients.models import CHART_LENGTH, ChartAppointment, ChartPrescription
from prescriptions.models import Prescription

_RAISE = {"revision": 1}


@dataclass(frozen=True)
class Chart:
    """One of the lists that a patient embeds: copies of the newest documents of `model`."""

    field: str
    model: type[models.Model]
    entry: type[models.Model]
    key: str
    order: tuple[str, ...]

    @property
    def _shown(self) -> list[str]:
        return [field.name for field in self.entry._meta.fields if not field.primary_key]

    def newest(self, patient_ids: Collection[str]) -> list[dict[str, Any]]:
        """Stages for what the charts of these patients should hold.

        Reads:   the model's collection {patient_id, what the entry has}
        Yields:  {_id: patient_id, chart: [entry]}, the newest first; nobody who has no documents
        """
        newest = {
            "n": CHART_LENGTH,
            "sortBy": {"_id" if name == self.key else name: -1 for name in self.order},
            "output": {name: "$_id" if name == self.key else f"${name}" for name in self._shown},
        }
        return [
            {"$match": {"patient_id": {"$in": sorted(patient_ids)}}},
            {"$group": {"_id": "$patient_id", "chart": {"$topN": newest}}},
        ]

    def replacements(self, charts: Iterable[dict[str, Any]]) -> list[UpdateOne]:
        """Updates that put what `newest` found in the place of what is there."""
        return [
            UpdateOne({"_id": found["_id"]}, {"$set": {self.field: found["chart"]}, "$inc": _RAISE}) for found in charts
        ]

    def additions(self, items: Iterable[Any]) -> list[UpdateOne]:
        """Updates that add these documents to charts that were right before."""
        entries: dict[str, list[dict[str, Any]]] = {}
        for item in items:
            entry = {name: item.pk if name == self.key else getattr(item, name) for name in self._shown}
            entries.setdefault(item.patient_id, []).append(entry)
        order = dict.fromkeys(self.order, -1)
        return [
            UpdateOne(
                {"_id": patient_id},
                {"$push": {self.field: {"$each": new, "$sort": order, "$slice": CHART_LENGTH}}, "$inc": _RAISE},
            )
            for patient_id, new in entries.items()
        ]


VISITS = Chart("appointments", Appointment, ChartAppointment, "appointment_id", ("date", "time", "appointment_id"))
PRESCRIPTIONS = Chart(
    "prescriptions", Prescription, ChartPrescription, "prescription_id", ("start_date", "prescription_id")
)

"""The chart in each patient against the collections that it is a copy of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import models

from appointments import queries as appointment_queries
from appointments.models import Appointment
from healthcare.mongodb import raw
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from operations.consistency.findings import Finding, Tally, amount, batches, documents_of
from patients import chart
from patients.models import CHART_LENGTH, Patient
from prescriptions import queries as prescription_queries
from prescriptions.models import Prescription

#: Small, since each has two charts of up to fifty entries.
PATIENTS_AT_ONCE = 200

Entry = Mapping[str, Any]
#: The wrong charts of some patients: (patient_id, kind) → the sentence.
Wrong = dict[tuple[str, chart.Kind], str]


class _Kind(NamedTuple):
    """One of the two lists. `newest` reads a patient's from the collection, as the services do."""

    kind: chart.Kind
    model: type[models.Model]
    key: str
    entry: Callable[[Mapping[str, Any]], dict[str, Any]]
    newest: Callable[[str], list[dict[str, Any]]]

    def entries_of(self, patient_ids: list[str]) -> dict[str, list[dict[str, Any]]]:
        """What the charts of these patients should hold; those of nobody are absent."""
        order = [name if name != chart.KEYS[self.kind] else "_id" for name in chart.ORDER[self.kind]]
        pipeline: list[raw.Document] = [
            {"$match": {"patient_id": {"$in": patient_ids}}},
            # An index reads in this order, downwards.
            {"$sort": {"patient_id": -1, **dict.fromkeys(order, -1)}},
            {"$project": {**dict.fromkeys(self.entry({}), True), "patient_id": True}},
        ]
        found: dict[str, list[dict[str, Any]]] = {}
        for document in raw.collection(self.model).stream(pipeline):
            entries = found.setdefault(document["patient_id"], [])
            if len(entries) < CHART_LENGTH:
                document[self.key] = document["_id"]
                entries.append(self.entry(document))
        return found


KINDS = (
    _Kind(
        "appointments",
        Appointment,
        "appointment_id",
        appointment_queries.chart_entry,
        appointment_queries.newest_entries,
    ),
    _Kind("prescriptions", Prescription, "id", prescription_queries.chart_entry, prescription_queries.newest_entries),
)


def find(tally: Tally) -> Iterator[Finding]:
    pipeline: list[raw.Document] = [{"$project": {each.kind: True for each in KINDS}}]
    for patients in batches(raw.collection(Patient).stream(pipeline), PATIENTS_AT_ONCE):
        tally.count(len(patients))
        patient_ids = [patient["_id"] for patient in patients]
        suspects: list[tuple[str, _Kind]] = []
        for each in KINDS:
            expected = each.entries_of(patient_ids)
            suspects += [
                (patient["_id"], each)
                for patient in patients
                if patient.get(each.kind) != expected.get(patient["_id"], [])
            ]
        if suspects:
            for (patient_id, kind), sentence in _still_wrong(suspects).items():
                yield Finding((patient_id,), sentence, partial(_rewrite, patient_id, kind))


@clinical_transaction
def _still_wrong(suspects: Sequence[tuple[str, _Kind]]) -> Wrong:
    """The suspects that differ at one instant, too, which is what a transaction sees."""
    wrong: Wrong = {}
    patients = documents_of(Patient, {patient_id for patient_id, _ in suspects}, [each.kind for each in KINDS])
    for patient_id, each in suspects:
        if patient_id not in patients:
            continue
        shown, expected = patients[patient_id].get(each.kind), each.newest(patient_id)
        if shown != expected:
            difference = _difference(shown, expected, chart.KEYS[each.kind])
            wrong[patient_id, each.kind] = (
                f"Patient {patient_id}: the chart's {each.kind} are not those of the collection: {difference}."
            )
    return wrong


@clinical_transaction
def _rewrite(patient_id: str, kind: chart.Kind) -> None:
    each = next(each for each in KINDS if each.kind == kind)
    found = raw.collection(Patient).find_one({"_id": patient_id}, projection=[kind])
    expected = each.newest(patient_id)
    if found is not None and found.get(kind) != expected:
        chart.replace(kind, patient_id, expected)
        events.publish("patient.repaired", actor=None, patient_id=patient_id, subject_id=patient_id)


def _difference(shown: Any, expected: Sequence[Entry], key: str) -> str:
    if not isinstance(shown, list):
        return "there is no list"
    keys = [str(entry.get(key)) if isinstance(entry, dict) else "" for entry in shown]
    wanted = {str(entry[key]): entry for entry in expected}
    parts = {
        "missing": len(wanted.keys() - set(keys)),
        "too many": sum(each not in wanted for each in keys) + len(keys) - len(set(keys)),
        "with other values": sum(
            each in wanted and entry != wanted[each] for each, entry in zip(keys, shown, strict=True)
        ),
    }
    told = [f"{amount(number, 'entry')} {what}" for what, number in parts.items() if number]
    return ", ".join(told).replace("entrys", "entries") or "in another order"

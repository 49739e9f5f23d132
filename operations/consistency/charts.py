"""Checks that the chart in each patient equals the appointments and prescriptions that it copies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import models

from appointments import queries as appointment_queries
from appointments.models import Appointment
from healthcare.mongodb import raw
from healthcare.mongodb.raw import Document
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from operations.consistency.inconsistencies import CheckCounts, Inconsistency, batches, documents_of, pluralize
from patients import chart
from patients.models import CHART_LENGTH, Patient
from prescriptions import queries as prescription_queries
from prescriptions.models import Prescription

#: Small batches, because each patient has two lists of up to fifty entries.
PATIENTS_AT_ONCE = 200

Entry = Mapping[str, Any]
#: The wrong lists of some patients: (patient_id, kind) → the sentence.
WrongCharts = dict[tuple[str, chart.Kind], str]


class _Kind(NamedTuple):
    """One of the two lists of a chart. `newest` reads a patient's entries from the collection, as the services do."""

    kind: chart.Kind
    model: type[models.Model]
    key: str
    entry: Callable[[Mapping[str, Any]], Document]
    newest: Callable[[str], list[Document]]

    def entries_of(self, patient_ids: list[str]) -> dict[str, list[Document]]:
        """Return the entries that the charts of these patients must contain; patients without entries are absent."""
        order = [name if name != chart.KEYS[self.kind] else "_id" for name in chart.ORDER[self.kind]]
        pipeline: list[raw.Document] = [
            {"$match": {"patient_id": {"$in": patient_ids}}},
            # This is the order of an index, read backwards.
            {"$sort": {"patient_id": -1, **dict.fromkeys(order, -1)}},
            {"$project": {**dict.fromkeys(self.entry({}), True), "patient_id": True}},
        ]
        found: dict[str, list[Document]] = {}
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


def find(counts: CheckCounts) -> Iterator[Inconsistency]:
    pipeline: list[raw.Document] = [{"$project": {each.kind: True for each in KINDS}}]
    for patients in batches(raw.collection(Patient).stream(pipeline), PATIENTS_AT_ONCE):
        counts.add_compared(len(patients))
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
            for (patient_id, kind), sentence in _confirm(suspects).items():
                yield Inconsistency((patient_id,), sentence, partial(_rewrite, patient_id, kind))


@clinical_transaction
def _confirm(suspects: Sequence[tuple[str, _Kind]]) -> WrongCharts:
    """Return the suspects that still differ when patient and collection are read in one transaction."""
    wrong: WrongCharts = {}
    patients = documents_of(Patient, {patient_id for patient_id, _ in suspects}, [each.kind for each in KINDS])
    for patient_id, each in suspects:
        if patient_id not in patients:
            continue
        stored, expected = patients[patient_id].get(each.kind), each.newest(patient_id)
        if stored != expected:
            difference = _difference(stored, expected, chart.KEYS[each.kind])
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


def _difference(stored: object, expected: Sequence[Entry], key: str) -> str:
    if not isinstance(stored, list):
        return "there is no list"
    keys = [str(entry.get(key)) if isinstance(entry, dict) else "" for entry in stored]
    wanted = {str(entry[key]): entry for entry in expected}
    parts = {
        "missing": len(wanted.keys() - set(keys)),
        "too many": sum(each not in wanted for each in keys) + len(keys) - len(set(keys)),
        "with other values": sum(
            each in wanted and entry != wanted[each] for each, entry in zip(keys, stored, strict=True)
        ),
    }
    phrases = [f"{pluralize(number, 'entry')} {what}" for what, number in parts.items() if number]
    return ", ".join(phrases).replace("entrys", "entries") or "in another order"

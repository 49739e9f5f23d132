"""Checks that every record which another record names exists. A person must decide about most inconsistencies."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.db import models

from accounts.models import Role, User
from appointments.models import Appointment
from billing.models import Bill
from doctors.models import Doctor
from healthcare.mongodb import raw
from healthcare.mongodb.raw import Document
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from operations.consistency.inconsistencies import (
    BATCH,
    CheckCounts,
    Inconsistency,
    batches,
    documents_of,
    is_past_grace_period,
)
from patients.models import Patient
from prescriptions.models import Prescription

#: (referencing model, field, referenced model)
REFERENCES: tuple[tuple[type[models.Model], str, type[models.Model]], ...] = (
    (Appointment, "patient_id", Patient),
    (Appointment, "doctor_id", Doctor),
    (Prescription, "patient_id", Patient),
    (Prescription, "doctor_id", Doctor),
)


def find(counts: CheckCounts) -> Iterator[Inconsistency]:
    for model, field, target in REFERENCES:
        yield from _find_dangling(counts, model, field, target)
    yield from _find_prescriptions(counts)
    yield from _find_bills(counts)
    for holder, role in ((Patient, Role.PATIENT), (Doctor, Role.DOCTOR)):
        yield from _find_accounts(counts, holder, role)


# --- Patients and doctors of appointments and prescriptions


def _find_dangling(
    counts: CheckCounts, model: type[models.Model], field: str, target: type[models.Model]
) -> Iterator[Inconsistency]:
    # An index begins with the field, so the server reads one index entry for each distinct value.
    distinct: list[raw.Document] = [{"$sort": {field: 1}}, {"$group": {"_id": f"${field}"}}]
    for batch in batches(raw.collection(model).stream(distinct)):
        counts.add_compared(len(batch))
        named = {each["_id"] for each in batch}
        for key in sorted(named - documents_of(target, named).keys(), key=str):
            if not _is_dangling(model, field, target, key):
                continue
            for document in raw.collection(model).stream([{"$match": {field: key}}, {"$project": {"_id": True}}]):
                name, target_name = _model_name(model), _model_name(target)
                sentence = f"{name.capitalize()} {document['_id']} names {target_name} {key}, who does not exist."
                yield Inconsistency((str(document["_id"]), str(key)), sentence)


@clinical_transaction
def _is_dangling(model: type[models.Model], field: str, target: type[models.Model], key: object) -> bool:
    is_named = raw.collection(model).find_one({field: key}, projection=["_id"]) is not None
    return is_named and not documents_of(target, [key])


# --- The appointment of a prescription or bill, which is of the same patient


def _find_prescriptions(counts: CheckCounts) -> Iterator[Inconsistency]:
    named: list[raw.Document] = [
        {"$match": {"appointment_id": {"$ne": None}}},
        {"$project": {"appointment_id": True, "patient_id": True}},
    ]
    for batch in batches(raw.collection(Prescription).stream(named)):
        counts.add_compared(len(batch))
        suspects = _misnamed(batch)
        if suspects:
            for document, why in _still_misnamed([each["_id"] for each in suspects]):
                key, visit = document["_id"], document["appointment_id"]
                yield Inconsistency((str(key), visit), f"Prescription {key} names appointment {visit}, {why}.")


def _misnamed(named: list[Document]) -> list[Document]:
    """Return the documents that name an appointment which does not exist or is another patient's."""
    visits = documents_of(Appointment, {each["appointment_id"] for each in named}, ["patient_id"])
    return [
        each
        for each in named
        if each["appointment_id"] not in visits
        or visits[each["appointment_id"]].get("patient_id") != each.get("patient_id")
    ]


@clinical_transaction
def _still_misnamed(prescription_ids: list[Any]) -> list[tuple[Document, str]]:
    found = documents_of(Prescription, prescription_ids, ["appointment_id", "patient_id"]).values()
    return _with_reasons(_misnamed([each for each in found if each.get("appointment_id") is not None]))


def _with_reasons(misnamed: list[Document]) -> list[tuple[Document, str]]:
    existing = documents_of(Appointment, {each["appointment_id"] for each in misnamed})
    return [
        (each, "which is another patient's" if each["appointment_id"] in existing else "which does not exist")
        for each in misnamed
    ]


def _find_bills(counts: CheckCounts) -> Iterator[Inconsistency]:
    last = 0
    while rows := list(_bills(pk__gt=last).order_by("pk")[:BATCH]):
        last = rows[-1]["_id"]
        counts.add_compared(len(rows))
        suspects, lost = _suspect_bills(rows)
        if not suspects and not lost:
            continue
        # Bills, then what they name, then bills again: a bill that names the same record before and after that record
        # was found absent is inconsistent.
        numbers = {each["_id"] for each in (*suspects, *lost)}
        suspects, lost = _suspect_bills(list(_bills(pk__in=numbers)))
        now = list(_bills(pk__in=numbers))
        for bill, why in _with_reasons([each for each in suspects if each in now]):
            visit = bill["appointment_id"]
            yield Inconsistency((str(bill["_id"]), visit), f"Bill {bill['_id']} names appointment {visit}, {why}.")
        for bill in lost:
            if bill in now:
                patient = bill["patient_id"]
                sentence = f"Bill {bill['_id']} names patient {patient}, who does not exist."
                yield Inconsistency((str(bill["_id"]), patient), sentence)


def _bills(**which: Any) -> Any:
    """Return the keys that bills name."""
    return Bill.objects.filter(**which).values("patient_id", "appointment_id", _id=models.F("pk"))


def _suspect_bills(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the bills that name no appointment of their patient, and the bills whose patient does not exist.

    The patient of a bill with a valid appointment is not looked up, because the appointment's reference is checked.
    """
    suspects = _misnamed([row for row in rows if row["appointment_id"] is not None])
    others = [*suspects, *(row for row in rows if row["appointment_id"] is None)]
    patients = documents_of(Patient, {row["patient_id"] for row in others})
    return suspects, [row for row in others if row["patient_id"] not in patients]


# --- The accounts of patients and doctors


def _find_accounts(counts: CheckCounts, model: type[models.Model], role: str) -> Iterator[Inconsistency]:
    """Find records whose account does not exist, as after a crash during registration, or has another role."""
    linked: list[raw.Document] = [{"$match": {"user_id": {"$gt": 0}}}, {"$project": {"_id": True, "user_id": True}}]
    for batch in batches(raw.collection(model).stream(linked)):
        counts.add_compared(len(batch))
        suspects = _without_account(batch, role)
        if not suspects:
            continue
        again = documents_of(model, [each["_id"] for each in suspects], ["user_id", "created_at"])
        for record in _without_account([each for each in again.values() if each.get("user_id")], role):
            key, user_id = record["_id"], record["user_id"]
            about = f"{_model_name(model).capitalize()} {key} belongs to account {user_id},"
            # One query, because the account of a registration may appear between two.
            known = User.objects.filter(pk=user_id).values_list("role", flat=True).first()
            if known is not None and known != role:
                yield Inconsistency((key, str(user_id)), f"{about} which is not a {role}'s.")
            elif known is None and is_past_grace_period(record):
                repair = partial(_unlink_account, model, key, user_id)
                yield Inconsistency((key, str(user_id)), f"{about} which does not exist.", repair)


def _without_account(records: list[Document], role: str) -> list[Document]:
    accounts = {record["user_id"] for record in records}
    existing = set(User.objects.filter(pk__in=accounts, role=role).values_list("pk", flat=True))
    return [record for record in records if record["user_id"] not in existing]


def _unlink_account(model: type[models.Model], key: str, user_id: int) -> str | None:
    if User.objects.filter(pk=user_id).exists():
        return "the account exists now"
    _clear_account(model, key, user_id)
    return None


@clinical_transaction
def _clear_account(model: type[models.Model], key: str, user_id: int) -> None:
    increment = {"$inc": {"revision": 1}} if model is Patient else {}
    raw.collection(model).update_one({"_id": key, "user_id": user_id}, {"$set": {"user_id": None}, **increment})
    patient_id = key if model is Patient else None
    events.publish(f"{_model_name(model)}.repaired", actor=None, patient_id=patient_id, subject_id=key)


def _model_name(model: type[models.Model]) -> str:
    return str(model._meta.model_name)

"""What names a record that is not there. Nothing of it is deleted or made up: a person decides."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.db import models

from accounts.models import Role, User
from appointments.models import Appointment
from billing.models import Bill
from doctors.models import Doctor
from healthcare.mongodb import raw
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from operations.consistency.findings import BATCH, Finding, Tally, batches, documents_of, is_settled
from patients.models import Patient
from prescriptions.models import Prescription

#: (what names, by which field, what is named)
REFERENCES: tuple[tuple[type[models.Model], str, type[models.Model]], ...] = (
    (Appointment, "patient_id", Patient),
    (Appointment, "doctor_id", Doctor),
    (Prescription, "patient_id", Patient),
    (Prescription, "doctor_id", Doctor),
)


def find(tally: Tally) -> Iterator[Finding]:
    for model, field, target in REFERENCES:
        yield from _find_dangling(tally, model, field, target)
    yield from _find_prescriptions(tally)
    yield from _find_bills(tally)
    for holder, role in ((Patient, Role.PATIENT), (Doctor, Role.DOCTOR)):
        yield from _find_accounts(tally, holder, role)


# --- Patients and doctors of appointments and prescriptions


def _find_dangling(
    tally: Tally, model: type[models.Model], field: str, target: type[models.Model]
) -> Iterator[Finding]:
    # An index begins with the field: the server jumps from value to value.
    distinct: list[raw.Document] = [{"$sort": {field: 1}}, {"$group": {"_id": f"${field}"}}]
    for some in batches(raw.collection(model).stream(distinct)):
        tally.count(len(some))
        named = {each["_id"] for each in some}
        for key in sorted(named - documents_of(target, named).keys(), key=str):
            if not _is_dangling(model, field, target, key):
                continue
            for document in raw.collection(model).stream([{"$match": {field: key}}, {"$project": {"_id": True}}]):
                what, whom = _noun(model), _noun(target)
                sentence = f"{what.capitalize()} {document['_id']} names {whom} {key}, who is not there."
                yield Finding((str(document["_id"]), str(key)), sentence)


@clinical_transaction
def _is_dangling(model: type[models.Model], field: str, target: type[models.Model], key: Any) -> bool:
    is_named = raw.collection(model).find_one({field: key}, projection=["_id"]) is not None
    return is_named and not documents_of(target, [key])


# --- The appointment of a prescription or bill, which is of the same patient


def _find_prescriptions(tally: Tally) -> Iterator[Finding]:
    named: list[raw.Document] = [
        {"$match": {"appointment_id": {"$ne": None}}},
        {"$project": {"appointment_id": True, "patient_id": True}},
    ]
    for some in batches(raw.collection(Prescription).stream(named)):
        tally.count(len(some))
        suspects = _misnamed(some)
        if suspects:
            for document, why in _still_misnamed([each["_id"] for each in suspects]):
                key, visit = document["_id"], document["appointment_id"]
                yield Finding((str(key), visit), f"Prescription {key} names appointment {visit}, {why}.")


def _misnamed(named: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that name no appointment of their patient."""
    visits = documents_of(Appointment, {each["appointment_id"] for each in named}, ["patient_id"])
    return [
        each
        for each in named
        if each["appointment_id"] not in visits
        or visits[each["appointment_id"]].get("patient_id") != each.get("patient_id")
    ]


@clinical_transaction
def _still_misnamed(prescription_ids: list[Any]) -> list[tuple[dict[str, Any], str]]:
    found = documents_of(Prescription, prescription_ids, ["appointment_id", "patient_id"]).values()
    return _explained(_misnamed([each for each in found if each.get("appointment_id") is not None]))


def _explained(misnamed: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    there = documents_of(Appointment, {each["appointment_id"] for each in misnamed})
    return [
        (each, "which is another patient's" if each["appointment_id"] in there else "which is not there")
        for each in misnamed
    ]


def _find_bills(tally: Tally) -> Iterator[Finding]:
    last = 0
    while rows := list(_bills(pk__gt=last).order_by("pk")[:BATCH]):
        last = rows[-1]["_id"]
        tally.count(len(rows))
        suspects, lost = _suspect_bills(rows)
        if not suspects and not lost:
            continue
        # In this order: what names them before and after their absence names what is not there.
        numbers = {each["_id"] for each in (*suspects, *lost)}
        suspects, lost = _suspect_bills(list(_bills(pk__in=numbers)))
        now = list(_bills(pk__in=numbers))
        for bill, why in _explained([each for each in suspects if each in now]):
            visit = bill["appointment_id"]
            yield Finding((str(bill["_id"]), visit), f"Bill {bill['_id']} names appointment {visit}, {why}.")
        for bill in lost:
            if bill in now:
                patient = bill["patient_id"]
                sentence = f"Bill {bill['_id']} names patient {patient}, who is not there."
                yield Finding((str(bill["_id"]), patient), sentence)


def _bills(**which: Any) -> Any:
    """What bills name."""
    return Bill.objects.filter(**which).values("patient_id", "appointment_id", _id=models.F("pk"))


def _suspect_bills(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The bills that name no appointment of their patient, and those whose patient is not there.

    The patient of a visit is not looked up: that is the visit's reference.
    """
    suspects = _misnamed([row for row in rows if row["appointment_id"] is not None])
    others = [*suspects, *(row for row in rows if row["appointment_id"] is None)]
    patients = documents_of(Patient, {row["patient_id"] for row in others})
    return suspects, [row for row in others if row["patient_id"] not in patients]


# --- The accounts of patients and doctors


def _find_accounts(tally: Tally, model: type[models.Model], role: str) -> Iterator[Finding]:
    """Records whose account is not there, as a crash in registration leaves them, or has another role."""
    tied: list[raw.Document] = [{"$match": {"user_id": {"$gt": 0}}}, {"$project": {"_id": True, "user_id": True}}]
    for some in batches(raw.collection(model).stream(tied)):
        tally.count(len(some))
        suspects = _untied(some, role)
        if not suspects:
            continue
        again = documents_of(model, [each["_id"] for each in suspects], ["user_id", "created_at"])
        for record in _untied([each for each in again.values() if each.get("user_id")], role):
            key, user_id = record["_id"], record["user_id"]
            about = f"{_noun(model).capitalize()} {key} is tied to account {user_id},"
            # In one question: between two the account of somebody who registers may come.
            known = User.objects.filter(pk=user_id).values_list("role", flat=True).first()
            if known is not None and known != role:
                yield Finding((key, str(user_id)), f"{about} which is not a {role}'s.")
            elif known is None and is_settled(record):
                repair = partial(_untie, model, key, user_id)
                yield Finding((key, str(user_id)), f"{about} which is not there.", repair)


def _untied(tied: list[dict[str, Any]], role: str) -> list[dict[str, Any]]:
    accounts = {record["user_id"] for record in tied}
    there = set(User.objects.filter(pk__in=accounts, role=role).values_list("pk", flat=True))
    return [record for record in tied if record["user_id"] not in there]


def _untie(model: type[models.Model], key: str, user_id: int) -> str | None:
    if User.objects.filter(pk=user_id).exists():
        return "the account has come meanwhile"
    _clear_account(model, key, user_id)
    return None


@clinical_transaction
def _clear_account(model: type[models.Model], key: str, user_id: int) -> None:
    raised = {"$inc": {"revision": 1}} if model is Patient else {}
    raw.collection(model).update_one({"_id": key, "user_id": user_id}, {"$set": {"user_id": None}, **raised})
    patient_id = key if model is Patient else None
    events.publish(f"{_noun(model)}.repaired", actor=None, patient_id=patient_id, subject_id=key)


def _noun(model: type[models.Model]) -> str:
    return str(model._meta.model_name)

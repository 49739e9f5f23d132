"""Checks that each scheduled visit holds its time, in claims of five minutes, and that no other claim exists."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from appointments import claims
from appointments.models import Appointment, Claim, Status
from doctors.models import DEFAULT_SLOT_MINUTES
from healthcare.mongodb import raw
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from operations.consistency.inconsistencies import CheckCounts, Inconsistency, batches, documents_of, pluralize
from patients.models import Patient

#: A visit of half an hour holds twelve claims, six each for doctor and patient.
VISITS_AT_ONCE = 200
FIELDS = ("patient_id", "doctor_id", "status", "time", "starts_at", "duration_minutes")


def find(counts: CheckCounts) -> Iterator[Inconsistency]:
    # Stray claims come first, because a visit may need the time that they hold.
    yield from _find_strays(counts)
    yield from _find_missing(counts)


def _find_strays(counts: CheckCounts) -> Iterator[Inconsistency]:
    for batch in batches(raw.collection(Claim).stream([])):
        counts.add_compared(len(batch))
        suspects = _strays(batch)
        if suspects:
            for appointment_id, (held, why) in _still_stray([each["_id"] for each in suspects]).items():
                yield Inconsistency(
                    (str(appointment_id),),
                    f"{pluralize(len(held), 'claim')} of appointment {appointment_id} from {held[0]!r} on: {why}.",
                    partial(_release_claims, appointment_id, held),
                )


def _find_missing(counts: CheckCounts) -> Iterator[Inconsistency]:
    timed = {"status": Status.SCHEDULED.value, "$or": [{"starts_at": {"$ne": None}}, {"time": {"$gt": ""}}]}
    stream = raw.collection(Appointment).stream([{"$match": timed}, {"$project": dict.fromkeys(FIELDS, True)}])
    for batch in batches(stream, VISITS_AT_ONCE):
        counts.add_compared(len(batch))
        visits = [_visit(document) for document in batch]
        suspects = [visit.appointment_id for visit in visits if visit.starts_at is None]
        suspects += _unheld(visits).keys()
        if suspects:
            yield from _still_missing(suspects)


def _strays(held: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the claims that their appointment must not hold."""
    held = list(held)
    rightful = _rightful({each.get("appointment_id") for each in held})
    return [each for each in held if each["_id"] not in rightful.get(each.get("appointment_id"), ())]


@clinical_transaction
def _still_stray(claim_ids: list[str]) -> dict[str | None, tuple[list[str], str]]:
    """Return by appointment the claims that are still stray in one transaction, and why they are stray."""
    strays = _strays(raw.collection(Claim).find({"_id": {"$in": claim_ids}}))
    statuses = {
        key: found.get("status")
        for key, found in documents_of(Appointment, {each.get("appointment_id") for each in strays}, ["status"]).items()
    }
    found: dict[str | None, tuple[list[str], str]] = {}
    for each in strays:
        appointment_id = each.get("appointment_id")
        status = statuses.get(appointment_id)
        if appointment_id not in statuses:
            why = "there is no such appointment"
        elif status != Status.SCHEDULED:
            why = f"it is {status}"
        else:
            why = "it is at another time, or of another doctor or patient"
        found.setdefault(appointment_id, ([], why))[0].append(each["_id"])
    return found


@clinical_transaction
def _still_missing(appointment_ids: list[str]) -> list[Inconsistency]:
    found = []
    visits = [_visit(document) for document in documents_of(Appointment, appointment_ids, FIELDS).values()]
    unheld = _unheld(visits)
    for visit in visits:
        key = visit.appointment_id
        if visit.status == Status.SCHEDULED and visit.time and visit.starts_at is None:
            sentence = (
                f"Appointment {key} is scheduled at a time of day and has no start instant, so that it holds no claim."
            )
            found.append(Inconsistency((key,), sentence))
        elif key in unheld:
            wanted = len(claims.ids_of(visit))
            sentence = f"Appointment {key} is scheduled and holds {wanted - unheld[key]} of its {wanted} claims."
            found.append(Inconsistency((key,), sentence, partial(_claim_time, key)))
    return found


def _unheld(visits: Iterable[Appointment]) -> dict[str, int]:
    """Return the visits that lack claims, and how many claims each of them lacks."""
    wanted = {visit.appointment_id: claims.ids_of(visit) for visit in visits}
    holders = claims.holders({claim for each in wanted.values() for claim in each})
    lacking = {key: sum(holders.get(claim) != key for claim in each) for key, each in wanted.items()}
    return {key: number for key, number in lacking.items() if number}


def _rightful(appointment_ids: Iterable[str | None]) -> dict[str | None, set[str]]:
    """Return the claims that each of the visits must hold; visits that do not exist are absent."""
    found = documents_of(Appointment, appointment_ids, FIELDS)
    return {key: set(claims.ids_of(_visit(document))) for key, document in found.items()}


def _visit(document: Mapping[str, Any]) -> Appointment:
    fields = {name: document.get(name) for name in FIELDS}
    fields["duration_minutes"] = fields["duration_minutes"] or DEFAULT_SLOT_MINUTES
    return Appointment(appointment_id=document["_id"], **fields)


# --- Repairs. Each increments the patient's revision, so that it conflicts with a concurrent change of the visit.


@clinical_transaction
def _release_claims(appointment_id: str | None, claim_ids: list[str]) -> None:
    _increment_revision(appointment_id)
    strays = _strays(raw.collection(Claim).find({"_id": {"$in": claim_ids}, "appointment_id": appointment_id}))
    raw.collection(Claim).delete_many({"_id": {"$in": [each["_id"] for each in strays]}})


def _claim_time(appointment_id: str) -> str | None:
    try:
        return _claim_time_or_raise(appointment_id)
    except claims.SlotTaken:
        return "another visit has just taken its time"


@clinical_transaction
def _claim_time_or_raise(appointment_id: str) -> str | None:
    _increment_revision(appointment_id)
    document = documents_of(Appointment, [appointment_id], FIELDS).get(appointment_id)
    if document is None:
        return None
    wanted = claims.ids_of(_visit(document))
    holders = claims.holders(wanted)
    others = sorted({holder for holder in holders.values() if holder != appointment_id})
    if others:
        return f"it overlaps {', '.join(others)}: move or cancel one of them"
    claims.replace(appointment_id=appointment_id, held=[*holders], wanted=wanted)
    return None


def _increment_revision(appointment_id: str | None) -> None:
    document = documents_of(Appointment, [appointment_id], ["patient_id"]).get(appointment_id)
    patient_id = document.get("patient_id") if document else None
    if patient_id is not None:
        raw.collection(Patient).update_one({"_id": patient_id}, {"$inc": {"revision": 1}})
    events.publish("appointment.repaired", actor=None, patient_id=patient_id, subject_id=appointment_id or "")

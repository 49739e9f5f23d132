"""Claims: what makes a double booking impossible (design decision 8).

A scheduled timed visit holds one document for each five minutes that it touches, once for its doctor and once for its
patient. The `_id` says whose and when, so the second visit that wants one of them violates the primary key, whoever
else asks at the same moment and on whichever machine. They are written and deleted in the visit's own transaction.

    {"_id": "doctor D456 2025-09-12T10:05Z", "appointment_id": "A789"}
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError
from pymongo.errors import BulkWriteError

from appointments.models import Appointment, Claim, Status
from healthcare.errors import Conflict
from healthcare.mongodb import raw

QUANTUM = timedelta(minutes=5)
_QUANTUM_SECONDS = int(QUANTUM.total_seconds())
_FORMAT = "%Y-%m-%dT%H:%MZ"


class SlotTaken(Conflict):
    """Somebody has that time already. It says which of the two, not with whom."""

    code = "slot_taken"

    def __init__(self, holder: str) -> None:
        super().__init__(f"The {holder} has another visit at that time.", field="time")


def ids_of(visit: Appointment) -> list[str]:
    """The claims that a visit holds: none unless it is scheduled and timed."""
    if visit.status != Status.SCHEDULED or visit.starts_at is None:
        return []
    marks = [_mark(moment) for moment in quanta(visit.starts_at, visit.duration_minutes)]
    return [
        _id(holder, key, mark)
        for holder, key in (("doctor", visit.doctor_id), ("patient", visit.patient_id))
        for mark in marks
    ]


def documents_of(visits: Iterable[Appointment]) -> list[dict[str, Any]]:
    """The claims of these visits, for a bulk write of its own."""
    return [_document(claim, visit.appointment_id) for visit in visits for claim in ids_of(visit)]


def holders(wanted: Collection[str]) -> dict[str, str]:
    """Which appointment holds each of the claims; those that nobody holds are absent."""
    found = raw.collection(Claim).find({"_id": {"$in": sorted(wanted)}})
    return {claim["_id"]: claim["appointment_id"] for claim in found}


def whose(claim_id: str) -> str:
    """Of whom a claim is a stretch of time: "doctor" or "patient"."""
    return claim_id.split(" ", 1)[0]


def move(*, appointment_id: str, held: list[str], wanted: list[str]) -> None:
    """Hold what is wanted and let the rest go; either both or, with the transaction, none.

    Raises: SlotTaken.
    """
    released, new = set(held) - set(wanted), [claim for claim in wanted if claim not in set(held)]
    if released:
        raw.collection(Claim).delete_many({"_id": {"$in": sorted(released)}})
    if not new:
        return
    try:
        raw.collection(Claim).insert_many([_document(claim, appointment_id) for claim in new])
    except IntegrityError as error:
        raise SlotTaken(_holder_in(error)) from error


def doctor_quanta(doctor_id: str, since: datetime, until: datetime) -> set[datetime]:
    """The five-minute instants from `since` to before `until` that a doctor's visits hold."""
    bounds = {"$gte": _id("doctor", doctor_id, _mark(since)), "$lt": _id("doctor", doctor_id, _mark(until))}
    return {
        datetime.fromisoformat(claim["_id"].rsplit(" ", 1)[1])
        for claim in raw.collection(Claim).find({"_id": bounds}, projection=["_id"])
    }


def is_free(taken: set[datetime], starts_at: datetime, ends_at: datetime) -> bool:
    """Whether none of the instants falls into the stretch."""
    return taken.isdisjoint(quanta(starts_at, int((ends_at - starts_at).total_seconds()) // 60))


def quanta(starts_at: datetime, duration_minutes: int) -> Iterator[datetime]:
    """The five-minute marks that the stretch touches; it may begin between two (old zones had odd offsets)."""
    moment = datetime.fromtimestamp(int(starts_at.timestamp()) // _QUANTUM_SECONDS * _QUANTUM_SECONDS, UTC)
    ends_at = starts_at + timedelta(minutes=duration_minutes)
    while moment < ends_at:
        yield moment
        moment += QUANTUM


def _document(claim_id: str, appointment_id: str) -> dict[str, Any]:
    return {"_id": claim_id, "appointment_id": appointment_id}


def _id(holder: str, key: str, mark: str) -> str:
    return f"{holder} {key} {mark}"


def _mark(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORMAT)


def _holder_in(error: IntegrityError) -> str:
    """Whose claim was taken: "doctor" or "patient"."""
    cause = error.__cause__
    if isinstance(cause, BulkWriteError):
        for each in cause.details["writeErrors"]:
            return whose(str(each["keyValue"]["_id"]))
    return "doctor"

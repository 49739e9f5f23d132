"""Claims, which make a double booking impossible (docs/decisions/0008-claims-against-double-booking.md).

A scheduled visit with a time holds one claim for each five minutes that it overlaps, for its doctor and its patient.
The `_id` of a claim consists of the holder and the time, so that a second visit at that time violates the primary key,
also if it is booked at the same moment on another server. Claims are written in the transaction of their visit.

    {"_id": "doctor D456 2025-09-12T10:05Z", "appointment_id": "A789"}
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError
from pymongo.errors import BulkWriteError

from appointments.models import Appointment, Claim, Status
from healthcare.errors import Conflict
from healthcare.mongodb import raw
from healthcare.mongodb.raw import Document

QUANTUM = timedelta(minutes=5)
_QUANTUM_SECONDS = int(QUANTUM.total_seconds())
_FORMAT = "%Y-%m-%dT%H:%MZ"


class SlotTaken(Conflict):
    """The doctor or the patient has another visit at that time. The message does not say with whom."""

    code = "slot_taken"

    def __init__(self, holder: str) -> None:
        super().__init__(f"The {holder} has another visit at that time.", field="time")


def ids_of(visit: Appointment) -> list[str]:
    """Return the ids of the claims that a visit must hold: none unless it is scheduled and has a time."""
    if visit.status != Status.SCHEDULED or visit.starts_at is None:
        return []
    starts = [_timestamp(moment) for moment in quanta(visit.starts_at, visit.duration_minutes)]
    return [
        _id(holder, key, start)
        for holder, key in (("doctor", visit.doctor_id), ("patient", visit.patient_id))
        for start in starts
    ]


def documents_for(visits: Iterable[Appointment]) -> list[Document]:
    """Return the claims of the visits as documents, for a bulk insert."""
    return [_document(claim, visit.appointment_id) for visit in visits for claim in ids_of(visit)]


def holders(wanted: Collection[str]) -> dict[str, str]:
    """Return claim id → appointment_id for those of the claims that an appointment holds."""
    found = raw.collection(Claim).find({"_id": {"$in": sorted(wanted)}})
    return {claim["_id"]: claim["appointment_id"] for claim in found}


def holder_kind(claim_id: str) -> str:
    """Return the kind of person whose time is claimed: "doctor" or "patient"."""
    return claim_id.split(" ", 1)[0]


def replace(*, appointment_id: str, held: list[str], wanted: list[str]) -> None:
    """Replace the claims that an appointment holds by those that it must hold. Raises: SlotTaken."""
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
    """Return the starts, in UTC, of the five-minute intervals in [since, until) that the doctor's visits claim."""
    bounds = {"$gte": _id("doctor", doctor_id, _timestamp(since)), "$lt": _id("doctor", doctor_id, _timestamp(until))}
    return {
        datetime.fromisoformat(claim["_id"].rsplit(" ", 1)[1])
        for claim in raw.collection(Claim).find({"_id": bounds}, projection=["_id"])
    }


def is_free(taken: set[datetime], starts_at: datetime, ends_at: datetime) -> bool:
    """Return whether no claimed interval of `taken` overlaps the time from `starts_at` to `ends_at`."""
    return taken.isdisjoint(quanta(starts_at, int((ends_at - starts_at).total_seconds()) // 60))


def quanta(starts_at: datetime, duration_minutes: int) -> Iterator[datetime]:
    """Yield the starts, in UTC, of the five-minute intervals that a visit overlaps.

    A visit may begin inside an interval, because historical time zones had offsets that are no multiple of 5 minutes.
    """
    moment = datetime.fromtimestamp(int(starts_at.timestamp()) // _QUANTUM_SECONDS * _QUANTUM_SECONDS, UTC)
    ends_at = starts_at + timedelta(minutes=duration_minutes)
    while moment < ends_at:
        yield moment
        moment += QUANTUM


def _document(claim_id: str, appointment_id: str) -> Document:
    return {"_id": claim_id, "appointment_id": appointment_id}


def _id(holder: str, key: str, timestamp: str) -> str:
    return f"{holder} {key} {timestamp}"


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORMAT)


def _holder_in(error: IntegrityError) -> str:
    """Return the kind of the holder whose claim was a duplicate: "doctor" or "patient"."""
    cause = error.__cause__
    if isinstance(cause, BulkWriteError):
        for each in cause.details["writeErrors"]:
            return holder_kind(str(each["keyValue"]["_id"]))
    return "doctor"

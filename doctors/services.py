"""Services that write doctors."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from django.db import IntegrityError

from accounts import queries as account_queries
from accounts.models import Role, User
from doctors import queries
from doctors.models import Doctor, ScheduleException, WeeklyHours, specialty_key
from healthcare import clock, protected_references
from healthcare.errors import Conflict, InvalidValue
from healthcare.ids import new_id
from healthcare.mongodb.duplicate_keys import duplicated_field
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events

KEY_PREFIX = "D"


class DuplicateDoctor(Conflict):
    code = "duplicate"

    def __init__(self, field: str) -> None:
        super().__init__(f"There is a doctor with this {field} already.", field=field)


def create_doctor(*, actor: User, doctor_id: str | None = None, **fields: Any) -> Doctor:
    """Create a doctor record; without a `doctor_id` the system generates one.

    `availability` and `exceptions` are lists of dicts with the fields of WeeklyHours and ScheduleException.
    Raises: InvalidValue, DuplicateDoctor.
    """
    values = _checked(fields)
    if doctor_id is not None:
        return _insert(actor=actor, doctor=Doctor(doctor_id=doctor_id, **values))
    while True:
        try:
            return _insert(actor=actor, doctor=Doctor(doctor_id=new_id(KEY_PREFIX), **values))
        except DuplicateDoctor as duplicate:
            if duplicate.field != "doctor_id":
                raise


def update_doctor(*, actor: User, doctor_id: str, **changes: Any) -> Doctor:
    """Change fields of a doctor record. Raises: NotVisible, NotAllowed, InvalidValue, DuplicateDoctor."""
    return _apply(actor=actor, doctor_id=doctor_id, changes=_checked(changes))


@clinical_transaction
def delete_doctor(*, actor: User, doctor_id: str) -> None:
    """Delete a doctor record that no other record names. Raises: NotVisible, NotAllowed, StillReferenced."""
    queries.get_changeable(actor, doctor_id)
    protected_references.raise_if_referenced("doctor", doctor_id)
    Doctor.objects.filter(pk=doctor_id).delete()
    events.publish("doctor.deleted", actor=actor, subject_id=doctor_id)


@clinical_transaction
def _apply(*, actor: User, doctor_id: str, changes: dict[str, Any]) -> Doctor:
    doctor = queries.get_changeable(actor, doctor_id)
    for name, value in changes.items():
        setattr(doctor, name, value)
    doctor.clean_fields()
    try:
        doctor.save(update_fields=[*changes])
    except IntegrityError as error:
        raise _duplicate(error) from error
    events.publish("doctor.amended", actor=actor, subject_id=doctor_id)
    return doctor


@clinical_transaction
def _insert(*, actor: User, doctor: Doctor) -> Doctor:
    doctor.clean_fields()
    try:
        doctor.save(force_insert=True)
    except IntegrityError as error:
        raise _duplicate(error) from error
    events.publish("doctor.created", actor=actor, subject_id=doctor.doctor_id)
    return doctor


def _duplicate(error: IntegrityError) -> Exception:
    field = duplicated_field(error)
    return DuplicateDoctor("doctor_id" if field == "_id" else field) if field else error


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as values of the model. Raises: InvalidValue."""
    values = dict(fields)
    if "specialty" in values:
        values["specialty_key"] = specialty_key(values["specialty"])
    if "time_zone" in values and values["time_zone"] not in clock.zones():
        raise InvalidValue("Must be a time zone of the IANA database, such as Europe/Zurich.", field="time_zone")
    if "availability" in values:
        values["availability"] = _weekly_hours(values["availability"])
    if "exceptions" in values:
        values["exceptions"] = _schedule_exceptions(values["exceptions"])
    account = values.get("user_id")
    if account is not None and not account_queries.has_role(account, Role.DOCTOR):
        raise InvalidValue("There is no doctor account with this number.", code="unknown", field="user_id")
    return values


def _weekly_hours(rows: Iterable[Mapping[str, Any]]) -> list[WeeklyHours]:
    numbered = [(WeeklyHours(**row), number) for number, row in enumerate(rows)]
    for hours, number in numbered:
        if hours.start >= hours.end:
            raise InvalidValue("Hours must end after they start, on the same day.", field="availability", row=number)
    numbered.sort(key=lambda each: (each[0].weekday, each[0].start))
    for (earlier, _), (later, number) in pairwise(numbered):
        if earlier.weekday == later.weekday and later.start < earlier.end:
            raise InvalidValue(
                f"Hours of one weekday overlap: {earlier.start}–{earlier.end} and {later.start}–{later.end}.",
                field="availability",
                row=number,
            )
    return [hours for hours, _ in numbered]


def _schedule_exceptions(rows: Iterable[Mapping[str, Any]]) -> list[ScheduleException]:
    exceptions = [ScheduleException(**row) for row in rows]
    for number, row in enumerate(exceptions):
        if (row.start is None) != (row.end is None):
            sentence = "An exception has a start and an end, or neither."
        elif row.start is None and not row.closed:
            sentence = "An extra clinic needs a start and an end."
        elif row.start is not None and row.end is not None and row.start >= row.end:
            sentence = "An exception must end after it starts."
        else:
            continue
        raise InvalidValue(sentence, field="exceptions", row=number)
    return sorted(exceptions, key=lambda row: (row.date, row.start or ""))

"""Mapping of one row to one unsaved model, as pure functions: the caller passes the records to which a row refers.

The serializers of the API and the rules of the apps validate each row, so a row that the API would not accept is
rejected. All functions raise RowRejected with the reason.
"""

import hashlib
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from bson import ObjectId
from django.core.exceptions import ValidationError as ModelError
from django.db import models
from rest_framework.exceptions import ValidationError

from appointments.models import Appointment
from appointments.models import Status as VisitStatus
from appointments.serializers import AppointmentIn
from billing.models import Bill
from billing.models import Status as BillStatus
from billing.serializers import BillIn
from datasets.synthea.files import Row, RowRejected
from datasets.synthea.medication import parse_medication
from datasets.synthea.places import time_zone_of
from datasets.synthea.terms import disease_name, person_name, specialty_name
from doctors import hours
from doctors.models import Doctor, specialty_key
from doctors.serializers import DoctorIn
from healthcare.api.fields import Date, Text
from healthcare.api.serializers import StrictSerializer
from healthcare.errors import InvalidValue
from patients.models import Patient, Sex
from patients.serializers import PatientIn
from patients.services import with_birth_date
from prescriptions.models import Prescription
from prescriptions.serializers import PrescriptionIn

SEXES = {"M": Sex.MALE, "F": Sex.FEMALE, "O": Sex.OTHER, "U": Sex.UNKNOWN}
AS_DIRECTED = "As directed"
GRID = timedelta(minutes=5)
#: The maximum of a PositiveSmallIntegerField.
MAX_VISIT_MINUTES = 32_767
CLOSED = "CLOSED"

_PATIENT, _DOCTOR, _VISIT, _PRESCRIPTION, _BILL = PatientIn(), DoctorIn(), AppointmentIn(), PrescriptionIn(), BillIn()
_DISEASE, _DAY = Text(max_length=120), Date()

ModelT = TypeVar("ModelT", bound=models.Model)


def to_patient(row: Row, diseases: list[str]) -> Patient:
    sex = row["GENDER"].strip().upper()
    if sex and sex not in SEXES:
        raise RowRejected("GENDER is not M or F.")
    try:
        fields = with_birth_date(
            _validated(
                _PATIENT,
                patient_id=row["Id"],
                name=person_name(row["FIRST"], row.get("MIDDLE", ""), row["LAST"], row.get("SUFFIX", "")),
                birth_date=row["BIRTHDATE"].strip() or None,
                sex=SEXES[sex].value if sex else None,
                diseases=diseases,
                address=_address(row) or None,
                national_id=row.get("SSN", "").strip() or None,
                notes=_death(row.get("DEATHDATE", "")),
            ),
            known=None,
        )
    except InvalidValue as error:
        raise RowRejected(f"{error.field}: {error.detail}") from error
    return _clean(Patient(**fields))


def _address(row: Row) -> str:
    """Return an address such as "784 Stamm Lock Unit 46, Somerville, Massachusetts 02155"."""
    state = f"{row.get('STATE', '')} {row.get('ZIP', '')}".strip()
    return ", ".join(part.strip() for part in (row.get("ADDRESS", ""), row.get("CITY", ""), state) if part.strip())


def _death(day: str) -> str | None:
    if not day.strip():
        return None
    try:
        return f"Died on {_DAY.run_validation(day.strip()[:10])}."
    except ValidationError as error:
        raise RowRejected(f"DEATHDATE: {_sentence(error.detail)}") from error


def to_doctor(row: Row, organization_state: str) -> Doctor:
    fields = _validated(
        _DOCTOR,
        doctor_id=row["Id"],
        name=person_name(row["NAME"]),
        specialty=specialty_name(row["SPECIALITY"]),
        time_zone=time_zone_of(row["STATE"], organization_state),
    )
    return _clean(Doctor(**fields, specialty_key=specialty_key(fields["specialty"])))


def to_disease(row: Row) -> str | None:
    """Return the disease of a condition, or None if the condition is no disease."""
    disease = disease_name(row["DESCRIPTION"])
    if disease is None:
        return None
    try:
        return _DISEASE.run_validation(disease)
    except ValidationError as error:
        raise RowRejected(f"DESCRIPTION: {_sentence(error.detail)}") from error


def to_visit(row: Row, *, time_zone: str, now: datetime) -> Appointment:
    """Return a completed visit, or a scheduled one if START lies in the future (see the docstring of the package)."""
    starts_at = _instant(row["START"], "START")
    ends_at = _instant(row["STOP"], "STOP") if row["STOP"].strip() else None
    if ends_at is not None and ends_at < starts_at:
        raise RowRejected("STOP lies before START.")
    is_scheduled = starts_at > now
    wall = _wall(starts_at, time_zone)
    if is_scheduled:
        early = timedelta(minutes=wall.minute % 5, seconds=wall.second, microseconds=wall.microsecond)
        starts_at, wall = starts_at - early, wall - early
    time = f"{wall:%H:%M}"
    if is_scheduled and hours.instant(wall.date(), time, time_zone) != starts_at:
        # The API reads such a wall time as the first of the two instants.
        raise RowRejected(f"The clocks of {time_zone} go back, and START is the second time that they show {time}.")
    minutes = None if ends_at is None else _minutes(ends_at - starts_at, step=5 if is_scheduled else 1)
    fields = _validated(
        _VISIT,
        appointment_id=row["Id"],
        patient_id=row["PATIENT"],
        doctor_id=row["PROVIDER"],
        date=wall.date().isoformat(),
        disease=disease_name(row["REASONDESCRIPTION"]),
        # A completed visit need not be on the grid, so its values are not validated as such.
        time=time if is_scheduled else None,
        duration_minutes=minutes if is_scheduled else None,
    )
    fields |= {
        "time": time,
        "duration_minutes": hours.DEFAULT_SLOT_MINUTES if minutes is None else min(minutes, MAX_VISIT_MINUTES),
        "status": VisitStatus.SCHEDULED if is_scheduled else VisitStatus.COMPLETED,
        "starts_at": starts_at,
    }
    return _clean(Appointment(**fields))


def to_bill(row: Row, visit: Appointment, *, is_paid: bool, now: datetime) -> Bill | None:
    """Return the bill of a completed visit, or None if the visit is scheduled or the encounter has no cost."""
    if visit.status != VisitStatus.COMPLETED or not row["TOTAL_CLAIM_COST"].strip():
        return None
    fields = _validated(
        _BILL,
        patient_id=visit.patient_id,
        appointment_id=visit.appointment_id,
        disease=visit.disease,
        total_cost=_cents(row["TOTAL_CLAIM_COST"], "TOTAL_CLAIM_COST"),
        status=(BillStatus.PAID if is_paid else BillStatus.OPEN).value,
    )
    billed_at = _instant(row["STOP"], "STOP") if row["STOP"].strip() else visit.starts_at
    return _clean(Bill(**fields, created_at=min(billed_at or now, now)))


def is_closed(row: Row) -> bool:
    """Return whether a claim is settled: STATUS1 and STATUS2 are the insurers', STATUSP is the patient's."""
    given = {row[column].strip().upper() for column in ("STATUS1", "STATUS2", "STATUSP")} - {""}
    return given == {CLOSED}


def medication_key(row: Row) -> bytes:
    """Return a hash that identifies a medication, because an export gives it no id."""
    parts = (row[column].strip() for column in ("PATIENT", "ENCOUNTER", "CODE", "START"))
    return hashlib.sha256("|".join(parts).encode()).digest()


def prescription_id(key: bytes, ordinal: int) -> ObjectId:
    """Return an id that is the same in every run. `ordinal` is the number of earlier rows with the same key."""
    return ObjectId(hashlib.sha256(key + str(ordinal).encode()).digest()[:12])


def to_prescription(row: Row, visit: Appointment, *, key: ObjectId, time_zone: str) -> Prescription:
    """Return the prescription of a medication. `visit` is that of the encounter; its patient and doctor are known."""
    if visit.patient_id != row["PATIENT"]:
        raise RowRejected("ENCOUNTER is the visit of another patient.")
    if not row["DESCRIPTION"].strip():
        raise RowRejected("DESCRIPTION is empty and names no drug.")
    start = _day(row["START"], "START", time_zone)
    stop = _day(row["STOP"], "STOP", time_zone) if row["STOP"].strip() else None
    if stop is not None and stop < start:
        raise RowRejected("STOP lies before START.")
    medication = parse_medication(row["DESCRIPTION"])
    cost = row["BASE_COST"].strip()
    fields = _validated(
        _PRESCRIPTION,
        patient_id=visit.patient_id,
        doctor_id=visit.doctor_id,
        appointment_id=visit.appointment_id,
        drug=medication.drug,
        dosage=medication.dosage,
        frequency=AS_DIRECTED,
        cost=_cents(cost, "BASE_COST") if cost else None,
        disease=disease_name(row["REASONDESCRIPTION"]),
        start_date=start.isoformat(),
        duration_days=None if stop is None else (stop - start).days + 1,
        instructions=row["DESCRIPTION"].strip(),
    )
    return _clean(Prescription(id=key, **fields))


# --- Values


def _instant(text: str, column: str) -> datetime:
    """Return an instant in whole milliseconds, as BSON stores them. A text without an offset is in UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RowRejected(f"{column} is not an instant such as 2023-01-27T16:17:47Z.") from error
    if len(text.strip()) <= len("2023-01-27"):
        raise RowRejected(f"{column} has no time of day.")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _wall(moment: datetime, time_zone: str) -> datetime:
    try:
        return moment.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None)
    except OverflowError as error:
        raise RowRejected("START lies outside of the calendar.") from error


def _day(text: str, column: str, time_zone: str) -> date:
    """Return the calendar day where the doctor works. Older exports have a day instead of an instant."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return _wall(_instant(text, column), time_zone).date()


def _minutes(length: timedelta, *, step: int) -> int:
    """Return the length rounded up to whole steps, at least one step."""
    return max(1, -(-length // timedelta(minutes=step))) * step


def _cents(text: str, column: str) -> str:
    """Return the amount with two places, rounded half to even. The serializer validates it."""
    try:
        return format(Decimal(text.strip()).quantize(Decimal("0.01"), ROUND_HALF_EVEN), "f")
    except InvalidOperation as error:
        raise RowRejected(f"{column} is not an amount of money.") from error


def _validated(serializer: StrictSerializer, **values: Any) -> dict[str, Any]:
    try:
        return dict(serializer.run_validation({name: value for name, value in values.items() if value is not None}))
    except ValidationError as error:
        raise RowRejected(_sentence(error.detail)) from error


def _clean(item: ModelT) -> ModelT:
    try:
        item.clean_fields()
    except ModelError as error:
        raise RowRejected(_sentence(error.message_dict)) from error
    return item


def _sentence(detail: object) -> str:
    """Return the errors, field by field, as one line."""
    if isinstance(detail, dict):
        return "; ".join(f"{name}: {_sentence(each)}" for name, each in detail.items())
    return " ".join(_sentence(each) for each in detail) if isinstance(detail, list) else str(detail)

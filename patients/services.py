"""Services that write patients."""

from datetime import date
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from accounts import queries as account_queries
from accounts import services as account_services
from accounts.models import Role, User
from healthcare import audit_context, protected_references
from healthcare.errors import Conflict, InvalidValue
from healthcare.ids import new_id
from healthcare.mongodb.duplicate_keys import duplicated_field
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.outbox import events
from patients import queries
from patients.models import Patient

KEY_PREFIX = "P"
MAX_AGE_YEARS = 150


class DuplicatePatient(Conflict):
    code = "duplicate"

    def __init__(self, field: str) -> None:
        super().__init__(f"There is a patient with this {field} already.", field=field)


def age_on(birth_date: date, today: date) -> int:
    """Return the age in whole years. In a common year, a birthday on 29 February counts from 1 March."""
    return today.year - birth_date.year - ((today.month, today.day) < (birth_date.month, birth_date.day))


def estimated_birth_date(age_years: int, today: date) -> date:
    """Return the date `age_years` before today; 28 February if that is a 29 February that does not exist."""
    year = today.year - age_years
    try:
        return today.replace(year=year)
    except ValueError:
        return today.replace(year=year, day=28)


def create_patient(*, actor: User, patient_id: str | None = None, **fields: Any) -> Patient:
    """Create a patient record; without a `patient_id` the system generates one.

    `fields`: fields of the model, and `age` in place of `birth_date`.
    Raises: InvalidValue, DuplicatePatient.
    """
    fields = with_birth_date(fields, known=None)
    _check_account(fields.get("user_id"))
    if patient_id is not None:
        audit_context.involves(patient_id)
        return _insert(actor=actor, patient=Patient(patient_id=patient_id, **fields))
    while True:
        try:
            return _insert(actor=actor, patient=Patient(patient_id=new_id(KEY_PREFIX), **fields))
        except DuplicatePatient as duplicate:
            if duplicate.field != "patient_id":
                raise


def register_patient(*, email: str, password: str | None = None, name: str, **fields: Any) -> User:
    """Create a patient account and its patient record, for a person who signs up.

    `password` is None for a person who logs in with Google or GitHub. The account's transaction stays open until the
    record is committed, so that neither exists without the other. Only a crash between the two commits leaves a record
    without an account; the e-mail can then be registered again.
    Raises: InvalidValue, DuplicatePatient, accounts.services.EmailTaken.
    """
    fields = with_birth_date(fields, known=None)
    with events.defer_delivery(), transaction.atomic(using="default"):
        user = account_services.create_account(actor=None, email=email, password=password, role=Role.PATIENT, name=name)
        create_patient(actor=user, name=name, email=user.email, user_id=user.pk, **fields)
    return user


def update_patient(*, actor: User, patient_id: str, **changes: Any) -> Patient:
    """Change fields of a patient record. Raises: NotVisible, InvalidValue, DuplicatePatient."""
    # PostgreSQL is read before the transaction, because the transaction must wait for MongoDB only.
    _check_account(changes.get("user_id"))
    return _apply(actor=actor, patient_id=patient_id, changes=changes)


@clinical_transaction
def _apply(*, actor: User, patient_id: str, changes: dict[str, Any]) -> Patient:
    patient = queries.get_changeable(actor, patient_id)
    changes = with_birth_date(changes, known=patient.birth_date)
    for name, value in changes.items():
        setattr(patient, name, value)
    patient.clean_fields()
    try:
        Patient.objects.filter(pk=patient_id).update(revision=F("revision") + 1, **changes)
    except IntegrityError as error:
        raise _duplicate(error) from error
    _publish("patient.amended", actor=actor, patient_id=patient_id)
    return patient


@clinical_transaction
def delete_patient(*, actor: User, patient_id: str) -> None:
    """Delete a patient record that no other record names. Raises: NotVisible, StillReferenced."""
    queries.get_visible(actor, patient_id)
    protected_references.raise_if_referenced("patient", patient_id)
    Patient.objects.filter(pk=patient_id).delete()
    _publish("patient.deleted", actor=actor, patient_id=patient_id)


@clinical_transaction
def _insert(*, actor: User, patient: Patient) -> Patient:
    patient.clean_fields()
    try:
        patient.save(force_insert=True)
    except IntegrityError as error:
        raise _duplicate(error) from error
    _publish("patient.created", actor=actor, patient_id=patient.patient_id)
    return patient


def _publish(kind: str, *, actor: User, patient_id: str) -> None:
    """Publish an event without values, because contact data and notes must stay in the record."""
    events.publish(kind, actor=actor, patient_id=patient_id, subject_id=patient_id)


def _duplicate(error: IntegrityError) -> Exception:
    field = duplicated_field(error)
    return DuplicatePatient("patient_id" if field == "_id" else field) if field else error


def _check_account(user_id: int | None) -> None:
    if user_id is not None and not account_queries.has_role(user_id, Role.PATIENT):
        raise InvalidValue("There is no patient account with this number.", code="unknown", field="user_id")


def with_birth_date(fields: dict[str, Any], *, known: date | None) -> dict[str, Any]:
    """Return the fields with `age` replaced by an estimated birth date, unless the known one fits the age.

    `known`: the birth date that is stored.
    Raises: InvalidValue for a birth date in the future or too long ago, and for an age that contradicts the birth date.
    """
    fields = dict(fields)
    age = fields.pop("age", None)
    today = timezone.localdate()
    born = fields.get("birth_date")
    if born is not None:
        if born > today:
            raise InvalidValue("The birth date lies in the future.", field="birth_date")
        if age_on(born, today) > MAX_AGE_YEARS:
            raise InvalidValue(f"Nobody is older than {MAX_AGE_YEARS} years.", field="birth_date")
        if age is not None and age_on(born, today) != age:
            raise InvalidValue("The age disagrees with the birth date: leave one of them out.", field="age")
    elif age is not None and (known is None or age_on(known, today) != age):
        fields["birth_date"] = estimated_birth_date(age, today)
    return fields

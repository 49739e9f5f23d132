"""Serializers of patients."""

import re
from collections.abc import Mapping, Set
from datetime import date
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework import serializers

from accounts.models import Role
from accounts.serializers import Email, Password
from healthcare.api.fields import Choice, Date, Identifier, Integer, StrictList, Text, Validated, WallTime
from healthcare.api.serializers import ChangesSerializer, OutSerializer, QuerySerializer, StrictSerializer
from patients.models import MAX_DISEASES, Patient, Sex
from patients.permissions import OWNER_MAY_CHANGE
from patients.services import MAX_AGE_YEARS, age_on

_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{2,30}(x[0-9]{1,6})?")
MAX_ACCOUNT_NUMBER = 2**63 - 1


def parse_phone(text: str) -> str:
    """Return a telephone number as given: at most 15 digits (ITU-T E.164) and an extension. Raises: ValueError."""
    if not _PHONE.fullmatch(text) or sum(c.isdigit() for c in text.split("x")[0]) > 15:
        raise ValueError("Must be a telephone number, such as +41 44 123 45 67.")
    return text


class Phone(Validated):
    """A telephone number that fits its column."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(parse=parse_phone, max_length=Patient._meta.get_field("phone").max_length, **kwargs)


class Diseases(StrictList):
    """A list of names of diseases, without duplicates."""

    child = Text(max_length=120)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_DISEASES, **kwargs)

    def to_internal_value(self, data: object) -> list[str]:
        return list(dict.fromkeys(super().to_internal_value(data)))


class _PatientFields(StrictSerializer):
    name = Text(max_length=200)
    birth_date = Date(required=False, allow_null=True)
    age = Integer(
        required=False,
        min_value=0,
        max_value=MAX_AGE_YEARS,
        help_text="In place of an unknown birth date, which is estimated from it.",
    )
    sex = Choice(choices=Sex.choices, required=False, allow_null=True)
    diseases = Diseases(required=False)
    phone = Phone(required=False, allow_null=True)
    email = Email(required=False, allow_null=True)
    address = Text(max_length=500, lines=True, required=False, allow_null=True)
    national_id = Text(max_length=64, required=False, allow_null=True)
    notes = Text(max_length=10_000, lines=True, required=False, allow_null=True)
    user_id = Integer(required=False, allow_null=True, min_value=1, max_value=MAX_ACCOUNT_NUMBER)


class PatientIn(_PatientFields):
    patient_id = Identifier(required=False)


class PatientChanges(ChangesSerializer, _PatientFields):
    writable: ClassVar[Mapping[str, Set[str]]] = {Role.PATIENT: OWNER_MAY_CHANGE}


class RegistrationIn(StrictSerializer):
    email = Email()
    password = Password()
    name = Text(max_length=200)
    birth_date = Date(required=False, allow_null=True)
    age = Integer(required=False, min_value=0, max_value=MAX_AGE_YEARS)
    sex = Choice(choices=Sex.choices, required=False, allow_null=True)
    phone = Phone(required=False, allow_null=True)
    address = Text(max_length=500, lines=True, required=False, allow_null=True)


class PatientQuery(QuerySerializer):
    search = Text(required=False, help_text="Words of the name, in any order.")
    disease = Text(max_length=120, required=False)
    national_id = Text(max_length=64, required=False, help_text="For admins.")
    writable: ClassVar[Mapping[str, Set[str]]] = {Role.DOCTOR: frozenset({"search", "disease"})}


class ChartAppointmentOut(OutSerializer):
    appointment_id = serializers.CharField()
    doctor_id = serializers.CharField()
    date = serializers.DateField()
    time = WallTime(allow_null=True)
    duration_minutes = serializers.IntegerField()
    status = serializers.CharField()
    disease = serializers.CharField(allow_null=True)


class ChartPrescriptionOut(OutSerializer):
    id = serializers.CharField(source="prescription_id")
    doctor_id = serializers.CharField()
    drug = serializers.CharField()
    dosage = serializers.CharField()
    frequency = serializers.CharField()
    start_date = serializers.DateField()
    duration_days = serializers.IntegerField(allow_null=True)
    disease = serializers.CharField(allow_null=True)


class Age(serializers.IntegerField):
    """Age in whole years, computed from a birth date."""

    def to_representation(self, value: date) -> int:  # type: ignore[override]
        return age_on(value, timezone.now().date())


class PatientOut(OutSerializer):
    resource = "patient"
    patient_id = serializers.CharField()
    name = serializers.CharField()
    birth_date = serializers.DateField(allow_null=True)
    age = Age(
        source="birth_date",
        read_only=True,
        allow_null=True,
        help_text="Age today in whole years; null without a birth date.",
    )
    sex = serializers.ChoiceField(choices=Sex.choices, allow_null=True)
    diseases = serializers.ListField(child=serializers.CharField())
    phone = serializers.CharField(allow_null=True)
    email = serializers.CharField(allow_null=True)
    address = serializers.CharField(allow_null=True)
    national_id = serializers.CharField(allow_null=True)
    notes = serializers.CharField(allow_null=True)
    user_id = serializers.IntegerField(allow_null=True)
    appointments = ChartAppointmentOut(many=True, help_text="The newest 50 visits.")
    prescriptions = ChartPrescriptionOut(many=True, help_text="The newest 50 prescriptions.")
    created_at = serializers.DateTimeField()

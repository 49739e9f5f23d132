"""Serializers of appointments."""

from rest_framework import serializers

from appointments.models import Status
from healthcare.api.fields import Choice, Date, Identifier, Minutes, Text, WallTime
from healthcare.api.serializers import ChangesSerializer, OutSerializer, PeriodQuery, StrictSerializer


class AppointmentIn(StrictSerializer):
    patient_id = Identifier()
    doctor_id = Identifier()
    date = Date(help_text="The date in the doctor's time zone.")
    time = WallTime(
        required=False, allow_null=True, help_text="HH:MM in the doctor's time zone; absent for an untimed visit."
    )
    duration_minutes = Minutes(required=False, help_text="The length of the doctor's slots if absent.")
    disease = Text(max_length=120, required=False, allow_null=True)
    status = Choice(choices=[Status.SCHEDULED.value], required=False)
    appointment_id = Identifier(required=False)


class AppointmentChanges(ChangesSerializer):
    status = Choice(choices=Status.choices, required=False)
    date = Date(required=False)
    time = WallTime(required=False, allow_null=True)
    duration_minutes = Minutes(required=False)
    disease = Text(max_length=120, required=False, allow_null=True)


class AppointmentQuery(PeriodQuery):
    doctor_id = Text(required=False)
    patient_id = Text(required=False)
    status = Choice(choices=Status.choices, required=False)


class SlotQuery(PeriodQuery):
    """The query string for free slots. Without days it covers a week from today, in the doctor's time zone."""


class SlotOut(OutSerializer):
    starts_at = serializers.DateTimeField(help_text="UTC")
    ends_at = serializers.DateTimeField(help_text="UTC")
    date = serializers.DateField(help_text="The date in the doctor's time zone.")
    time = serializers.CharField(help_text="HH:MM in the doctor's time zone.")


class SlotsOut(OutSerializer):
    results = SlotOut(many=True)


class AppointmentOut(OutSerializer):
    resource = "appointment"
    appointment_id = serializers.CharField()
    patient_id = serializers.CharField()
    doctor_id = serializers.CharField()
    date = serializers.DateField()
    time = WallTime(allow_null=True, help_text="HH:MM in the doctor's time zone; null for an untimed visit.")
    duration_minutes = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Status.choices)
    disease = serializers.CharField(allow_null=True)
    starts_at = serializers.DateTimeField(allow_null=True, help_text="The UTC instant of a timed visit.")
    created_at = serializers.DateTimeField()

"""What the endpoints about appointments take and answer."""

from rest_framework import serializers

from appointments.models import Status
from healthcare.api.fields import Choice, Date, Identifier, Minutes, Text, WallTime
from healthcare.api.serializers import ChangesSerializer, OutSerializer, PeriodQuery, StrictSerializer


class AppointmentIn(StrictSerializer):
    patient_id = Identifier()
    doctor_id = Identifier()
    date = Date(help_text="The day, as people say it where the doctor works.")
    time = WallTime(required=False, allow_null=True, help_text="HH:MM in the doctor's time zone; absent: untimed.")
    duration_minutes = Minutes(required=False, help_text="The doctor's usual length when absent.")
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
    """Without days: the week from today, where the doctor works."""


class SlotOut(OutSerializer):
    starts_at = serializers.DateTimeField(help_text="UTC")
    ends_at = serializers.DateTimeField(help_text="UTC")
    date = serializers.DateField(help_text="The wall date where the doctor works.")
    time = serializers.CharField(help_text="HH:MM on the wall where the doctor works.")


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

"""Serializers of doctors."""

from collections.abc import Mapping, Set
from typing import ClassVar

from rest_framework import serializers

from accounts.models import Role
from doctors.models import DEFAULT_SLOT_MINUTES
from doctors.permissions import DOCTOR_MAY_CHANGE
from healthcare.api.fields import Boolean, Date, Identifier, Integer, Minutes, StrictList, Text, WallTime
from healthcare.api.serializers import ChangesSerializer, OutSerializer, QuerySerializer, StrictSerializer

MAX_HOURS = 50
MAX_EXCEPTIONS = 500


class WeeklyHoursIn(StrictSerializer):
    weekday = Integer(min_value=0, max_value=6, help_text="Monday is 0.")
    start = WallTime()
    end = WallTime()
    slot_minutes = Minutes(required=False, default=DEFAULT_SLOT_MINUTES)


class ScheduleExceptionIn(StrictSerializer):
    date = Date()
    start = WallTime(required=False, allow_null=True, default=None)
    end = WallTime(required=False, allow_null=True, default=None)
    closed = Boolean(
        required=False,
        default=True,
        help_text="True: no visits from start to end, or all day without them. False: an extra clinic.",
    )


class _DoctorFields(StrictSerializer):
    name = Text(max_length=200)
    specialty = Text(max_length=120)
    availability = StrictList(child=WeeklyHoursIn(), max_length=MAX_HOURS, required=False)
    exceptions = StrictList(child=ScheduleExceptionIn(), max_length=MAX_EXCEPTIONS, required=False)
    accepting_patients = Boolean(required=False)
    time_zone = Text(max_length=64, required=False, help_text="IANA name, such as Europe/Zurich.")
    user_id = Integer(required=False, allow_null=True, min_value=1, max_value=2**63 - 1)


class DoctorIn(_DoctorFields):
    doctor_id = Identifier(required=False)


class DoctorChanges(ChangesSerializer, _DoctorFields):
    writable: ClassVar[Mapping[str, Set[str]]] = {Role.DOCTOR: DOCTOR_MAY_CHANGE}


class DoctorQuery(QuerySerializer):
    specialty = Text(max_length=120, required=False, help_text="The whole specialty; case does not matter.")
    available = Boolean(required=False, help_text="Whether the doctor accepts patients.")
    search = Text(required=False, help_text="Words of the name, in any order.")


class WeeklyHoursOut(OutSerializer):
    weekday = serializers.IntegerField()
    start = serializers.CharField()
    end = serializers.CharField()
    slot_minutes = serializers.IntegerField()


class ScheduleExceptionOut(OutSerializer):
    date = serializers.DateField()
    start = serializers.CharField(allow_null=True)
    end = serializers.CharField(allow_null=True)
    closed = serializers.BooleanField()


class DoctorOut(OutSerializer):
    doctor_id = serializers.CharField()
    name = serializers.CharField()
    specialty = serializers.CharField()
    availability = WeeklyHoursOut(many=True)
    exceptions = ScheduleExceptionOut(many=True)
    accepting_patients = serializers.BooleanField()
    time_zone = serializers.CharField()
    user_id = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()

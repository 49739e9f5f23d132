"""Serializers of prescriptions."""

from rest_framework import serializers

from healthcare.api.fields import Date, Identifier, Integer, Money, Text, Validated
from healthcare.api.serializers import ChangesSerializer, OutSerializer, QuerySerializer, StrictSerializer
from prescriptions.dosage import parse_dosage
from prescriptions.frequency import parse_frequency

#: A hundred years, because people take some drugs for decades.
MAX_DURATION_DAYS = 36_500


class _PrescriptionFields(StrictSerializer):
    drug = Text(max_length=200)
    dosage = Validated(
        parse=parse_dosage, max_length=64, help_text="A number and a unit: 500mg, 5 mL, 0.5 mg/kg, 1 tablet."
    )
    frequency = Validated(
        parse=parse_frequency,
        max_length=64,
        help_text="A known term: Daily, Twice daily, Every 8 hours, BID, QHS.",
    )
    cost = Money(required=False, allow_null=True)
    disease = Text(max_length=120, required=False, allow_null=True)
    appointment_id = Identifier(required=False, allow_null=True)
    start_date = Date(required=False, help_text="Today if absent.")
    duration_days = Integer(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_DURATION_DAYS,
        help_text="Absent for an open end.",
    )
    instructions = Text(max_length=2_000, lines=True, required=False, allow_null=True)


class PrescriptionIn(_PrescriptionFields):
    patient_id = Identifier()
    doctor_id = Identifier(required=False, help_text="Your own doctor id, which is the default; no other is accepted.")


class PrescriptionChanges(ChangesSerializer, _PrescriptionFields):
    pass


class PrescriptionQuery(QuerySerializer):
    patient_id = Text(required=False)
    doctor_id = Text(required=False)
    disease = Text(max_length=120, required=False)


class PrescriptionOut(OutSerializer):
    resource = "prescription"
    id = serializers.CharField()
    patient_id = serializers.CharField()
    doctor_id = serializers.CharField()
    appointment_id = serializers.CharField(allow_null=True)
    drug = serializers.CharField()
    dosage = serializers.CharField()
    frequency = serializers.CharField()
    cost = Money(allow_null=True)
    disease = serializers.CharField(allow_null=True)
    start_date = serializers.DateField()
    duration_days = serializers.IntegerField(allow_null=True)
    instructions = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()

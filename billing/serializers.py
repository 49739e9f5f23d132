"""Serializers of bills."""

from rest_framework import serializers

from billing.models import Status
from healthcare.api.fields import Choice, Identifier, Money, Text
from healthcare.api.serializers import ChangesSerializer, OutSerializer, QuerySerializer, StrictSerializer


class _BillFields(StrictSerializer):
    total_cost = Money()
    appointment_id = Identifier(required=False, allow_null=True)
    disease = Text(max_length=120, required=False, allow_null=True)
    status = Choice(choices=Status.choices, required=False)


class BillIn(_BillFields):
    patient_id = Identifier()


class BillChanges(ChangesSerializer, _BillFields):
    pass


class BillQuery(QuerySerializer):
    patient_id = Text(required=False)
    appointment_id = Text(required=False)
    disease = Text(max_length=120, required=False)
    status = Choice(choices=Status.choices, required=False)


class BillOut(OutSerializer):
    resource = "bill"
    id = serializers.IntegerField()
    patient_id = serializers.CharField()
    appointment_id = serializers.CharField(allow_null=True)
    disease = serializers.CharField(allow_null=True)
    total_cost = Money()
    status = serializers.ChoiceField(choices=Status.choices)
    created_at = serializers.DateTimeField()

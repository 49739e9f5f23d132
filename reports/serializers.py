"""Serializers for the parameters and responses of the reports."""

from typing import Any

from rest_framework import serializers

from healthcare.api.fields import Boolean, Choice, Integer
from healthcare.api.serializers import OutSerializer, PeriodQuery, QuerySerializer
from reports.pipelines import ORDERS
from reports.rollups import BASES

MAX_DOCTORS = 200


class TopDoctorsQuery(PeriodQuery):
    limit = Integer(
        required=False, min_value=1, max_value=MAX_DOCTORS, help_text="The number of doctors; 5 by default."
    )
    by = Choice(
        choices=list(ORDERS),
        required=False,
        help_text="The figure by which the doctors are ordered; patients by default.",
    )


class DiseaseTrendsQuery(QuerySerializer):
    basis = Choice(
        choices=list(BASES), required=False, help_text="The records that make up a treatment; prescriptions by default."
    )


class MonthlyTrendQuery(QuerySerializer):
    year = Integer(required=False, min_value=1, max_value=9999, help_text="The current year by default.")


class PrescriptionCostQuery(QuerySerializer):
    fresh = Boolean(required=False, help_text="Rebuild the report now; only for admins.")


class _Average(serializers.DecimalField):
    """A decimal with two places as a string, or null if there is nothing to average."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=14, decimal_places=2, allow_null=True, **kwargs)


class TopDoctorRow(OutSerializer):
    doctor_id = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    specialty = serializers.CharField(allow_null=True)
    patients = serializers.IntegerField(help_text="Different patients of these appointments.")
    appointments = serializers.IntegerField(help_text="Appointments that are not cancelled.")


class DiseaseTrendRow(OutSerializer):
    disease = serializers.CharField()
    patients = serializers.IntegerField(help_text="Patients with a treatment, including ongoing ones.")
    ongoing = serializers.IntegerField()
    average_treatment_days = _Average(help_text="Average over the treatments that are not ongoing; null if all are.")


class MonthRow(OutSerializer):
    month = serializers.IntegerField(min_value=1, max_value=12)
    completed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    scheduled = serializers.IntegerField()


class PrescriptionCostRow(OutSerializer):
    disease = serializers.CharField()
    prescriptions = serializers.IntegerField()
    average_prescription_cost = _Average(help_text="Average over the prescriptions that have a cost.")
    billed_visits = serializers.IntegerField(
        help_text="Bills of the prescriptions' visits and patients, without void ones."
    )
    average_total_cost = _Average(help_text="Average over these bills.")


class TopDoctorsOut(OutSerializer):
    results = TopDoctorRow(many=True)
    as_of = serializers.DateTimeField()


class DiseaseTrendsOut(OutSerializer):
    results = DiseaseTrendRow(many=True)
    as_of = serializers.DateTimeField()


class MonthlyTrendOut(OutSerializer):
    results = MonthRow(many=True)
    as_of = serializers.DateTimeField()


class PrescriptionCostOut(OutSerializer):
    results = PrescriptionCostRow(many=True)
    as_of = serializers.DateTimeField(help_text="At most a minute before the request.")

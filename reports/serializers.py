"""What the endpoints of the reports take and answer."""

from typing import Any

from rest_framework import serializers

from healthcare.api.fields import Boolean, Choice, Integer
from healthcare.api.serializers import OutSerializer, PeriodQuery, QuerySerializer
from reports.pipelines import ORDERS
from reports.rollups import BASES

MAX_DOCTORS = 200


class TopDoctorsQuery(PeriodQuery):
    limit = Integer(required=False, min_value=1, max_value=MAX_DOCTORS, help_text="5 when absent.")
    by = Choice(choices=list(ORDERS), required=False, help_text="The figure that orders them; patients when absent.")


class DiseaseTrendsQuery(QuerySerializer):
    basis = Choice(choices=list(BASES), required=False, help_text="What a treatment is; prescriptions when absent.")


class MonthlyTrendQuery(QuerySerializer):
    year = Integer(required=False, min_value=1, max_value=9999, help_text="This year when absent.")


class PrescriptionCostQuery(QuerySerializer):
    fresh = Boolean(required=False, help_text="Make it anew now; for admins.")


class _Average(serializers.DecimalField):
    """Two places, as a string; null of nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=14, decimal_places=2, allow_null=True, **kwargs)


class TopDoctorRow(OutSerializer):
    doctor_id = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    specialty = serializers.CharField(allow_null=True)
    patients = serializers.IntegerField(help_text="Distinct patients of the appointments.")
    appointments = serializers.IntegerField(help_text="Appointments that are not cancelled.")


class DiseaseTrendRow(OutSerializer):
    disease = serializers.CharField()
    patients = serializers.IntegerField(help_text="Those whose treatment is ongoing included.")
    ongoing = serializers.IntegerField()
    average_treatment_days = _Average(help_text="Of the treatments that are not ongoing; null when all are.")


class MonthRow(OutSerializer):
    month = serializers.IntegerField(min_value=1, max_value=12)
    completed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    scheduled = serializers.IntegerField()


class PrescriptionCostRow(OutSerializer):
    disease = serializers.CharField()
    prescriptions = serializers.IntegerField()
    average_prescription_cost = _Average(help_text="Of the prescriptions that have a cost.")
    billed_visits = serializers.IntegerField(help_text="Bills that belong to the prescriptions; void ones do not.")
    average_total_cost = _Average(help_text="Of those bills.")


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
    as_of = serializers.DateTimeField(help_text="At most a minute ago.")

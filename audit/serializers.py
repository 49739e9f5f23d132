"""What the endpoints of the audit trail take and answer."""

from typing import Any

from rest_framework import serializers

from healthcare.api.fields import Choice, Integer, Text
from healthcare.api.serializers import OutSerializer, PeriodQuery
from healthcare.audit_context import OUTCOMES
from patients.serializers import MAX_ACCOUNT_NUMBER


class TrailQuery(PeriodQuery):
    """Days are those of UTC."""

    patient_id = Text(max_length=64, required=False)
    actor = Integer(required=False, min_value=1, max_value=MAX_ACCOUNT_NUMBER, help_text="The number of an account.")
    action = Text(max_length=64, required=False, help_text="Such as patient.viewed.")
    outcome = Choice(choices=OUTCOMES, required=False)


class AccessLogQuery(PeriodQuery):
    """Days are those of UTC."""


class AuditEntryOut(OutSerializer):
    id = serializers.IntegerField(help_text="Counts entries as they arrive.")
    at = serializers.DateTimeField()
    actor = serializers.IntegerField(
        source="actor_id", allow_null=True, help_text="The number of the account; null for commands and anonymous."
    )
    role = serializers.CharField()
    action = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    reason = serializers.CharField(allow_null=True, help_text="The code of a refusal.")
    patient_ids = serializers.ListField(child=serializers.CharField())
    subject = serializers.CharField(allow_null=True, help_text="The id of the one record that it is about.")
    channel = serializers.CharField(help_text="api, admin, command or shell")
    address = serializers.CharField(allow_null=True)
    request_id = serializers.CharField(allow_null=True)

    @classmethod
    def many_of(cls, items: Any) -> list[dict[str, Any]]:
        # A patient's rows lead to their entries.
        return super().many_of([getattr(item, "entry", item) for item in items])


class AccessLogOut(OutSerializer):
    at = serializers.DateTimeField()
    actor = serializers.IntegerField(allow_null=True)
    actor_name = serializers.CharField(allow_null=True, help_text="Null for a command, and for another patient.")
    role = serializers.CharField()
    action = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    subject = serializers.CharField(allow_null=True)
    channel = serializers.CharField()

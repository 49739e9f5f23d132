"""Serializers for the parameters and responses of the audit log's endpoints."""

from typing import Any

from rest_framework import serializers

from healthcare.api.fields import Choice, Integer, Text
from healthcare.api.serializers import OutSerializer, PeriodQuery
from healthcare.audit_context import OUTCOMES
from patients.serializers import MAX_ACCOUNT_NUMBER


class AuditLogQuery(PeriodQuery):
    """Days are those of UTC."""

    patient_id = Text(max_length=64, required=False)
    actor = Integer(required=False, min_value=1, max_value=MAX_ACCOUNT_NUMBER, help_text="The number of an account.")
    action = Text(max_length=64, required=False, help_text="Such as patient.viewed.")
    outcome = Choice(choices=OUTCOMES, required=False)


class AccessLogQuery(PeriodQuery):
    """Days are those of UTC."""


class AuditEntryOut(OutSerializer):
    id = serializers.IntegerField(help_text="The number of the entry in the order of arrival.")
    at = serializers.DateTimeField()
    actor = serializers.IntegerField(
        source="actor_id",
        allow_null=True,
        help_text="The number of the account; null for commands and for requests without an account.",
    )
    role = serializers.CharField()
    action = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    reason = serializers.CharField(allow_null=True, help_text="The code of the error if the outcome is refused.")
    patient_ids = serializers.ListField(child=serializers.CharField())
    subject = serializers.CharField(
        allow_null=True, help_text="The id of the record, if the entry is about a single one."
    )
    channel = serializers.CharField(help_text="api, admin, command or shell")
    address = serializers.CharField(allow_null=True)
    request_id = serializers.CharField(allow_null=True)

    @classmethod
    def many_of(cls, items: Any) -> list[dict[str, Any]]:
        # With a patient_id the items are AuditPatient rows (`audit.queries.matching`), which refer to their entries.
        return super().many_of([getattr(item, "entry", item) for item in items])


class AccessLogOut(OutSerializer):
    at = serializers.DateTimeField()
    actor = serializers.IntegerField(allow_null=True)
    actor_name = serializers.CharField(
        allow_null=True, help_text="Null for a command, and if the actor is another patient."
    )
    role = serializers.CharField()
    action = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    subject = serializers.CharField(allow_null=True)
    channel = serializers.CharField()

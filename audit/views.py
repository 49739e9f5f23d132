"""/audit, and /patients/{id}/access-log."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from audit import permissions, queries
from audit.serializers import AccessLogOut, AccessLogQuery, AuditEntryOut, TrailQuery
from healthcare import audit_context
from healthcare.api.views import ResourceViewSet


class TrailViewSet(ResourceViewSet):
    """The audit trail: who looked at whose data, who wrote it, who was refused."""

    resource = "audit"
    allowed = permissions.TRAIL
    response_serializer = AuditEntryOut
    query_serializers = {"list": TrailQuery}

    def list(self, request: AccountRequest) -> Response:
        filters = TrailQuery.parse_query(request)
        page = self.page(queries.matching(request.user, **filters))
        # Whom it was asked about; not everybody whom the answer names, or each look at the trail would fill it.
        audit_context.record_access("audit.listed", [filters["patient_id"]])
        return page


class AccessLogViewSet(ResourceViewSet):
    """Who opened a patient's record."""

    resource = "patient"
    action_names = {"access_log": "access_log_viewed"}
    allowed = permissions.ACCESS_LOG
    response_serializers = {"access_log": AccessLogOut}
    list_responses = frozenset({"access_log"})
    query_serializers = {"access_log": AccessLogQuery}

    def access_log(self, request: AccountRequest, patient_id: str) -> Response:
        """Who opened or changed the patient's record, or tried to, the latest first."""
        found = queries.access_log(request.user, patient_id, **AccessLogQuery.parse_query(request))
        audit_context.record_access(self.audit_action("access_log"), [patient_id], subject=patient_id)
        return self.page(found, as_rows=lambda rows: queries.with_names(rows, reader=request.user))

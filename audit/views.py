"""Views of /audit and /patients/{id}/access-log."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from audit import permissions, queries
from audit.serializers import AccessLogOut, AccessLogQuery, AuditEntryOut, AuditLogQuery
from healthcare import audit_context
from healthcare.api.views import ResourceViewSet


class AuditLogViewSet(ResourceViewSet):
    """The audit log: who read or changed whose data, and whose requests were refused."""

    resource = "audit"
    allowed = permissions.AUDIT_LOG
    response_serializer = AuditEntryOut
    query_serializers = {"list": AuditLogQuery}

    def list(self, request: AccountRequest) -> Response:
        filters = AuditLogQuery.parse_query(request)
        page = self.page(queries.matching(request.user, **filters))
        # The entry names only the patient of the filter. If it named everybody on the page, reading the audit log would
        # fill it.
        audit_context.record_access("audit.listed", [filters["patient_id"]])
        return page


class AccessLogViewSet(ResourceViewSet):
    """The access log of a patient."""

    resource = "patient"
    action_names = {"access_log": "access_log_viewed"}
    allowed = permissions.ACCESS_LOG
    response_serializers = {"access_log": AccessLogOut}
    list_responses = frozenset({"access_log"})
    query_serializers = {"access_log": AccessLogQuery}

    def access_log(self, request: AccountRequest, patient_id: str) -> Response:
        """Return the accesses to the patient's record and the refused attempts, the latest first."""
        found = queries.access_log(request.user, patient_id, **AccessLogQuery.parse_query(request))
        audit_context.record_access(self.audit_action("access_log"), [patient_id], subject=patient_id)
        return self.page(found, as_rows=lambda rows: queries.with_names(rows, reader=request.user))

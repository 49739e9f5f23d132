"""Views of /reports, as JSON, CSV and charts."""

from typing import Any

from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.response import Response

from accounts.authentication import AccountRequest
from healthcare import audit_context
from healthcare.api.views import ResourceViewSet
from reports import permissions, queries
from reports.files import HEADERS, MEDIA_TYPES, as_file
from reports.queries import Report
from reports.renderers import FORMATS
from reports.serializers import (
    DiseaseTrendsOut,
    DiseaseTrendsQuery,
    MonthlyTrendOut,
    MonthlyTrendQuery,
    PrescriptionCostOut,
    PrescriptionCostQuery,
    TopDoctorsOut,
    TopDoctorsQuery,
)


class ReportViewSet(ResourceViewSet):
    """Reports over all records."""

    resource = "report"
    action_names = dict.fromkeys(permissions.ALLOWED, "viewed")
    allowed = permissions.ALLOWED
    pagination_class = None
    renderer_classes = FORMATS
    response_serializers = {
        "top_doctors": TopDoctorsOut,
        "disease_trends": DiseaseTrendsOut,
        "monthly_appointments_trend": MonthlyTrendOut,
        "average_prescription_cost": PrescriptionCostOut,
    }
    query_serializers = {
        "top_doctors": TopDoctorsQuery,
        "disease_trends": DiseaseTrendsQuery,
        "monthly_appointments_trend": MonthlyTrendQuery,
        "average_prescription_cost": PrescriptionCostQuery,
    }

    def top_doctors(self, request: AccountRequest, format: str | None = None) -> HttpResponseBase:  # noqa: A002
        """Return the doctors with the most patients or appointments, of all time or of a period."""
        return self._respond(request, queries.top_doctors(**self._parameters(request)))

    def disease_trends(self, request: AccountRequest, format: str | None = None) -> HttpResponseBase:  # noqa: A002
        """Return the number of patients of each disease and the average length of treatment."""
        return self._respond(request, queries.disease_trends(**self._parameters(request)))

    def monthly_appointments_trend(
        self,
        request: AccountRequest,
        format: str | None = None,  # noqa: A002
    ) -> HttpResponseBase:
        """Return the appointments of a year by month and status."""
        given = {"year": timezone.now().year, **self._parameters(request)}
        return self._respond(request, queries.monthly_appointments_trend(**given))

    def average_prescription_cost(
        self,
        request: AccountRequest,
        format: str | None = None,  # noqa: A002
    ) -> HttpResponseBase:
        """Return the average costs of prescriptions and of the visits billed for them, by disease."""
        given = self._parameters(request)
        if given.get("fresh"):
            permissions.require_can_rebuild(request.user)
        return self._respond(request, queries.average_prescription_cost(**given))

    def _parameters(self, request: AccountRequest) -> dict[str, Any]:
        query = self.query_serializers[self.action].parse_query(request, also=frozenset())
        return {name: value for name, value in query.items() if value is not None}

    def _respond(self, request: AccountRequest, report: Report) -> HttpResponseBase:
        audit_context.record_access("report.viewed", subject=report.name)
        serializer = self.response_serializers[self.action]
        kind = request.accepted_renderer.format
        if kind in MEDIA_TYPES:
            columns = tuple(serializer().fields["results"].child.fields)  # type: ignore[attr-defined]
            return as_file(report, kind, columns=columns)
        return Response(serializer.of({"results": report.rows, "as_of": report.as_of}), headers=HEADERS)

"""/reports: as JSON, CSV and charts."""

from typing import Any

from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.response import Response

from accounts.authentication import AccountRequest
from healthcare import audit_context
from healthcare.api.views import ResourceViewSet
from reports import permissions, queries
from reports.files import HEADERS, KINDS, as_file
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
    """What the records add up to."""

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
        """The doctors with most patients or appointments, of all time or of a period."""
        return self._answer(request, queries.top_doctors(**self._given(request)))

    def disease_trends(self, request: AccountRequest, format: str | None = None) -> HttpResponseBase:  # noqa: A002
        """How many patients each disease has, and how long it is treated."""
        return self._answer(request, queries.disease_trends(**self._given(request)))

    def monthly_appointments_trend(
        self,
        request: AccountRequest,
        format: str | None = None,  # noqa: A002
    ) -> HttpResponseBase:
        """A year's appointments by month and status."""
        given = {"year": timezone.now().year, **self._given(request)}
        return self._answer(request, queries.monthly_appointments_trend(**given))

    def average_prescription_cost(
        self,
        request: AccountRequest,
        format: str | None = None,  # noqa: A002
    ) -> HttpResponseBase:
        """What prescriptions and the visits billed for them cost on average, by disease."""
        given = self._given(request)
        if given.get("fresh"):
            permissions.require_may_renew(request.user)
        return self._answer(request, queries.average_prescription_cost(**given))

    def _given(self, request: AccountRequest) -> dict[str, Any]:
        query = self.query_serializers[self.action].parse_query(request, also=frozenset())
        return {name: value for name, value in query.items() if value is not None}

    def _answer(self, request: AccountRequest, report: Report) -> HttpResponseBase:
        audit_context.record_access("report.viewed", subject=report.name)
        answer = self.response_serializers[self.action]
        chosen = request.accepted_renderer.format
        if chosen in KINDS:
            columns = tuple(answer().fields["results"].child.fields)  # type: ignore[attr-defined]
            return as_file(report, chosen, columns=columns)
        return Response(answer.of({"results": report.rows, "as_of": report.as_of}), headers=HEADERS)

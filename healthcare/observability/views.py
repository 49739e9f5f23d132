"""Endpoints for monitoring: /healthz, /readyz and /metrics."""

from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, ClassVar

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from healthcare.api.permissions import ANYONE, RoleTable
from healthcare.api.problem_details import MEDIA_TYPE, RETRY_AFTER_SECONDS, problem
from healthcare.api.renderers import JSONRenderer
from healthcare.api.serializers import OutSerializer
from healthcare.api.views import ResourceViewSet
from healthcare.client_address import client_address
from healthcare.observability import health, metrics


class AliveOut(OutSerializer):
    """The answer of a process that accepts requests."""

    status = serializers.CharField(help_text="Always `alive`.")


class ReadyOut(OutSerializer):
    """The answer of a process that can serve. A process that cannot serve answers 503 and names the reasons."""

    status = serializers.CharField(help_text="Always `ready`.")
    event_lag_seconds = serializers.FloatField(
        help_text="The age of the oldest event that waits for a consumer, such as the bill of a completed visit."
    )


class HealthViewSet(ResourceViewSet):
    """Liveness and readiness for containers and load balancers, without an account and without patient data."""

    resource = "probe"
    action_names: ClassVar[Mapping[str, str]] = {"alive": "answered", "ready": "answered"}
    allowed: ClassVar[RoleTable] = {"alive": ANYONE, "ready": ANYONE}
    response_serializers: ClassVar[Mapping[str, type[OutSerializer]]] = {"alive": AliveOut, "ready": ReadyOut}
    # No authentication, because reading an account needs a database.
    authentication_classes = ()
    renderer_classes = (JSONRenderer,)
    pagination_class = None
    http_method_names = ["get", "head"]

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    def alive(self, request: Request) -> Response:
        """Return 200 if the process runs. No database is queried."""
        return Response(AliveOut.of({"status": "alive"}))

    def ready(self, request: Request) -> Response:
        """Return 200 if both databases answer and have the migrations of this version.

        Otherwise return 503 with the reasons in `errors`: `/postgresql`, `/mongodb`, and `/events` if the operator has
        limited how long events may wait.
        """
        problems, lag = health.readiness()
        if problems or lag is None:
            errors = [{"pointer": f"/{each.component}", "code": each.code, "detail": each.detail} for each in problems]
            return Response(
                problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is not ready.", errors),
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
                content_type=MEDIA_TYPE,
            )
        return Response(ReadyOut.of({"status": "ready", "event_lag_seconds": round(lag.seconds, 3)}))


@require_safe
def metrics_page(request: HttpRequest) -> HttpResponse:
    """Return the metrics to a client that sends METRICS_TOKEN, and 404 to any other."""
    if not _may_scrape(request):
        raise Http404
    return HttpResponse(
        metrics.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"}
    )


def _may_scrape(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        return constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}")
    if not (settings.DEBUG or settings.LOCAL_SECRETS):
        # Behind a proxy that TRUSTED_PROXIES does not name, every client has the loopback address.
        return False
    address = client_address(request)
    return address is not None and ip_address(address).is_loopback

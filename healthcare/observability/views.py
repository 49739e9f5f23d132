"""The pages for machines that watch this one: /healthz, /readyz and /metrics."""

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
    """Answered by a process that takes requests."""

    status = serializers.CharField(help_text="Always `alive`.")


class ReadyOut(OutSerializer):
    """Answered by a process that has all it needs; one that has not answers 503 and names what is missing."""

    status = serializers.CharField(help_text="Always `ready`.")
    event_lag_seconds = serializers.FloatField(
        help_text="The age of the oldest event that waits for a consumer, such as the bill of a completed visit."
    )


class HealthViewSet(ResourceViewSet):
    """What a container or a load balancer asks, again and again: nobody's account, nothing about people."""

    resource = "probe"
    action_names: ClassVar[Mapping[str, str]] = {"alive": "answered", "ready": "answered"}
    allowed: ClassVar[RoleTable] = {"alive": ANYONE, "ready": ANYONE}
    response_serializers: ClassVar[Mapping[str, type[OutSerializer]]] = {"alive": AliveOut, "ready": ReadyOut}
    # Reading an account would be reading a database.
    authentication_classes = ()
    renderer_classes = (JSONRenderer,)
    pagination_class = None
    http_method_names = ["get", "head"]

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    def alive(self, request: Request) -> Response:
        """Whether the process lives: it answers, and asks no database."""
        return Response(AliveOut.of({"status": "alive"}))

    def ready(self, request: Request) -> Response:
        """Whether the process can serve: both databases answer and have the migrations of this version.

        Otherwise 503, with what is missing in `errors`: `/postgresql`, `/mongodb`, and `/events` where the operator has
        set how long events may wait.
        """
        missing, lag = health.readiness()
        if missing or lag is None:
            errors = [{"pointer": f"/{each.where}", "code": each.code, "detail": each.sentence} for each in missing]
            return Response(
                problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is not ready.", errors),
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
                content_type=MEDIA_TYPE,
            )
        return Response(ReadyOut.of({"status": "ready", "event_lag_seconds": round(lag.seconds, 3)}))


@require_safe
def metrics_page(request: HttpRequest) -> HttpResponse:
    """The metrics, for whoever has METRICS_TOKEN. To everybody else there is no such page."""
    if not _may_scrape(request):
        raise Http404
    return HttpResponse(
        metrics.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"}
    )


def _may_scrape(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        return constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}")
    if not (settings.DEBUG or settings.LOCAL_SECRETS):
        # Behind a proxy that nobody has named, everybody comes from loopback.
        return False
    address = client_address(request)
    return address is not None and ip_address(address).is_loopback

"""What every room's views are made of, and the few pages that belong to no room."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, cast

from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.views import csrf
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers, viewsets
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from healthcare import audit_context
from healthcare.api.openapi import ResourceSchema
from healthcare.api.pagination import KeysetPagination, Rows
from healthcare.api.permissions import ANYONE, RoleTable
from healthcare.api.problem_details import problem_page
from healthcare.api.serializers import NoQuery, OutSerializer, QuerySerializer

#: Action → what it did, where a view does not say otherwise.
ACTION_NAMES: Mapping[str, str] = {
    "list": "listed",
    "create": "created",
    "retrieve": "viewed",
    "partial_update": "amended",
    "destroy": "deleted",
}


class ResourceViewSet(viewsets.GenericViewSet):
    """A room's endpoints: who may call them, what they take and what they answer, declared side by side.

    The declarations drive permissions, parsing, the OpenAPI document and the forms of the browsable API. The methods
    of a room's viewset parse, make one call and serialise; reads and writes are the business of its queries and
    services, so there is no queryset here.
    """

    #: What the room keeps, such as "patient", and what an action did when it is through, such as "booked": together
    #: the action of an entry in the audit trail, "appointment.booked".
    resource: ClassVar[str]
    action_names: ClassVar[Mapping[str, str]] = {}
    allowed: ClassVar[RoleTable] = {}
    #: Action → the serializer of the body that it takes.
    request_serializers: ClassVar[Mapping[str, type[serializers.BaseSerializer]]] = {}
    #: The serializer of one answered object; an action that answers something else is in `answers`.
    response_serializer: ClassVar[type[OutSerializer] | None] = None
    response_serializers: ClassVar[Mapping[str, type[OutSerializer]]] = {}
    #: Action → the serializer of its query string.
    query_serializers: ClassVar[Mapping[str, type[QuerySerializer]]] = {}

    pagination_class: type[KeysetPagination] | None = KeysetPagination
    schema = ResourceSchema()
    # Ids may hold dots, which the router's own pattern takes for the beginning of a format.
    lookup_value_regex = "[^/]+"
    http_method_names = ["get", "head", "post", "patch", "delete"]

    @classmethod
    def audit_action(cls, action: str) -> str:
        """What an action is called in the audit trail."""
        return f"{cls.resource}.{cls.action_names.get(action) or ACTION_NAMES[action]}"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self._begin_action(kwargs)
        super().initial(request, *args, **kwargs)
        self._refuse_parameters(request)

    def _begin_action(self, kwargs: Mapping[str, Any]) -> None:
        if self.action in self.allowed:
            audit_context.begin_action(self.audit_action(self.action), subject=next(iter(kwargs.values()), None))
            audit_context.involves(kwargs.get("patient_id"))

    def _refuse_parameters(self, request: Request) -> None:
        """Parameters are refused where nothing reads them, too."""
        if self.action not in self.query_serializers:
            paged = KeysetPagination is self.pagination_class and self.action == "list"
            NoQuery.parse_query(request, **({} if paged else {"also": frozenset()}))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        # A table or a chart is written by the view itself.
        if isinstance(response, Response):
            response.add_post_render_callback(_break_reference_cycle)
        return response

    def perform_authentication(self, request: Request) -> None:
        try:
            super().perform_authentication(request)
        except AuthenticationFailed:
            # A client that has an expired token sends it along when it asks for a new one, too.
            if self.allowed.get(self.action or "") is not ANYONE:
                raise

    def get_serializer_class(self) -> type[serializers.BaseSerializer]:
        return self.request_serializers.get(self.action or "", serializers.Serializer)

    def response_serializer_for(self, action: str) -> type[OutSerializer] | None:
        return self.response_serializers.get(action, self.response_serializer)

    def page(self, found: Rows, *, as_rows: Callable[[list[Any]], Iterable[Any]] = iter) -> Response:
        """One page of an ordered query, in the shape that all lists have; `as_rows` makes of it what is shown."""
        answer = self.response_serializer_for(self.action)
        if answer is None or self.paginator is None:
            raise ImproperlyConfigured(f"{type(self).__name__} lists, but declares no answer or no pagination.")
        rows = cast(KeysetPagination, self.paginator).paginate_queryset(found, self.request, view=self)
        return self.paginator.get_paginated_response(answer.many_of(list(as_rows(rows or []))))


def _break_reference_cycle(response: Response) -> None:
    """Untie what DRF ties in a ring, once the answer is written.

    The response knows the view, which knows the request, which knows the view: a page's rows were left for the
    collector of cycles, thirty megabytes of them at times, and each new one was made in memory that no cache held.
    """
    context = response.renderer_context  # type: ignore[attr-defined]
    response.renderer_context = response.data = None  # type: ignore[attr-defined]
    if context:
        context["request"].parser_context = None
        # Its own methods, as they are bound for this request.
        vars(context["view"]).clear()


class ApiRoot(viewsets.ViewSet):
    """The resources of the API, for somebody who comes with a browser."""

    allowed: ClassVar[RoleTable] = {"list": ANYONE}
    schema = None
    http_method_names = ["get", "head"]
    resources = ("patients", "doctors", "appointments", "prescriptions", "billing", "accounts", "audit")
    reports = ("top-doctors", "disease-trends", "monthly-appointments-trend", "average-prescription-cost")

    def get_view_name(self) -> str:
        return "Smart Healthcare API"

    def list(self, request: Request) -> Response:
        NoQuery.parse_query(request, also=frozenset())
        rooms = {name: reverse(f"{name}-list", request=request) for name in self.resources}
        reports = {f"reports/{name}": reverse(f"reports-{name}", request=request) for name in self.reports}
        return Response({**rooms, **reports})


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's page about a form without its token, whatever the page; that it was refused is on record."""
    kwargs = request.resolver_match.kwargs if request.resolver_match else {}
    audit_context.begin_action(admin.site.audit_action(request), subject=kwargs.get("object_id"))  # type: ignore[attr-defined]
    audit_context.mark_refused("csrf_failed")
    return csrf.csrf_failure(request, reason=reason)


@csrf_exempt
def unknown_path(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """The last pattern under /api: an unknown path answers in the API's shape, not as an HTML page."""
    return problem_page(request, 404, "There is no such path.")

"""The base class of the API's viewsets, and the views that belong to no app."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
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

#: Action → its past participle in the audit log, unless the view's `action_names` has another one.
ACTION_NAMES: Mapping[str, str] = {
    "list": "listed",
    "create": "created",
    "retrieve": "viewed",
    "partial_update": "amended",
    "destroy": "deleted",
}


class ResourceViewSet(viewsets.GenericViewSet):
    """Base class of the API's viewsets, with the declarations that describe an endpoint.

    The declarations drive permissions, parsing, the OpenAPI document and the forms of the browsable API. A method of a
    viewset parses, makes one call and serialises. Reads and writes belong to the app's queries and services, so that
    there is no queryset here. A system check (healthcare.api.checks) fails for an attribute that is not declared here
    and for a mapping that names an unknown action.
    """

    #: The kind of record, such as "patient". With the name of an action it makes the action of an entry in the audit
    #: log: "appointment" and "booked" make "appointment.booked".
    resource: ClassVar[str] = ""
    #: Action → its past participle for the audit log, where `ACTION_NAMES` has none or another one.
    action_names: ClassVar[Mapping[str, str]] = {}
    #: Action → the roles that may call it. An action without a row is denied.
    allowed: ClassVar[RoleTable] = {}

    #: Action → the serializer of its request body.
    request_serializers: ClassVar[Mapping[str, type[serializers.BaseSerializer]]] = {}
    #: Action → the serializer of its query string.
    query_serializers: ClassVar[Mapping[str, type[QuerySerializer]]] = {}
    #: The serializer of the response of each action that `response_serializers` does not name.
    response_serializer: ClassVar[type[OutSerializer] | None] = None
    #: Action → the serializer of its response.
    response_serializers: ClassVar[Mapping[str, type[OutSerializer]]] = {}

    # In the OpenAPI document every action answers 200 with one object, except for these actions.
    #: Actions that answer 201.
    created_responses: ClassVar[Set[str]] = frozenset({"create"})
    #: Actions that answer 204, without a body.
    empty_responses: ClassVar[Set[str]] = frozenset({"destroy"})
    #: Actions that answer 302.
    redirect_responses: ClassVar[Set[str]] = frozenset()
    #: Actions that answer a page of objects.
    list_responses: ClassVar[Set[str]] = frozenset({"list"})
    #: Action → the status codes of errors that it has beside those of every action (healthcare.api.openapi).
    extra_statuses: ClassVar[Mapping[str, Sequence[str]]] = {}

    pagination_class: type[KeysetPagination] | None = KeysetPagination
    schema = ResourceSchema()
    #: The path converter of the id in a route: "str" or "int". DRF's routers read it.
    lookup_value_converter: ClassVar[str] = "str"
    http_method_names = ["get", "head", "post", "patch", "delete"]

    @classmethod
    def audit_action(cls, action: str) -> str:
        """Return the name of an action in the audit log, such as "appointment.booked"."""
        return f"{cls.resource}.{cls.action_names.get(action) or ACTION_NAMES[action]}"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self._begin_action(kwargs)
        super().initial(request, *args, **kwargs)
        self._reject_unknown_parameters(request)

    def _begin_action(self, kwargs: Mapping[str, Any]) -> None:
        if self.action in self.allowed:
            audit_context.begin_action(self.audit_action(self.action), subject=next(iter(kwargs.values()), None))
            audit_context.involves(kwargs.get("patient_id"))

    def _reject_unknown_parameters(self, request: Request) -> None:
        """Reject query parameters of an action that has no query serializer. Raises: ValidationError."""
        if self.action not in self.query_serializers:
            is_paged = self.pagination_class is KeysetPagination and self.action == "list"
            NoQuery.parse_query(request, **({} if is_paged else {"also": frozenset()}))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        # A report as a file is a response of Django's, which has no context of DRF.
        if isinstance(response, Response):
            response.add_post_render_callback(_break_reference_cycle)
        return response

    def perform_authentication(self, request: Request) -> None:
        try:
            super().perform_authentication(request)
        except AuthenticationFailed:
            # A client that asks for a new token still sends its expired one: this request must not be answered 401.
            if self.allowed.get(self.action or "") is not ANYONE:
                raise

    def get_serializer_class(self) -> type[serializers.BaseSerializer]:
        return self.request_serializers.get(self.action or "", serializers.Serializer)

    def response_serializer_for(self, action: str) -> type[OutSerializer] | None:
        """Return the serializer of the action's response; None for an action without one."""
        return self.response_serializers.get(action, self.response_serializer)

    def page(self, found: Rows, *, as_rows: Callable[[list[Any]], Iterable[Any]] = iter) -> Response:
        """Return the response with one page of an ordered query.

        `as_rows` turns the records of the page into the rows that the response shows.
        """
        serializer = self.response_serializer_for(self.action)
        if serializer is None or self.paginator is None:
            name = f"{type(self).__name__}.{self.action}"
            raise ImproperlyConfigured(f"{name} needs a response serializer and a pagination class.")
        rows = cast(KeysetPagination, self.paginator).paginate_queryset(found, self.request, view=self)
        return self.paginator.get_paginated_response(serializer.many_of(list(as_rows(rows or []))))


def _break_reference_cycle(response: Response) -> None:
    """Break the reference cycle of response, view and request after the response has been rendered.

    With the cycle, the rows of a page stay in memory until the garbage collector finds them. Up to 30 MB of rows stayed
    there, and every new page was built in memory outside the processor's caches (docs/performance.md).
    """
    context = response.renderer_context  # type: ignore[attr-defined]
    response.renderer_context = response.data = None  # type: ignore[attr-defined]
    if context:
        context["request"].parser_context = None
        # DRF binds the actions to HTTP methods as attributes of the view, which refer to the view.
        vars(context["view"]).clear()


class ApiRoot(viewsets.ViewSet):
    """Links to the lists and reports of the API, for the browsable API."""

    allowed: ClassVar[RoleTable] = {"list": ANYONE}
    schema = None
    http_method_names = ["get", "head"]
    resources = ("patients", "doctors", "appointments", "prescriptions", "billing", "accounts", "audit")
    reports = ("top-doctors", "disease-trends", "monthly-appointments-trend", "average-prescription-cost")

    def get_view_name(self) -> str:
        return "Smart Healthcare API"

    def list(self, request: Request) -> Response:
        NoQuery.parse_query(request, also=frozenset())
        lists = {name: reverse(f"{name}-list", request=request) for name in self.resources}
        reports = {f"reports/{name}": reverse(f"reports-{name}", request=request) for name in self.reports}
        return Response({**lists, **reports})


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return Django's page for a form without its CSRF token, and record the denied attempt in the audit log."""
    kwargs = request.resolver_match.kwargs if request.resolver_match else {}
    audit_context.begin_action(admin.site.audit_action(request), subject=kwargs.get("object_id"))  # type: ignore[attr-defined]
    audit_context.mark_refused("csrf_failed")
    return csrf.csrf_failure(request, reason=reason)


@csrf_exempt
def unknown_path(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    """Return a 404 as problem details: the view of the last pattern under /api."""
    return problem_page(request, 404, "There is no such path.")

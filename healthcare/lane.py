"""The short way of what programs ask for most: to read or write a record as JSON, with a token.

Django's handler, its middleware and DRF's dispatch took a tenth of the processor time of such a request, to find out
that there was nothing for them to do. What has to be decided is decided here by the same code as there: whom the
token belongs to, whether the role may, what the query string says, who sees what; and nothing leaves before it is on
record.

Whatever is not plain goes the long way, where `middleware.TokenLane` spares it what is for browsers. So does a read
that comes to anything but 200, from its beginning, as if nobody had tried this one: it has changed nothing, and there
is no second way to say what is wrong. A write is dispatched by DRF here, too; it passes by the middleware only.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, cast

from django.conf import settings
from django.core import signals
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import patch_vary_headers
from django.utils.log import log_response
from django.utils.module_loading import import_string
from rest_framework.response import Response

from healthcare.metrics import MetricsMiddleware
from healthcare.middleware import AuditMiddleware, BodySizeMiddleware
from healthcare.proxies import forget_what_nobody_may_say
from healthcare.renderers import JSONRenderer
from healthcare.views import JSON_OR_ANYTHING, RoomViewSet

Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]

_JSON = JSONRenderer()
_WRITES = frozenset({"POST", "PATCH", "DELETE"})
#: The middleware that puts the same headers on every plain answer, whoever asks.
_SAYING_THE_SAME = (
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "healthcare.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)


class Lane:
    """A WSGI application in front of Django's."""

    def __init__(self, long_way: Application) -> None:
        self.long_way = long_way

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        if not may_be_plain(environ):
            return self.long_way(environ, start_response)
        signals.request_started.send(sender=type(self), environ=environ)
        response = answer(environ)
        if response is None:
            return self.long_way(environ, start_response)
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        signals.request_finished.send(sender=type(self))
        return [response.content]


def answer(environ: dict[str, Any]) -> HttpResponse | None:
    """What a request that may be plain is answered, on record; None for the long way."""
    request = _plain_request(environ)
    if request is None:
        return None
    try:
        response = cast(HttpResponse, (_read if request.method == "GET" else _write)(request))
    except NotRead:
        return None
    if response.status_code >= 400:
        log_response("%s: %s", response.reason_phrase, request.path, response=response, request=request)
    for name, value in _headers_of_all(request.is_secure()):
        if name.lower() == "vary":
            patch_vary_headers(response, value.split(", "))
        else:
            response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Length", str(len(response.content)))
    return response


class NotRead(Exception):
    """A read that came to something else than an answer."""


def may_be_plain(environ: dict[str, Any]) -> bool:
    """Whether it looks like a program's that reads or writes a record, by what the server says of it."""
    path, is_read = environ["PATH_INFO"], environ["REQUEST_METHOD"] == "GET"
    return (
        (is_read or environ["REQUEST_METHOD"] in _WRITES)
        and environ.get("HTTP_AUTHORIZATION", "").startswith("Bearer ")
        and path.startswith("/api/")
        # Which makes sessions, or ends them.
        and not path.startswith("/api/auth/")
        and not path.endswith("/")
        and not environ.get("SCRIPT_NAME")
        and environ.get("HTTP_ACCEPT", "*/*") in JSON_OR_ANYTHING
        and (not is_read or environ.get("CONTENT_LENGTH", "0") in ("", "0"))
        and "HTTP_TRANSFER_ENCODING" not in environ
        # Of a page in a browser, which CORS has a word to say to.
        and "HTTP_ORIGIN" not in environ
    )


def _plain_request(environ: dict[str, Any]) -> WSGIRequest | None:
    """The request with its route, when that leads to a room; None for the long way."""
    # Of a copy: it writes into it, and the long way makes its own of what the server said.
    request = WSGIRequest(environ.copy())
    forget_what_nobody_may_say(request)
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        return None
    try:
        # A name that is not ours is refused.
        request.get_host()
        match: Any = _known_routes.get(request.path_info) or resolve(request.path_info)
        is_other_format = "format" in match.kwargs or "format" in request.GET
    except (SuspiciousOperation, Resolver404):
        return None
    if is_other_format or not _is_plain(getattr(match.func, "cls", object)):
        return None
    if not match.kwargs:
        # Of a whole room, of which there are a few.
        _known_routes[request.path_info] = match
    request.resolver_match = match
    return request


def _is_plain(kind: type) -> bool:
    return issubclass(kind, RoomViewSet) and not kind.throttle_classes and kind.renderer_classes[0] is JSONRenderer


#: Paths that name no record.
_known_routes: dict[str, ResolverMatch] = {}


# --- Reading: past Django and DRF, and back to them for everything but an answer --------------------------------------


def _answer(request: HttpRequest) -> HttpResponseBase:
    routed, kwargs = _route_of(request)
    response: Response = routed.cls(**routed.initkwargs).answer_program(request, routed.actions["get"], kwargs)
    response.content = _JSON.render(response.data)
    response["Content-Type"] = JSONRenderer.media_type
    for name, value in _headers_of_view(routed).items():
        response.headers.setdefault(name, value)
    return response


def _answer_on_record(request: HttpRequest) -> HttpResponseBase:
    try:
        response = _audited_answer(request)
    except Exception as error:
        # Whatever it is, the long way says it.
        raise NotRead from error
    if response.status_code != 200:
        raise NotRead
    return response


_audited_answer = AuditMiddleware(_answer)
_read = MetricsMiddleware(_answer_on_record)


# --- Writing: past the middleware; DRF's dispatch says what is wrong --------------------------------------------------


def _dispatch(request: HttpRequest) -> HttpResponseBase:
    routed, kwargs = _route_of(request)
    return routed(request, **kwargs).render()


_safe_dispatch = cast(Callable[[HttpRequest], HttpResponseBase], convert_exception_to_response(_dispatch))
_write = MetricsMiddleware(BodySizeMiddleware(AuditMiddleware(_safe_dispatch)))


# --- Headers ---------------------------------------------------------------------------------------------------------


def _route_of(request: HttpRequest) -> tuple[Any, dict[str, Any]]:
    """The view as it is routed, and what the path says."""
    match: Any = request.resolver_match
    return match.func, match.kwargs


@cache
def _headers_of_view(routed: Any) -> dict[str, str]:
    """What DRF says with every answer at a path."""
    view = routed.cls(**routed.initkwargs)
    # As its own `as_view` ties methods to actions.
    for method, action in {"head": routed.actions["get"], **routed.actions}.items():
        setattr(view, method, getattr(view, action))
    return dict(view.default_response_headers)


@cache
def _headers_of_all(is_secure: bool) -> tuple[tuple[str, str], ...]:
    """What the middleware says on every answer, asked once."""
    get_response: Callable[[HttpRequest], HttpResponseBase] = lambda _: HttpResponse()  # noqa: E731
    for name in reversed(_SAYING_THE_SAME):
        if name in settings.MIDDLEWARE:
            get_response = import_string(name)(get_response)
    request = HttpRequest()
    request.path = request.path_info = "/api/"
    request.is_secure = lambda: is_secure  # type: ignore[method-assign]
    return tuple((name, value) for name, value in get_response(request).items() if name != "Content-Type")

"""The short way of what programs ask for most: to read or write a record as JSON, with a token.

Django's handler, its middleware and DRF's dispatch took a tenth of the processor time of such a request, to find out
that there was nothing for them to do. What has to be decided is decided here by the same code as there: whom the
token belongs to, whether the role may, what the query string says, who sees what; and nothing leaves before it is on
record. Of the account a read may assume that it is as it was a moment ago: the statement that puts the read on record
looks at it (`trail.assume`), before anything leaves.

Whatever is not plain goes the long way, where `middleware.TokenLane` spares it what is for browsers. So does a read
that comes to anything but 200, from its beginning, as if nobody had tried this one: it has changed nothing, and there
is no second way to say what is wrong. A write is dispatched by DRF here, too; it passes by the middleware only.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from http import HTTPStatus
from http.client import responses
from typing import Any, NamedTuple, cast

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

from healthcare import audit_context
from healthcare.api.renderers import JSONRenderer
from healthcare.api.views import JSON_OR_ANYTHING, ResourceViewSet
from healthcare.audit_log import recorder
from healthcare.client_address import client_address, drop_untrusted_headers
from healthcare.observability.metrics import MetricsMiddleware, count
from healthcare.web.middleware import NO_STORE, AuditMiddleware, BodySizeMiddleware

Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]

_JSON = JSONRenderer()
_WRITES = frozenset({"POST", "PATCH", "DELETE"})
#: The middleware that puts the same headers on every plain answer, whoever asks.
_SAYING_THE_SAME = (
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "healthcare.web.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)


class Answer(NamedTuple):
    """What the server sends."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lane:
    """A WSGI application in front of Django's."""

    def __init__(self, long_way: Application) -> None:
        self.long_way = long_way

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        answered = answer(environ) if may_be_plain(environ) else None
        if answered is None:
            return self.long_way(environ, start_response)
        start_response(f"{answered.status} {responses[answered.status]}", list(answered.headers.items()))
        if answered.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # Whose listeners look after connections to databases. Where there was no trouble there is nothing to do: a
            # connection that dies before the next request is found out by its first statement.
            signals.request_finished.send(sender=type(self))
        return [answered.body]


def answer(environ: dict[str, Any]) -> Answer | None:
    """What a request that may be plain is answered, on record; None for the long way."""
    request = _plain_request(environ)
    if request is None:
        return None
    try:
        return (_read if request.method == "GET" else _write)(request)
    except NotRead:
        return None


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
    request = _Request(environ.copy())
    drop_untrusted_headers(request)
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


class _Request(WSGIRequest):
    """Django's, which remembers the names that are ours."""

    def get_host(self) -> str:
        host: str = self._get_raw_host()  # type: ignore[attr-defined]
        if host not in _known_hosts or _known_hosts[host] is not settings.ALLOWED_HOSTS:
            super().get_host()
            if len(_known_hosts) < MOST_HOSTS:
                _known_hosts[host] = settings.ALLOWED_HOSTS
        return host


def _is_plain(kind: type) -> bool:
    return issubclass(kind, ResourceViewSet) and not kind.throttle_classes and kind.renderer_classes[0] is JSONRenderer


#: Names of ours, with many ports each, or any name where "*" is allowed.
MOST_HOSTS = 256
#: Name → the settings by which it is one.
_known_hosts: dict[str, Any] = {}
#: Paths that name no record.
_known_routes: dict[str, ResolverMatch] = {}


# --- Reading: past Django and DRF, and back to them for everything but an answer --------------------------------------


def _read(request: WSGIRequest) -> Answer:
    """Raises: NotRead."""
    began = time.perf_counter()
    routed, kwargs = _route_of(request)
    try:
        with audit_context.audit_context(
            channel="api", address=client_address(request), may_defer_check=True
        ) as current:
            # For log lines that are written when this is over (healthcare.observability.logs).
            request.request_id = current.request_id  # type: ignore[attr-defined]
            response = routed.cls(**routed.initkwargs).answer_program(request, routed.actions["get"], kwargs)
            if response.status_code != 200:
                raise NotRead
            body = _JSON.render(response.data)
            recorder.flush(current, actor=request.user, answered=True)
    except Exception as error:
        # Whatever it is, the long way says it.
        raise NotRead from error
    headers = {
        **_headers_of_reads(routed, request.is_secure()),
        **{name: value for name, value in response.items() if name != "Content-Type"},
        "X-Request-ID": current.request_id,
        "Content-Length": str(len(body)),
    }
    count(request, response.status_code, time.perf_counter() - began)
    return Answer(response.status_code, headers, body)


# --- Writing: past the middleware; DRF's dispatch says what is wrong --------------------------------------------------


def _dispatch(request: HttpRequest) -> HttpResponseBase:
    routed, kwargs = _route_of(request)
    return routed(request, **kwargs).render()


_safe_dispatch = cast(Callable[[HttpRequest], HttpResponseBase], convert_exception_to_response(_dispatch))
_counted_dispatch = MetricsMiddleware(BodySizeMiddleware(AuditMiddleware(_safe_dispatch)))


def _write(request: WSGIRequest) -> Answer:
    response = cast(HttpResponse, _counted_dispatch(request))
    if response.status_code >= 400:
        log_response("%s: %s", response.reason_phrase, request.path, response=response, request=request)
    _put_headers_of_all(response, request.is_secure())
    response.headers.setdefault("Content-Length", str(len(response.content)))
    return Answer(response.status_code, dict(response.items()), response.content)


# --- Headers ---------------------------------------------------------------------------------------------------------


def _route_of(request: HttpRequest) -> tuple[Any, dict[str, Any]]:
    """The view as it is routed, and what the path says."""
    match: Any = request.resolver_match
    return match.func, match.kwargs


@cache
def _headers_of_reads(routed: Any, is_secure: bool) -> dict[str, str]:
    """What every answer of a read says at a path."""
    view = routed.cls(**routed.initkwargs)
    # As its own `as_view` ties methods to actions.
    for method, action in {"head": routed.actions["get"], **routed.actions}.items():
        setattr(view, method, getattr(view, action))
    said = {"Content-Type": JSONRenderer.media_type, "Cache-Control": NO_STORE}
    response = HttpResponse(headers={**view.default_response_headers, **said})
    _put_headers_of_all(response, is_secure)
    return dict(response.items())


def _put_headers_of_all(response: HttpResponse, is_secure: bool) -> None:
    for name, value in _headers_of_all(is_secure):
        if name.lower() == "vary":
            patch_vary_headers(response, value.split(", "))
        else:
            response.headers.setdefault(name, value)


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

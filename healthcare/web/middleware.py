"""The project's own middleware."""

import logging
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any, cast
from urllib.parse import unquote

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.core import signals
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.template.loader import render_to_string
from django.utils import timezone

from healthcare import audit_context, clock
from healthcare.api.problem_details import RETRY_AFTER_SECONDS, Unavailable, problem_page
from healthcare.audit_log import recorder
from healthcare.client_address import client_address
from healthcare.errors import is_outage
from healthcare.observability.health import HEALTH_PATHS

logger = logging.getLogger("healthcare.errors")

#: `Cache-Control` of the API.
NO_STORE = "no-store"


class TrailingSlashMiddleware:
    """Make /api/patients/ and /api/patients one path: the URLs have no slash, some clients put one there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/") and request.path_info.endswith("/"):
            request.path_info = request.path_info[:-1]
            request.path = request.path[:-1]
        return self.get_response(request)


class HostMiddleware(CommonMiddleware):
    """Django's own, which refuses hosts that ALLOWED_HOSTS does not name, save for probes.

    A container asks itself by 127.0.0.1, a cluster's node by the address that the container has today. What they are
    answered names no host.
    """

    def process_request(self, request: HttpRequest) -> Any:
        return None if request.path_info in HEALTH_PATHS else super().process_request(request)


class TokenLane:
    """Lead programs past what is for browsers: sessions, messages, cookies and their forgeries, down to `TokenLaneEnd`.

    A request for data that names a credential is validated by that alone (`accounts.authentication`), so nothing behind
    here reads its session. Logging in and what belongs to it stays on the long way, as it makes sessions.
    """

    #: Where the short way goes on. Django builds the middleware from the inside, so it is known first.
    end: Callable[[HttpRequest], HttpResponseBase] | None = None

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.long_way, self.short_way = get_response, TokenLane.end

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        is_program = "HTTP_AUTHORIZATION" in request.META and path.startswith("/api/")
        if self.short_way is None or not is_program or path.startswith("/api/auth/"):
            return self.long_way(request)
        # As Django's CommonMiddleware does: a name that is not ours is refused, and a length spares the chunks.
        request.get_host()
        response = self.short_way(request)
        if not response.streaming:
            response.headers.setdefault("Content-Length", str(len(cast(HttpResponse, response).content)))
        return response


class TokenLaneEnd:
    """Where the two ways meet again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = TokenLane.end = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """django-csp's, with the policy of nearly all answers put together once: what stands in the settings."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not self._is_plain(request, response):
            return super().process_response(request, response)
        # The nonce that nobody asked for knows the request, which knows it: a ring for the collector of cycles.
        vars(request).pop("csp_nonce", None)
        policy = _policy_of_settings()
        if policy:
            response.headers.setdefault(HEADER, policy)
        return response

    @staticmethod
    def _is_plain(request: HttpRequest, response: HttpResponseBase) -> bool:
        """Whether no view has said anything about it, and no page used a nonce."""
        return (
            not settings.DEBUG
            and getattr(request, "_csp_nonce", None) is None
            and not any(name.startswith("_csp") for name in vars(response))
        )


@cache
def _policy_of_settings() -> str:
    return build_policy()


class BodySizeMiddleware:
    """Refuse a body that is larger than anything we take, before anything reads it.

    Django bounds forms and fields, and not files: whoever sends a form with a file, to the log-in page say, fills the
    disk. A body without a length is not read at all.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > settings.MAX_BODY_BYTES:
            return problem_page(request, 413, "The request body is too large.")
        return self.get_response(request)


class OutageMiddleware:
    """Tell a browser that a database is out with a page, and 503. (The API's own answers come from its views.)"""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, Unavailable) and not is_outage(error):
            return None
        logger.error("%s while answering %s", type(error).__qualname__, request.method)
        response = HttpResponse(render_to_string("503.html"), status=503)
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


class ReaderZoneMiddleware:
    """Show the admin's instants on the reader's clock, in the time zone that the browser names (zone.js); else in UTC.

    The date and time of a visit are the wall's where the doctor works, whoever reads them. The API answers in UTC.
    """

    COOKIE = "time_zone"

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        zone = unquote(request.COOKIES.get(self.COOKIE, ""))
        if not request.path_info.startswith("/admin/") or zone not in clock.zones():
            return self.get_response(request)
        with timezone.override(zone):
            return self.get_response(request)


class AuditMiddleware:
    """Keep a trail of each request, and let no answer leave before what it shows is on record."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_admin = request.path_info.startswith("/admin/")
        with audit_context.audit_context(
            channel="admin" if is_admin else "api", address=client_address(request)
        ) as current:
            # For log lines that are written when this is over (healthcare.observability.logs).
            request.request_id = current.request_id  # type: ignore[attr-defined]
            response = self.get_response(request)
            try:
                # A redirect shows nothing, and the page behind it is a request of its own.
                is_answer = response.status_code < 300
                recorder.flush(current, actor=_account(request), answered=is_answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer does not leave
                response = self._instead(request, error)
            response["X-Request-ID"] = current.request_id
        if request.path_info.startswith("/api"):
            # A browser's or proxy's copy of a record would outlive the right to see it.
            response.headers.setdefault("Cache-Control", NO_STORE)
        return response

    def _instead(self, request: HttpRequest, error: Exception) -> HttpResponse:
        if is_outage(error):
            response: HttpResponse = problem_page(
                request, 503, "The audit trail cannot be written at the moment. Please try again."
            )
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        signals.got_request_exception.send(sender=None, request=request)
        # The class and the place, not the message: a database error may quote an entry.
        what = error if isinstance(error, recorder.UnrecordedAccess) else type(error).__qualname__
        place = "".join(traceback.format_tb(error.__traceback__))
        logger.error("The audit trail of a %s failed: %s\n%s", request.method, what, place)
        return problem_page(request, 500, "The server could not answer.")


def _account(request: HttpRequest) -> object:
    """Whoever the view found the request to come from; None when it never got that far."""
    return getattr(request, "user", None)

"""The project's middleware. The settings `MIDDLEWARE` and `API_MIDDLEWARE` say which requests run which of it."""

import logging
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any
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
from healthcare.web.handlers import has_api_token

logger = logging.getLogger("healthcare.errors")

#: The API's `Cache-Control`.
NO_STORE = "no-store"


class TrailingSlashMiddleware:
    """Remove a trailing slash from paths under /api, because the URL patterns have none and some clients send one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/") and request.path_info.endswith("/"):
            request.path_info = request.path_info[:-1]
            request.path = request.path[:-1]
        return self.get_response(request)


class HostMiddleware(CommonMiddleware):
    """Django's CommonMiddleware, which refuses hosts that ALLOWED_HOSTS does not name, except on the health endpoints.

    A container's own probe uses 127.0.0.1 and a cluster's node uses the container's current address. The answers of the
    health endpoints name no host.
    """

    def process_request(self, request: HttpRequest) -> Any:
        return None if request.path_info in HEALTH_PATHS else super().process_request(request)


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """django-csp's middleware, which builds the header of an unchanged policy once instead of for each response."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not self._is_plain(request, response):
            return super().process_response(request, response)
        # The lazy nonce and the request refer to each other; without this line each response leaves a reference cycle.
        vars(request).pop("csp_nonce", None)
        policy = _policy_of_settings()
        if policy:
            response.headers.setdefault(HEADER, policy)
        return response

    @staticmethod
    def _is_plain(request: HttpRequest, response: HttpResponseBase) -> bool:
        """Return whether no view has changed the policy and no template has used a nonce."""
        return (
            not settings.DEBUG
            and getattr(request, "_csp_nonce", None) is None
            and not any(name.startswith("_csp") for name in vars(response))
        )


@cache
def _policy_of_settings() -> str:
    return build_policy()


class BodySizeMiddleware:
    """Refuse a body that is larger than MAX_BODY_BYTES before anything reads it.

    Django limits form fields but not files, so a form with a large file, sent to the login page for example, would fill
    the memory. A body without a length is refused unread.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > settings.MAX_BODY_BYTES:
            return problem_page(request, 413, "The request body is too large.")
        return self.get_response(request)


class OutageMiddleware:
    """Answer 503 with a page when a database cannot be reached. (API views have their own exception handler.)"""

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
    """Show timestamps in the admin in the browser's time zone, which a script puts into a cookie; in UTC without it.

    The date and time of an appointment are always shown in the doctor's time zone. The API answers in UTC.
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
    """Open the audit context of each request, and write its entries to the audit log before the answer is sent."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # A read with a token can check its account in the statement that inserts the audit entry, which is one round
        # trip to PostgreSQL instead of two. A write must check before it writes.
        is_token_read = request.method in ("GET", "HEAD") and has_api_token(request.META)
        try:
            response = self._answer(request, may_defer_check=is_token_read)
        except recorder.StaleAuthorization:
            # The account has changed since this process cached it. A read has changed nothing, so it is answered anew.
            response = self._answer(request, may_defer_check=False)
        if request.path_info.startswith("/api"):
            # A browser's or proxy's copy of a record would outlive the right to see it.
            response.headers.setdefault("Cache-Control", NO_STORE)
        return response

    def _answer(self, request: HttpRequest, *, may_defer_check: bool) -> HttpResponseBase:
        """Return the response after its audit entries are written. Raises: StaleAuthorization if `may_defer_check`."""
        channel = "admin" if request.path_info.startswith("/admin/") else "api"
        with audit_context.audit_context(
            channel=channel, address=client_address(request), may_defer_check=may_defer_check
        ) as current:
            # Log lines are written after the context has ended (healthcare.observability.logs).
            request.request_id = current.request_id  # type: ignore[attr-defined]
            response = self.get_response(request)
            try:
                # A redirect shows nothing, and the page behind it is a request of its own.
                is_answer = response.status_code < 300
                recorder.flush(current, actor=getattr(request, "user", None), answered=is_answer)
            except recorder.StaleAuthorization:
                raise
            except Exception as error:  # noqa: BLE001 - after any error the answer must not be sent
                response = self._instead(request, error)
            response["X-Request-ID"] = current.request_id
        return response

    def _instead(self, request: HttpRequest, error: Exception) -> HttpResponse:
        if is_outage(error):
            response: HttpResponse = problem_page(
                request, 503, "The audit log cannot be written at the moment. Please try again."
            )
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        signals.got_request_exception.send(sender=None, request=request)
        # Log the class and the traceback but not the message, because a database error may quote an entry.
        what = error if isinstance(error, recorder.UnrecordedAccess) else type(error).__qualname__
        place = "".join(traceback.format_tb(error.__traceback__))
        logger.error("Writing the audit log of a %s request failed: %s\n%s", request.method, what, place)
        return problem_page(request, 500, "The server could not answer.")

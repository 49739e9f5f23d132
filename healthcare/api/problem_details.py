"""Problem details (RFC 9457): the one place that turns errors into responses of the API.

Services and queries raise errors of healthcare.errors. The admin site shows the same errors as sentences on its forms
(`healthcare.staff_admin.model_admin`). docs/api.md lists the codes.
"""

import logging
import traceback
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core import signals
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions as drf
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings

from healthcare import audit_context
from healthcare.errors import DomainError, is_outage

MEDIA_TYPE = "application/problem+json"
#: Status codes that are recorded in the audit log as denied attempts, beside every DomainError. A malformed request is
#: not recorded, because no data was asked for.
AUDITED_STATUSES = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS}
)
RETRY_AFTER_SECONDS = 5
logger = logging.getLogger("healthcare.errors")


class PayloadTooLarge(drf.APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = "The request body is too large."


class Unavailable(drf.APIException):
    """A database cannot be reached; every change that was not acknowledged has been rolled back."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = "A database cannot be reached at the moment. Please try again."
    wait = RETRY_AFTER_SECONDS


def pointers(detail: Any, at: str = "") -> Iterator[tuple[str, drf.ErrorDetail]]:
    """Yield DRF's nested errors as (JSON pointer, error): ("/a/0/b~1c", e) for {"a": [{"b/c": [e]}]}."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            own = key == api_settings.NON_FIELD_ERRORS_KEY
            yield from pointers(value, at if own else f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            yield from pointers(value, at if isinstance(value, drf.ErrorDetail) else f"{at}/{index}")
    else:
        yield at, detail


def problem(status: int, detail: str, errors: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """Return the body of an error as RFC 9457 defines it; `errors` names the wrong values by JSON pointer."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "errors": errors or [],
    }


def _as_api_exception(error: Exception) -> drf.APIException:
    match error:
        case drf.APIException():
            return error
        case Http404():
            return drf.NotFound("There is no such resource.")
        case PermissionDenied():
            return drf.PermissionDenied()
        case RequestDataTooBig():
            return PayloadTooLarge()
        case SuspiciousOperation():
            return drf.ParseError("The request is malformed.")
    return Unavailable() if is_outage(error) else drf.APIException("The server could not answer.")


def _code_of(known: drf.APIException) -> str:
    """Return the error's code; the default code if simplejwt has put a dictionary in the place of the code."""
    codes = known.get_codes()
    return codes if isinstance(codes, str) else known.default_code


def problem_response(error: Exception, context: dict[str, Any]) -> Response:
    """Return the response for an error: DRF's EXCEPTION_HANDLER.

    Every error has the same shape, and a 5xx does not disclose its cause. A denied attempt is marked in the audit
    context.
    """
    request = context["request"]
    headers: dict[str, str] = {}
    if isinstance(error, DomainError):
        audit_context.mark_refused(error.code)
        status: int = error.status
        errors = [{"pointer": f"/{error.field}" if error.field else "", "code": error.code, "detail": error.detail}]
        body = problem(status, error.detail, errors)
        if error.wait_seconds is not None:
            headers["Retry-After"] = str(error.wait_seconds)
    else:
        known = _as_api_exception(error)
        status = known.status_code
        if status in AUDITED_STATUSES:
            audit_context.mark_refused(_code_of(known))
        if isinstance(known, drf.ValidationError):
            errors = [
                {"pointer": pointer, "code": str(item.code), "detail": str(item)}
                for pointer, item in pointers(known.detail)
            ]
            body = problem(status, "The request is not valid.", errors)
        else:
            detail = str(known.default_detail if isinstance(known.detail, dict) else known.detail)
            body = problem(status, detail, [{"pointer": "", "code": _code_of(known), "detail": detail}])
        if auth_header := getattr(known, "auth_header", None):
            headers["WWW-Authenticate"] = auth_header
        if wait_seconds := getattr(known, "wait", None):
            headers["Retry-After"] = str(int(wait_seconds))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        signals.got_request_exception.send(sender=None, request=getattr(request, "_request", request))
        # The log has the class and the traceback without the message, because a database quotes values in messages.
        place = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s while answering %s\n%s", type(error).__qualname__, request.method, place)
    response = Response(body, status=status, headers=headers)
    if not isinstance(getattr(request, "accepted_renderer", None), BrowsableAPIRenderer):
        from healthcare.api.renderers import JSONRenderer

        # Errors are JSON also for a request that asks for CSV or a picture.
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), MEDIA_TYPE
        response.content_type = MEDIA_TYPE
    return response


def problem_page(request: HttpRequest, status: int, detail: str) -> JsonResponse:
    """Return problem details for a request that does not reach a view of DRF, such as one for an unknown path."""
    return JsonResponse(problem(status, detail), status=status, content_type=MEDIA_TYPE)

"""The WSGI application: Django's handler, with a middleware list of its own for API requests that carry a token.

A token names the account by itself, so such a request needs no session, no cookie and no CSRF protection
(`accounts.authentication.SessionAuthentication` ignores the session when there is an `Authorization` header).
`API_MIDDLEWARE` leaves out the middleware for these. Views, permissions and the audit log are the same on both lists.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.utils.module_loading import import_string

StartResponse = Callable[..., Any]


def unclassified_middleware() -> list[str]:
    """Return the members of MIDDLEWARE that are neither in API_MIDDLEWARE nor in BROWSER_ONLY_MIDDLEWARE."""
    known = {*settings.API_MIDDLEWARE, *settings.BROWSER_ONLY_MIDDLEWARE}
    return [path for path in settings.MIDDLEWARE if path not in known]


def has_api_token(environ: dict[str, Any]) -> bool:
    """Return whether the request addresses the API with a token.

    Paths under /api/auth do not count, because a login with a provider keeps its state in a session.
    """
    path = environ.get("PATH_INFO", "")
    return "HTTP_AUTHORIZATION" in environ and path.startswith("/api/") and not path.startswith("/api/auth/")


class ApiHandler(WSGIHandler):
    """Django's WSGI handler, running `API_MIDDLEWARE` instead of `MIDDLEWARE`."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain as Django does; `super()` reads `settings.MIDDLEWARE` and nothing else.

        Unclassified middleware runs as well, before the rest, because a forgotten entry must not leave the API
        unprotected.
        """
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        for path in reversed([*unclassified_middleware(), *settings.API_MIDDLEWARE]):
            try:
                middleware = import_string(path)(handler)
            except MiddlewareNotUsed:
                continue
            if hasattr(middleware, "process_view"):
                self._view_middleware.insert(0, middleware.process_view)
            if hasattr(middleware, "process_template_response"):
                self._template_response_middleware.append(middleware.process_template_response)
            if hasattr(middleware, "process_exception"):
                self._exception_middleware.append(middleware.process_exception)
            handler = convert_exception_to_response(middleware)
        self._middleware_chain = handler


class Application:
    """The WSGI application: `ApiHandler` for API requests with a token, Django's handler for all others."""

    def __init__(self) -> None:
        self._api, self._browser = ApiHandler(), WSGIHandler()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        handler = self._api if has_api_token(environ) else self._browser
        return handler(environ, start_response)

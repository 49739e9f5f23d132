"""The project's own middleware."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class TrailingSlashMiddleware:
    """Make /api/patients/ and /api/patients one path: the URLs have no slash, some clients put one there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/") and request.path_info.endswith("/"):
            request.path_info = request.path_info[:-1]
            request.path = request.path[:-1]
        return self.get_response(request)

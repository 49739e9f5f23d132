"""Names of routes for metrics and logs: the pattern of the route instead of the path, which contains patients' ids."""

import re
from functools import cache

from django.http import HttpRequest

#: The name of requests without a route: unknown paths, refused hosts, redirects to HTTPS.
UNMATCHED = "unmatched"
#: The name of requests for style sheets, scripts and images.
STATIC = "static"
#: The last pattern under /api, which answers 404 to every path that no other pattern matches.
_UNKNOWN_API_PATH = "^api/"


def route_name(request: HttpRequest) -> str:
    """Return a name such as "/api/patients/{patient_id}"."""
    match = request.resolver_match
    if match is not None:
        return _template(match.route)
    return STATIC if request.path_info.startswith("/static/") else UNMATCHED


@cache
def _template(route: str) -> str:
    if route == _UNKNOWN_API_PATH:
        return UNMATCHED
    named = re.sub(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)", lambda found: f"{{{found[1] or found[2]}}}", route)
    return "/" + re.sub(r"[\^$\\]", "", named).lstrip("/")

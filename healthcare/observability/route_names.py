"""What a request is called in metrics and logs: the pattern of its route, never its path, which holds patients' ids."""

import re
from functools import cache

from django.http import HttpRequest

#: Requests that no route took: unknown paths, refused hosts, redirects to HTTPS.
UNMATCHED = "unmatched"
#: The style sheets and scripts of the pages.
STATIC = "static"
#: The last pattern under /api, which answers 404 to every path that the others leave.
_REST_OF_THE_API = "^api/"


def route_name(request: HttpRequest) -> str:
    """Such as "/api/patients/{patient_id}"."""
    match = request.resolver_match
    if match is not None:
        return _template(match.route)
    return STATIC if request.path_info.startswith("/static/") else UNMATCHED


@cache
def _template(route: str) -> str:
    if route == _REST_OF_THE_API:
        return UNMATCHED
    named = re.sub(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)", lambda found: f"{{{found[1] or found[2]}}}", route)
    return "/" + re.sub(r"[\^$\\]", "", named).lstrip("/")

"""How answers are written, and how a client says which way it wants."""

from typing import Any

import orjson
from rest_framework import renderers
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request

# Documents have naive instants, which are in UTC (healthcare.mongodb.documents).
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


class JSONRenderer(renderers.BaseRenderer):
    """JSON by orjson: dates in ISO 8601, UTF-8, no spaces unless `Accept: application/json; indent=2` asks."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        indented = "indent=" in (accepted_media_type or "") or isinstance((renderer_context or {}).get("indent"), int)
        return orjson.dumps(data, default=str, option=_OPTIONS | (orjson.OPT_INDENT_2 if indented else 0))


class BrowsableRenderer(BrowsableAPIRenderer):
    """DRF's pages for a browser. The filters are in the documentation, not in a form: views have no queryset."""

    def get_filter_form(self, data: Any, view: Any, request: Request) -> None:
        return None


class ContentNegotiation(DefaultContentNegotiation):
    """An unknown `?format=` is a bad value (400), where DRF would say that the resource does not exist."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        wanted = request.query_params.get(self.settings.URL_FORMAT_OVERRIDE)
        if wanted is None:
            return super().select_renderer(request, renderers, format_suffix)
        for renderer in renderers:
            if renderer.format == wanted:
                return renderer, renderer.media_type
        known = ", ".join(sorted(renderer.format for renderer in renderers))
        raise ValidationError({"format": [f"There is no such format here; there is {known}."]}, code="invalid")

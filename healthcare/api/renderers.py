"""Renderers of responses, and content negotiation."""

import re
from functools import lru_cache
from typing import Any

import orjson
from rest_framework import renderers
from rest_framework.exceptions import NotAcceptable, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import _MediaType

_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")

# Documents hold naive timestamps in UTC (healthcare.mongodb.document_query).
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


class JSONRenderer(renderers.BaseRenderer):
    """Renderer of JSON by orjson: UTF-8, dates in ISO 8601, indented for `Accept: application/json; indent=2`."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: object, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        indented = "indent=" in (accepted_media_type or "") or isinstance((renderer_context or {}).get("indent"), int)
        return orjson.dumps(data, default=str, option=_OPTIONS | (orjson.OPT_INDENT_2 if indented else 0))


class BrowsableRenderer(BrowsableAPIRenderer):
    """DRF's pages for a browser, without its filter form, which needs a queryset of the view."""

    def get_filter_form(self, data: object, view: object, request: Request) -> None:
        return None


class ContentNegotiation(DefaultContentNegotiation):
    """Content negotiation with the weights of RFC 9110 (`;q=0.5`, 0 for never), which DRF does not read.

    A suffix of the path and `?format=` take precedence over the Accept header. An unknown `?format=` is answered 400;
    DRF would answer 404.
    """

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        wanted = request.query_params.get(self.settings.URL_FORMAT_OVERRIDE, format_suffix)
        if wanted is None:
            return self._by_accept_header(request, renderers)
        for renderer in renderers:
            if renderer.format == wanted:
                return renderer, renderer.media_type
        known = ", ".join(sorted(renderer.format for renderer in renderers))
        raise ValidationError({"format": [f"This format is not available; use {known}."]}, code="invalid")

    def _by_accept_header(self, request: Request, renderers: Any) -> tuple[Any, str]:
        """Return the renderer with the highest weight, and the media type of its response.

        Between equal weights the more specific media range decides, and then the order of the renderers.
        Raises: NotAcceptable.
        """
        # An empty header is equal to an absent one.
        ranges = _media_types(tuple(self.get_accept_list(request)) or ("*/*",))
        acceptable = []
        for renderer in renderers:
            (own,) = _media_types((renderer.media_type,))
            matching = [each for each in ranges if own.match(each)]
            # The most specific of the matching ranges gives the weight (RFC 9110, 12.5.1).
            if matching and (weight := _weight(best := max(matching, key=lambda each: each.precedence))):
                # `application/json; indent=2` is a media type that a response can have; `*/*` is not.
                media_type = best.orig if best.precedence >= own.precedence else renderer.media_type
                acceptable.append((weight, best.precedence, renderer, media_type))
        if not acceptable:
            raise NotAcceptable(available_renderers=renderers)
        *_, renderer, media_type = max(acceptable, key=lambda each: each[:2])
        return renderer, media_type


@lru_cache(maxsize=256)
def _media_types(texts: tuple[str, ...]) -> tuple[_MediaType, ...]:
    """Return the parsed media types, which most requests have in common."""
    return tuple(_MediaType(text) for text in texts)


def _weight(media_range: _MediaType) -> float:
    """Return the weight of a media range, from 0 to 1; 1 if there is none or a malformed one."""
    weight = media_range.params.get("q", "1")
    return float(weight) if _WEIGHT.fullmatch(weight) else 1.0

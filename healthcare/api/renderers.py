"""How answers are written, and how a client says which way it wants."""

import re
from typing import Any

import orjson
from rest_framework import renderers
from rest_framework.exceptions import NotAcceptable, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import _MediaType

_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")

# Documents have naive instants, which are in UTC (healthcare.mongodb.document_query).
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
    """RFC 9110 has a client say how much it likes each type (`;q=0.5`, 0 for never), which DRF does not read.

    A path's ending and `?format=` decide whatever the header says. An unknown `?format=` is a bad value (400), where
    DRF would say that the resource does not exist.
    """

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        wanted = request.query_params.get(self.settings.URL_FORMAT_OVERRIDE, format_suffix)
        if wanted is None:
            return self._liked_best(request, renderers)
        for renderer in renderers:
            if renderer.format == wanted:
                return renderer, renderer.media_type
        known = ", ".join(sorted(renderer.format for renderer in renderers))
        raise ValidationError({"format": [f"There is no such format here; there is {known}."]}, code="invalid")

    def _liked_best(self, request: Request, renderers: Any) -> tuple[Any, str]:
        """What the client likes best; of what it likes alike, what it names most exactly, and then the first."""
        # A header without a word in it says nothing.
        accepted = [_MediaType(each) for each in self.get_accept_list(request) or ["*/*"]]
        liked = []
        for renderer in renderers:
            own = _MediaType(renderer.media_type)
            fitting = [each for each in accepted if own.match(each)]
            # The most exact of the ranges that a type lies in is the one that speaks about it.
            if fitting and (weight := _weight(said := max(fitting, key=lambda each: each.precedence))):
                # `application/json; indent=2` is an answer's type, `*/*` is none.
                answered = said.orig if said.precedence >= own.precedence else renderer.media_type
                liked.append((weight, said.precedence, renderer, answered))
        if not liked:
            raise NotAcceptable(available_renderers=renderers)
        *_, renderer, answered = max(liked, key=lambda each: each[:2])
        return renderer, answered


def _weight(said: _MediaType) -> float:
    """How much a client likes a type, from 0 to 1; one who does not say, or not properly, likes it."""
    weight = said.params.get("q", "1")
    return float(weight) if _WEIGHT.fullmatch(weight) else 1.0

"""Renderers for the formats of a report besides JSON. They take part in content negotiation; the view renders."""

from rest_framework.renderers import BaseRenderer

from healthcare.api.renderers import BrowsableRenderer, JSONRenderer


class _RenderedByView(BaseRenderer):
    charset = None

    def render(self, data: object, accepted_media_type: str | None = None, renderer_context: object = None) -> bytes:
        raise NotImplementedError("The view of the reports renders this format itself, and errors are JSON.")


class CSVRenderer(_RenderedByView):
    media_type = "text/csv"
    format = "csv"


class PNGRenderer(_RenderedByView):
    media_type = "image/png"
    format = "png"
    render_style = "binary"


class SVGRenderer(_RenderedByView):
    media_type = "image/svg+xml"
    format = "svg"


#: JSON is first, because a client that accepts everything gets the first format.
FORMATS = (JSONRenderer, BrowsableRenderer, CSVRenderer, PNGRenderer, SVGRenderer)
#: The suffixes of a report's path.
SUFFIXES = ("json", "csv", "png", "svg")

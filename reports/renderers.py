"""The formats of a report beside JSON. They are named here for the choice between them; the view writes them."""

from typing import Any

from rest_framework.renderers import BaseRenderer

from healthcare.api.renderers import BrowsableRenderer, JSONRenderer


class _WrittenByTheView(BaseRenderer):
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        raise NotImplementedError("A report's view writes this format itself, and errors are JSON.")


class CSVRenderer(_WrittenByTheView):
    media_type = "text/csv"
    format = "csv"


class PNGRenderer(_WrittenByTheView):
    media_type = "image/png"
    format = "png"
    render_style = "binary"


class SVGRenderer(_WrittenByTheView):
    media_type = "image/svg+xml"
    format = "svg"


#: JSON first: it is what a client gets that takes anything.
FORMATS = (JSONRenderer, BrowsableRenderer, CSVRenderer, PNGRenderer, SVGRenderer)
#: What a path may end in.
SUFFIXES = ("json", "csv", "png", "svg")

"""Pages by key, not by offset: page 1,000 costs what page 1 costs, and rows that come or go shift nothing."""

import base64
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlencode

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from django.apps import apps
from django.conf import settings
from django.db.models import Field, Q, QuerySet
from django.utils.crypto import salted_hmac
from django.utils.encoding import escape_uri_path
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from healthcare.mongodb.document_query import DocumentQuery

Rows = QuerySet[Any] | DocumentQuery[Any]

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
#: What a cursor begins with: the number that it was sealed with, which is used once.
_NONCE_BYTES = 12


class BadCursor(Exception):
    """A text that is no cursor of this list: made up, changed on the way, or of another list."""


class Order:
    """The fields that a list is ordered by, the last one its primary key, and the places in it that cursors name."""

    def __init__(self, rows: Rows) -> None:
        names = rows.order if isinstance(rows, DocumentQuery) else rows.query.order_by
        self.is_descending, self.names, self.fields, self._seal = _order_of(
            rows.model._meta.label, tuple(map(str, names)), settings.SECRET_KEY
        )

    def cursor(self, row: Any, *, backwards: bool = False) -> str:
        """The cursor of the page that begins behind the row, a model or a document, or ends before it."""
        if isinstance(row, Mapping):
            # Documents have instants, and midnights for days.
            values = [str(field.to_python(row[field.name])) for field in self.fields]
        else:
            values = [str(getattr(row, name)) for name in self.names]
        text = orjson.dumps([backwards, *values])
        nonce = os.urandom(_NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._seal.encrypt(nonce, text, None)).decode().rstrip("=")

    def read(self, cursor: str) -> tuple[bool, dict[str, Any]]:
        """Whether the page lies before the row, and the row's ordering values. Raises: BadCursor."""
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            text = self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError) as error:
            raise BadCursor from error
        backwards, *values = json.loads(text)
        typed = [field.to_python(value) for field, value in zip(self.fields, values, strict=True)]
        return backwards, dict(zip(self.names, typed, strict=True))

    def beyond(self, rows: Rows, edge: dict[str, Any], *, backwards: bool) -> Rows:
        """Rows behind the edge, or before it: (a, b) < (x, y) as a < x or (a = x and b < y)."""
        way = "lt" if self.is_descending != backwards else "gt"
        if isinstance(rows, DocumentQuery):
            return rows.beyond(edge, way=way)
        # Of the alternatives PostgreSQL makes a filter, of a bound before them, which says nothing new, a range.
        bound = Q(**{f"{self.names[0]}__{way}e": edge[self.names[0]]})
        alternatives = Q()
        for position, name in enumerate(self.names):
            equal = {earlier: edge[earlier] for earlier in self.names[:position]}
            alternatives |= Q(**equal, **{f"{name}__{way}": edge[name]})
        return rows.filter(bound & alternatives)


@lru_cache(maxsize=64)
def _order_of(label: str, order: tuple[str, ...], secret: str) -> tuple[bool, list[str], list[Field], ChaCha20Poly1305]:
    """Whether it goes down, its names and fields, and the seal of its cursors.

    Sealed for this list and this order: what comes back is what went out, or no cursor at all. And encrypted, since it
    holds names of people and stands in URLs, which proxies write into their logs.
    """
    names = [name.lstrip("-") for name in order]
    key = salted_hmac(f"cursor {label} {list(order)}", "key", secret=secret, algorithm="sha256").digest()
    model = apps.get_model(label)
    fields = [cast(Field, model._meta.get_field(name)) for name in names]
    return order[0].startswith("-"), names, fields, ChaCha20Poly1305(key)


class KeysetPagination(BasePagination):
    """`?cursor=` and `?page_size=` over documents or a queryset whose `order_by` ends in the primary key, all one way.

    A cursor holds the ordering values of the row at the edge of the page, so a page is one range scan of the index
    that serves the order: limit + 1 rows are read, wherever the page lies.
    """

    # A list is a query that was not run yet, never a sequence.
    def paginate_queryset(  # type: ignore[override]
        self, queryset: Rows, request: Request, view: Any = None
    ) -> list[Any]:
        self.request = request
        self.page_size = self._page_size(request)
        self.order = Order(queryset)
        backwards, edge = self._place(request)
        if edge is not None:
            queryset = self.order.beyond(queryset, edge, backwards=backwards)
        if backwards:
            queryset = queryset.reverse()
        most = self.page_size + 1
        rows = queryset.first_of(most).read() if isinstance(queryset, DocumentQuery) else list(queryset[:most])
        more = len(rows) > self.page_size
        rows = rows[: self.page_size]
        if backwards:
            rows.reverse()
        self.has_next = bool(rows) if backwards else more
        self.has_previous = more if backwards else edge is not None and bool(rows)
        self.first: Any = rows[0] if rows else None
        self.last: Any = rows[-1] if rows else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "next": self._link(self.last, backwards=False) if self.has_next else None,
                "previous": self._link(self.first, backwards=True) if self.has_previous else None,
                "results": data,
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "description": "Where the page begins: take it from `next` or `previous` of another page.",
                "schema": {"type": "string"},
            },
            {
                "name": "page_size",
                "in": "query",
                "description": f"Rows on a page; {DEFAULT_PAGE_SIZE} when absent.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE},
            },
        ]

    def _page_size(self, request: Request) -> int:
        text = request.query_params.get("page_size")
        if text is None:
            return DEFAULT_PAGE_SIZE
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_PAGE_SIZE):
            raise ValidationError({"page_size": [f"Must be a number from 1 to {MAX_PAGE_SIZE}."]}, code="invalid")
        return int(text)

    def _place(self, request: Request) -> tuple[bool, dict[str, Any] | None]:
        cursor = request.query_params.get("cursor")
        if cursor is None:
            return False, None
        try:
            return self.order.read(cursor)
        except BadCursor as error:
            sentence = "This is no cursor of this list: take it from `next` or `previous`."
            raise ValidationError({"cursor": [sentence]}, code="invalid") from error

    def _link(self, row: Any, *, backwards: bool) -> str:
        cursor = self.order.cursor(row, backwards=backwards)
        query = sorted({**dict(self.request.query_params.lists()), "cursor": [cursor]}.items())
        return f"{self.request.build_absolute_uri(escape_uri_path(self.request.path))}?{urlencode(query, doseq=True)}"

"""Keyset pagination: a cursor names the row at the edge of a page, so that page 1,000 costs as much as page 1.

Rows that are inserted or deleted meanwhile do not move other rows to another page. docs/api.md describes the query
parameters, docs/indexes.md the indexes that serve each order.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlencode

import orjson
from django.apps import apps
from django.db.models import Field, Q, QuerySet
from django.utils.encoding import escape_uri_path
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from healthcare import encrypted_tokens
from healthcare.mongodb.document_query import DocumentQuery

Rows = QuerySet[Any] | DocumentQuery[Any]

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
_CURSOR = re.compile(r"[A-Za-z0-9_-]+")


class BadCursor(Exception):
    """A text that is not a cursor of this list: invented, altered, or taken from another list."""


class Order:
    """The fields that a list is ordered by, the primary key last, and the cursors of its rows."""

    def __init__(self, rows: Rows) -> None:
        names = rows.order if isinstance(rows, DocumentQuery) else rows.query.order_by
        order = tuple(map(str, names))
        self.is_descending = order[0].startswith("-")
        self.names, self.fields = _fields_of(rows.model._meta.label, order)
        # One purpose for each list and order: a cursor of another list cannot be decrypted.
        self._purpose = f"cursor {rows.model._meta.label} {list(order)}"

    def cursor(self, row: object, *, backwards: bool = False) -> str:
        """Return the cursor of the page after the row, or, if `backwards`, of the page before it.

        `row` is a model or a document. The cursor is encrypted because it holds names of people and stands in URLs,
        which proxies write into their logs.
        """
        if isinstance(row, Mapping):
            # A document holds naive timestamps, and midnights for calendar days.
            values = [str(field.to_python(row[field.name])) for field in self.fields]
        else:
            values = [str(getattr(row, name)) for name in self.names]
        text = orjson.dumps([backwards, *values]).decode()
        return encrypted_tokens.encrypt(text, purpose=self._purpose).rstrip("=")

    def read(self, cursor: str) -> tuple[bool, dict[str, Any]]:
        """Return whether the page lies before the row, and the row's value of each field. Raises: BadCursor."""
        # Fernet skips characters that are not of its alphabet: without this check, two texts would be one cursor.
        if not _CURSOR.fullmatch(cursor):
            raise BadCursor
        try:
            text = encrypted_tokens.decrypt(cursor + "=" * (-len(cursor) % 4), purpose=self._purpose)
        except encrypted_tokens.InvalidToken as error:
            raise BadCursor from error
        backwards, *values = json.loads(text)
        typed = [field.to_python(value) for field, value in zip(self.fields, values, strict=True)]
        return backwards, dict(zip(self.names, typed, strict=True))

    def beyond(self, rows: Rows, edge: dict[str, Any], *, backwards: bool) -> Rows:
        """Return the rows after the edge, or before it: (a, b) < (x, y) as a < x or (a = x and b < y)."""
        way = "lt" if self.is_descending != backwards else "gt"
        if isinstance(rows, DocumentQuery):
            return rows.beyond(edge, way=way)
        # PostgreSQL uses the alternatives as a filter only. The bound on the first field, which they imply, makes the
        # scan of the index a range.
        bound = Q(**{f"{self.names[0]}__{way}e": edge[self.names[0]]})
        alternatives = Q()
        for position, name in enumerate(self.names):
            equal = {earlier: edge[earlier] for earlier in self.names[:position]}
            alternatives |= Q(**equal, **{f"{name}__{way}": edge[name]})
        return rows.filter(bound & alternatives)


@lru_cache(maxsize=64)
def _fields_of(label: str, order: tuple[str, ...]) -> tuple[list[str], list[Field]]:
    names = [name.lstrip("-") for name in order]
    model = apps.get_model(label)
    return names, [cast(Field, model._meta.get_field(name)) for name in names]


class KeysetPagination(BasePagination):
    """Pagination by `?cursor=` and `?page_size=` over a DocumentQuery or a QuerySet.

    The order of the rows must end in the primary key, and all of its fields must have the same direction. A cursor
    holds the values of these fields, so that a page is one range scan of the index that serves the order: `page_size`
    + 1 rows are read, wherever the page lies.
    """

    # The rows are always a query that has not run yet, where the base class takes any sequence.
    def paginate_queryset(  # type: ignore[override]
        self, queryset: Rows, request: Request, view: object = None
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

    def get_paginated_response(self, data: object) -> Response:
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

    def get_schema_operation_parameters(self, view: object) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "description": "The beginning of the page: take it from `next` or `previous` of another page.",
                "schema": {"type": "string"},
            },
            {
                "name": "page_size",
                "in": "query",
                "description": f"The number of rows on a page; {DEFAULT_PAGE_SIZE} if absent.",
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
            sentence = "This is not a cursor of this list: take it from `next` or `previous` of another page."
            raise ValidationError({"cursor": [sentence]}, code="invalid") from error

    def _link(self, row: object, *, backwards: bool) -> str:
        cursor = self.order.cursor(row, backwards=backwards)
        query = sorted({**dict(self.request.query_params.lists()), "cursor": [cursor]}.items())
        return f"{self.request.build_absolute_uri(escape_uri_path(self.request.path))}?{urlencode(query, doseq=True)}"

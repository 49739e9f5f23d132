"""Pages by key, not by offset: page 1,000 costs what page 1 costs, and rows that come or go shift nothing."""

import base64
import binascii
import json
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.db.models import Field, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
_MAX_CURSOR_LENGTH = 1024


class KeysetPagination(BasePagination):
    """`?cursor=` and `?page_size=` over a queryset whose `order_by` ends in its primary key, all one way.

    A cursor holds the ordering values of the row at the edge of the page, so a page is one range scan of the index
    that serves the order: limit + 1 rows are read, wherever the page lies.
    """

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        self.request = request
        self.page_size = self._page_size(request)
        order = list(queryset.query.order_by)
        self.names = [str(name).lstrip("-") for name in order]
        descending = order[0].startswith("-")
        fields: list[Field] = [queryset.model._meta.get_field(name) for name in self.names]  # type: ignore[misc]
        backwards, edge = self._decode(request.query_params.get("cursor"), fields)
        if edge is not None:
            queryset = queryset.filter(self._beyond(edge, less=descending != backwards))
        if backwards:
            queryset = queryset.reverse()
        rows = list(queryset[: self.page_size + 1])
        more = len(rows) > self.page_size
        rows = rows[: self.page_size]
        if backwards:
            rows.reverse()
        self.has_next = bool(rows) if backwards else more
        self.has_previous = more if backwards else edge is not None and bool(rows)
        self.first, self.last = (rows[0], rows[-1]) if rows else (None, None)
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

    @staticmethod
    def _beyond(edge: dict[str, Any], *, less: bool) -> Q:
        """Rows behind the edge: (a, b) < (x, y) as a < x or (a = x and b < y).

        The leading `a ≤ x` says nothing new; it is what bounds the index scan.
        """
        way = "lt" if less else "gt"
        names = list(edge)
        steps = Q()
        for position, name in enumerate(names):
            equal = {earlier: edge[earlier] for earlier in names[:position]}
            steps |= Q(**equal, **{f"{name}__{way}": edge[name]})
        return Q(**{f"{names[0]}__{way}e": edge[names[0]]}) & steps

    def _link(self, row: Any, *, backwards: bool) -> str:
        values = [None if (value := getattr(row, name)) is None else str(value) for name in self.names]
        cursor = base64.urlsafe_b64encode(json.dumps([backwards, *values]).encode()).decode().rstrip("=")
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)

    @staticmethod
    def _decode(cursor: str | None, fields: list[Field]) -> tuple[bool, dict[str, Any] | None]:
        if cursor is None:
            return False, None
        try:
            if not cursor.isascii() or len(cursor) > _MAX_CURSOR_LENGTH:
                raise ValueError(cursor)
            backwards, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if not isinstance(backwards, bool) or not all(isinstance(value, str) for value in values):
                raise ValueError(cursor)
            edge = {field.name: field.to_python(value) for field, value in zip(fields, values, strict=True)}
            if any("\0" in value for value in values):
                raise ValueError(cursor)
            for field, value in zip(fields, edge.values(), strict=True):
                field.run_validators(value)
        except (ValueError, TypeError, RecursionError, binascii.Error, ModelValidationError) as error:
            sentence = "This is no cursor of this list: take it from `next` or `previous`."
            raise ValidationError({"cursor": [sentence]}, code="invalid") from error
        return backwards, edge

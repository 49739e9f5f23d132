"""The parser of request bodies: JSON of bounded size and depth."""

from typing import IO, Any

import orjson
from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from healthcare.api.problem_details import PayloadTooLarge

#: Levels of nesting that a body may have. The deepest body of the API has 3.
MAX_DEPTH = 20


class StrictJSONParser(BaseParser):
    """Parser of JSON as RFC 8259 defines it: UTF-8, without NaN and lone surrogates, at most MAX_DEPTH levels deep."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: object = None) -> Any:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise PayloadTooLarge
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: line {error.lineno}, column {error.colno}.") from error
        if depth_exceeds(data, MAX_DEPTH):
            raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        return data


def depth_exceeds(data: object, limit: int) -> bool:
    """Return whether lists and objects nest deeper than `limit` levels; computed without recursion."""
    level = [data]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)

"""The one way a request body becomes Python: JSON, bounded in size and depth."""

from typing import IO, Any

import orjson
from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from healthcare.api.problem_details import PayloadTooLarge

MAX_DEPTH = 20


class StrictJSONParser(BaseParser):
    """RFC 8259 to the letter: UTF-8, no NaN, no lone surrogates; nothing deeper than any payload of ours."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
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


def depth_exceeds(data: Any, limit: int) -> bool:
    """Whether containers nest deeper than `limit`, without recursion."""
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

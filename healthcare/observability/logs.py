"""What log lines say: one JSON object each in production, a readable line in development, and nobody's data in either.

An error's text may quote a document, a row or a query, and a path holds patients' ids. So a line has the class of an
error and the place, the route and not the path, and the id of the request, which the answer carries as X-Request-ID and
the audit trail as `request_id`: who may know more looks there. With `tells_all`, for DEBUG, errors come whole.

The standard library's logging with a formatter of our own and not django-structlog, which writes two lines for each
request with its path and its address, and binds what it is given into every line: all of that would have to be undone.
"""

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from healthcare import audit_context
from healthcare.observability.route_names import route_name

#: How gunicorn begins lines that quote a request.
_QUOTES_A_REQUEST = ("Error handling request", "Invalid request")


class _Formatter(logging.Formatter):
    def __init__(self, *, tells_all: bool = False) -> None:
        super().__init__()
        self.tells_all = tells_all

    def message_of(self, record: logging.LogRecord) -> str:
        if self.tells_all:
            return record.getMessage()
        request = getattr(record, "request", None)
        if request is not None and record.name.startswith("django."):
            # Django's own lines about a request end in its path.
            status = getattr(record, "status_code", "")
            return f"{status} {getattr(request, 'method', '')} {route_name(request)}".strip()
        if record.name.startswith("django.security"):
            return record.name.rpartition(".")[2]
        message = record.getMessage()
        if record.name == "gunicorn.error":
            return next((words for words in _QUOTES_A_REQUEST if message.startswith(words)), message)
        return message

    def trace_of(self, record: logging.LogRecord) -> str:
        """The error's classes from the cause on, each with the places that it came through."""
        error = record.exc_info[1] if record.exc_info else None
        parts: list[str] = []
        while error is not None:
            if self.tells_all:
                parts.append("".join(traceback.format_exception(error, chain=False)))
            else:
                places = "".join(traceback.format_tb(error.__traceback__))
                parts.append(f"{type(error).__module__}.{type(error).__qualname__}\n{places}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(reversed(parts))


class JsonFormatter(_Formatter):
    """One line, one object: time, level, logger, message, request_id, trace, and what a record adds in `facts`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
            "process": record.process,
        }
        if request_id := request_id_of(record):
            line["request_id"] = request_id
        if trace := self.trace_of(record):
            line["trace"] = trace
        return orjson.dumps({**line, **getattr(record, "facts", {})}, default=str).decode()


class TextFormatter(_Formatter):
    """The same for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, tz=UTC).strftime("%H:%M:%S")
        request_id = request_id_of(record)
        about = f" [{request_id}]" if request_id else ""
        facts = "".join(f" {name}={value}" for name, value in getattr(record, "facts", {}).items())
        trace = self.trace_of(record)
        line = f"{moment} {record.levelname} {record.name}{about}: {self.message_of(record)}{facts}"
        return f"{line}\n{trace}" if trace else line


def request_id_of(record: logging.LogRecord) -> str | None:
    """Of the request or command that is under way, or of the one that the line is about."""
    return audit_context.request_id() or getattr(getattr(record, "request", None), "request_id", None)

"""Log formatters: JSON lines for production, readable lines for development, both without patient data.

The text of an error may quote a document, a row or a query, and a path contains patients' ids. Therefore a line has the
class and the traceback of an error instead of its text, and the route instead of the path. It also has the request's
id, by which an authorised person finds more: the response carries the id as X-Request-ID, the audit log as
`request_id`. With `is_verbose`, which is for DEBUG, errors are printed completely.

django-structlog is not used: it writes two lines for each request with path and address, and adds bound values to every
line, all of which would have to be removed again.
"""

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from healthcare import audit_context
from healthcare.observability.route_names import route_name

#: The beginnings of gunicorn's messages that quote a request.
_MESSAGES_WITH_REQUEST = ("Error handling request", "Invalid request")


class _Formatter(logging.Formatter):
    def __init__(self, *, is_verbose: bool = False) -> None:
        super().__init__()
        self.is_verbose = is_verbose

    def message_of(self, record: logging.LogRecord) -> str:
        if self.is_verbose:
            return record.getMessage()
        request = getattr(record, "request", None)
        if request is not None and record.name.startswith("django."):
            # Django's own lines about a request end in the request's path.
            status = getattr(record, "status_code", "")
            return f"{status} {getattr(request, 'method', '')} {route_name(request)}".strip()
        if record.name.startswith("django.security"):
            return record.name.rpartition(".")[2]
        message = record.getMessage()
        if record.name == "gunicorn.error":
            return next((words for words in _MESSAGES_WITH_REQUEST if message.startswith(words)), message)
        return message

    def trace_of(self, record: logging.LogRecord) -> str:
        """Return the classes of the error and its causes, the first cause first, each with its traceback."""
        error = record.exc_info[1] if record.exc_info else None
        parts: list[str] = []
        while error is not None:
            if self.is_verbose:
                parts.append("".join(traceback.format_exception(error, chain=False)))
            else:
                places = "".join(traceback.format_tb(error.__traceback__))
                parts.append(f"{type(error).__module__}.{type(error).__qualname__}\n{places}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(reversed(parts))


class JsonFormatter(_Formatter):
    """Formats a record as a JSON object on one line; a record's `facts` become additional fields."""

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
    """Formats a record as a line for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, tz=UTC).strftime("%H:%M:%S")
        request_id = request_id_of(record)
        about = f" [{request_id}]" if request_id else ""
        facts = "".join(f" {name}={value}" for name, value in getattr(record, "facts", {}).items())
        trace = self.trace_of(record)
        line = f"{moment} {record.levelname} {record.name}{about}: {self.message_of(record)}{facts}"
        return f"{line}\n{trace}" if trace else line


def request_id_of(record: logging.LogRecord) -> str | None:
    """Return the id of the current request or command, or else of the request that the record names."""
    return audit_context.request_id() or getattr(getattr(record, "request", None), "request_id", None)

"""A request leaves no reference cycles: its objects are freed with the response, without the garbage collector."""

import gc
import io
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from accounts import tokens
from healthcare.web.handlers import ApiHandler
from tests.people import People
from tests.records import make_appointment, make_prescription

pytestmark = pytest.mark.django_db


@contextmanager
def left_behind() -> Iterator[Counter[str]]:
    """Yield a counter that, after the block, has the classes of the objects that only the collector could free."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    found: Counter[str] = Counter()
    try:
        yield found
        gc.collect()
        found.update(type(each).__name__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.fixture
def handler(kept_connections: None) -> ApiHandler:
    """Return the handler of API requests with a token, as a server calls it."""
    return ApiHandler()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/patients", 200),
        ("/api/patients/P1", 200),
        ("/api/doctors", 200),
        ("/api/appointments", 200),
        ("/api/prescriptions", 200),
        ("/api/billing", 200),
        ("/api/reports/top-doctors", 200),
        ("/api/patients/P0", 404),
        ("/api/appointments?from=never", 400),
    ],
)
def test_a_request_leaves_nothing(people: People, handler: Any, path: str, status: int) -> None:
    make_prescription(people, appointment_id=make_appointment(people).pk)
    token = tokens.start_family(people.admin)["access_token"]
    # The first request creates objects that the process keeps, such as compiled serializers.
    ask(handler, path, token)
    with left_behind() as left:
        assert ask(handler, path, token) == status
    if status == 200:
        assert not left
    else:
        # An error and its traceback refer to each other, so an error response may leave a cycle of them.
        assert not {"Response", "ObjectId"} & set(left)


def ask(handler: Any, path: str, token: str) -> int:
    statuses: list[int] = []
    path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "HTTP_AUTHORIZATION": f"Bearer {token}",
        "SERVER_NAME": "testserver", "SERVER_PORT": "80", "HTTP_HOST": "testserver", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http",
    }  # fmt: skip
    answer = handler(environ, lambda line, _headers, _error=None: statuses.append(int(line.split()[0])))
    b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return statuses[0]

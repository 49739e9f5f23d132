"""A client of the API with a persistent connection. A client must be used by one thread only."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 60
#: gunicorn closes a connection that is idle for two seconds. A request that is sent at that time would get no answer.
MAX_IDLE_SECONDS = 1.0

T = TypeVar("T")


class NoAnswer(Exception):
    """The connection ended before the response, so that the outcome of the request is unknown."""


class Answer(NamedTuple):
    """A response with its parsed body and its time."""

    status: int
    body: Any
    headers: dict[str, str]
    seconds: float

    @property
    def code(self) -> str:
        """Return the code of the problem's first error."""
        return self.body["errors"][0]["code"]


class Client:
    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self.token = token
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        return self.call("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Answer:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Send a request and return the response. Raises: NoAnswer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        payload = None
        if body is not None:
            payload, headers["Content-Type"] = json.dumps(body), "application/json"
        began = time.monotonic()
        if began - self._used_at > MAX_IDLE_SECONDS:
            self.close()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(HOST, self.port, timeout=TIMEOUT_SECONDS)
            self._connection.request(method, f"/api{path}", payload, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer from error
        self._used_at = time.monotonic()
        return Answer(
            response.status, json.loads(text) if text else None, dict(response.getheaders()), self._used_at - began
        )

    @property
    def local_port(self) -> int:
        """Return the client's port, which identifies the server process of the connection."""
        assert self._connection is not None
        return self._connection.sock.getsockname()[1]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make all calls at the same time, each in its own thread, and return the results in order."""
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(calls))

    def run(place: int, call: Callable[[], T]) -> None:
        try:
            barrier.wait()
            results[place] = call()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def statuses(answers: Sequence[Answer]) -> dict[int, int]:
    """Count the responses by status."""
    return dict(Counter(answer.status for answer in answers))

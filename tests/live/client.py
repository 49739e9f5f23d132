"""A client of the API as an app is one: a connection that it keeps, JSON in and out. One for each thread."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 60
#: gunicorn closes a connection that is idle for two seconds; a request on its way then would seem to be lost.
LONGEST_IDLE_SECONDS = 1.0

T = TypeVar("T")


class NoAnswer(Exception):
    """The connection ended before the answer: whether the request was carried out is not known."""


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]
    seconds: float

    @property
    def code(self) -> str:
        """The code of a problem's first error."""
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
        """Raises: NoAnswer."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        payload = None
        if body is not None:
            payload, headers["Content-Type"] = json.dumps(body), "application/json"
        began = time.monotonic()
        if began - self._used_at > LONGEST_IDLE_SECONDS:
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
        """The client's end of the connection, by which its server process can be told."""
        assert self._connection is not None
        return self._connection.sock.getsockname()[1]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make all calls at the same moment, each in a thread of its own; their results in order."""
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
    """How often each status was answered."""
    return dict(Counter(answer.status for answer in answers))

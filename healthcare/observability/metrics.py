"""What Prometheus scrapes at /metrics: requests by route, events and the audit trail behind, clinical transactions.

Labels are names of this code (a route's pattern, a method, a status, a database) and never what somebody sent: paths
hold ids of patients, and whoever makes paths up would make a time series of each.

Under gunicorn each process counts in a file of its own in PROMETHEUS_MULTIPROC_DIR (healthcare.web.gunicorn_conf), and
whichever is asked adds them up. Gauges are read from the databases when they are asked for.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from healthcare.observability.route_names import route_name
from healthcare.outbox import events

logger = logging.getLogger("healthcare.requests")

METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})

_registry = CollectorRegistry(auto_describe=False)
_requests = Counter(
    "http_requests", "Requests by route, method and status.", ["route", "method", "status"], registry=_registry
)
_durations = Histogram(
    "http_request_duration_seconds",
    "How long requests took, from the first middleware to the answer.",
    ["route", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=_registry,
)
#: Field of `healthcare.mongodb.transactions.statistics` → what it counts.
_transactions = {
    name: Counter(f"healthcare_clinical_transaction_{name}", sentence, registry=_registry)
    for name, sentence in {
        "attempts": "Clinical transactions begun.",
        "retries": "Clinical transactions begun again after a conflict.",
        "aborts": "Clinical transactions rolled back: by a conflict, or because the service refused.",
        "commits_resent": "Commits sent again because their outcome was not known.",
        "failures": "Clinical writes given up.",
    }.items()
}

Reading = tuple[str, str, float]
_gauges: list[Callable[[], Iterable[Reading]]] = []


def register_gauges(read: Callable[[], Iterable[Reading]]) -> None:
    """Have `read()` called with each scrape: name, sentence and value of each gauge. It may raise DatabaseError."""
    if read not in _gauges:
        _gauges.append(read)


def count_transactions(name: str, number: int) -> None:
    """Add to the counter of that name."""
    _transactions[name].inc(number)


class MetricsMiddleware:
    """Count each request and time it. The outermost, so that nothing is left out; it costs some microseconds."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        count(request, response.status_code, time.perf_counter() - began)
        return response


def count(request: HttpRequest, status: int, seconds: float) -> None:
    """Count a request that was answered, and write its line where the settings ask for one."""
    route = route_name(request)
    method = request.method if request.method in METHODS else "other"
    counter, duration = _children(route, method, status)
    counter.inc()
    duration.observe(seconds)
    if settings.LOG_REQUESTS:
        facts = {"method": method, "route": route, "status": status, "milliseconds": round(seconds * 1000, 1)}
        logger.info("answered", extra={"facts": facts, "request": request})


@cache
def _children(route: str, method: str, status: int) -> tuple[Any, Any]:
    return _requests.labels(route, method, str(status)), _durations.labels(route, method)


def exposition() -> bytes:
    """All metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)
        counted = generate_latest(registry)
    else:
        counted = generate_latest(_registry)
    current = CollectorRegistry(auto_describe=False)
    current.register(_Gauges())
    return counted + generate_latest(current)


class _Gauges(Collector):
    def collect(self) -> Iterator[Metric]:
        failed = 0
        for read in _gauges:
            try:
                yield from (GaugeMetricFamily(name, sentence, value=value) for name, sentence, value in read())
            except DatabaseError:
                # What cannot be read is missing rather than wrong.
                failed += 1
        sentence = "Groups of gauges that could not be read now, because a database is out."
        yield GaugeMetricFamily("healthcare_gauges_unavailable", sentence, value=failed)


def _event_gauges() -> Iterator[Reading]:
    lag = events.lag()
    yield "healthcare_event_lag_seconds", "The age of the oldest event that waits for a consumer.", lag.seconds
    yield "healthcare_events_waiting", f"Events that wait for a consumer, up to {events.COUNT_LIMIT}.", lag.waiting
    yield "healthcare_events_set_aside", f"Events set aside for a person, up to {events.COUNT_LIMIT}.", lag.dead_letters


register_gauges(_event_gauges)

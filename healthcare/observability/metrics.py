"""Metrics for Prometheus at /metrics: requests by route, the lag of events and audit log, clinical transactions.

Labels are route patterns, methods, statuses and database names. They never contain text from a request, because paths
contain patients' ids, and a client that invents paths would create a time series for each of them.

Under gunicorn each process counts in its own file in PROMETHEUS_MULTIPROC_DIR (healthcare.web.gunicorn_conf), and the
process that answers the scrape adds them up. Gauges are read from the databases at each scrape.
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
#: Counters by the field of `healthcare.mongodb.transactions.statistics` that they publish.
_transactions = {
    name: Counter(f"healthcare_clinical_transaction_{name}", sentence, registry=_registry)
    for name, sentence in {
        "attempts": "Clinical transactions begun.",
        "retries": "Clinical transactions begun again after a conflict.",
        "aborts": "Clinical transactions rolled back, after a conflict or an error of the service.",
        "commits_resent": "Commits sent again because their outcome was unknown.",
        "failures": "Clinical writes given up.",
    }.items()
}

Reading = tuple[str, str, float]
_gauges: list[Callable[[], Iterable[Reading]]] = []


def register_gauges(read: Callable[[], Iterable[Reading]]) -> None:
    """Call `read()` at each scrape; it yields name, help text and value of each gauge, and may raise DatabaseError."""
    if read not in _gauges:
        _gauges.append(read)


def count_transactions(name: str, number: int) -> None:
    """Add to the counter of that name."""
    _transactions[name].inc(number)


class MetricsMiddleware:
    """Middleware that counts and times each request. It must be the outermost, so that it sees every request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        count(request, response.status_code, time.perf_counter() - began)
        return response


def count(request: HttpRequest, status: int, seconds: float) -> None:
    """Count an answered request, and log it if LOG_REQUESTS is set."""
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
    """Return all metrics in Prometheus's text format."""
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
                # A gauge that cannot be read is left out, because any value would be wrong.
                failed += 1
        sentence = "Groups of gauges that could not be read because a database is unavailable."
        yield GaugeMetricFamily("healthcare_gauges_unavailable", sentence, value=failed)


def _event_gauges() -> Iterator[Reading]:
    lag = events.lag()
    yield "healthcare_event_lag_seconds", "Age of the oldest event that waits for a consumer.", lag.seconds
    yield "healthcare_events_waiting", f"Events that wait for a consumer, up to {events.COUNT_LIMIT}.", lag.waiting
    yield (
        "healthcare_events_set_aside",
        f"Dead letters: events set aside until a person retries them, up to {events.COUNT_LIMIT}.",
        lag.dead_letters,
    )


register_gauges(_event_gauges)

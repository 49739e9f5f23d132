"""Rate limits of attempts such as logins, by django-ratelimit's fixed windows over a cache that all processes share.

A counter is incremented before the work that it limits, because simultaneous attempts would otherwise all read the
counter before any of them had incremented it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_ratelimit.core import ALL, _get_window, _make_cache_key, _split_rate, get_usage
from redis.exceptions import RedisError

from healthcare.api.problem_details import Unavailable
from healthcare.client_address import client_address
from healthcare.errors import DomainError

#: An IPv6 subscriber has a whole network of addresses (RFC 6177).
IPV6_NETWORK_BITS = 64
_WAIT = "healthcare.wait_seconds"


class TooManyAttempts(DomainError):
    """A rate limit is exhausted; `wait_seconds` is the time until its window ends."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "throttled"

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"Too many attempts: try again in {wait_seconds} seconds.")
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Limit:
    """A rate limit: `group` names what is counted ("login by account"), `setting` the rate (LOGIN_RATE = "5/m")."""

    group: str
    setting: str

    @property
    def rate(self) -> str:
        return getattr(settings, self.setting)


@dataclass
class Attempts:
    """The counters that one request has incremented."""

    #: Each limit with the cache key of its counter.
    counted: list[tuple[Limit, str]] = field(default_factory=list)

    def count(self, limit: Limit, value: str) -> int:
        """Count one attempt, and return the seconds to wait: 0 when the limit is not exhausted."""
        # Read the key first: if the window ends in between, `give_back` must not decrement the next window's counter.
        key = _counter_key(limit, value)
        usage = get_usage(None, group=limit.group, key=lambda *_: value, rate=limit.rate, method=ALL, increment=True)
        if usage is None:
            return 0
        self.counted.append((limit, key))
        return max(1, math.ceil(usage["time_left"])) if usage["should_limit"] else 0

    def give_back(self, limit: Limit) -> None:
        """Undo this request's count for a limit that counts failures only."""
        for counted, key in self.counted:
            if counted is limit:
                with counting():
                    try:
                        caches[settings.RATELIMIT_USE_CACHE].incr(key, -1)
                    except ValueError:
                        # The window has ended, and the counter has expired with it.
                        continue


def count_attempt(*limits: tuple[Limit, str]) -> Attempts:
    """Count an attempt for each limit in order, up to the first that is exhausted.

    The limits after that one are not counted, so that exactly as many simultaneous attempts pass as the narrowest limit
    allows. Otherwise an attempt that the first limit refuses could exhaust the second limit for another attempt.

    Raises: TooManyAttempts; Unavailable if the cache cannot be reached.
    """
    attempts = Attempts()
    with counting():
        for limit, value in limits:
            if wait_seconds := attempts.count(limit, value):
                raise TooManyAttempts(wait_seconds)
    return attempts


@contextmanager
def counting() -> Iterator[None]:
    """Translate Redis's errors; errors of PostgreSQL count as outages already. Raises: Unavailable."""
    try:
        yield
    except RedisError as error:
        raise Unavailable from error


def address_of(request: HttpRequest) -> str:
    """Return the value that a limit by address counts: the IPv4 address or IPv6 network; "-" over a unix socket."""
    text = client_address(request)
    if text is None:
        return "-"
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return text


def _counter_key(limit: Limit, value: str) -> str:
    """Return django-ratelimit's cache key of the current window: its API can increment a counter, not decrement it."""
    _, period_seconds = _split_rate(limit.rate)
    return _make_cache_key(limit.group, _get_window(value, period_seconds), limit.rate, value, ALL)


def require_wait(request: HttpRequest, error: TooManyAttempts) -> None:
    """Mark the request, so that `with_wait` answers with the page of the form and status 429."""
    request.META[_WAIT] = error.wait_seconds


def with_wait(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the page of a form, with 429 and Retry-After if the form has called `require_wait`."""
    wait_seconds = request.META.get(_WAIT)
    if wait_seconds is not None:
        response.status_code = HTTPStatus.TOO_MANY_REQUESTS
        response["Retry-After"] = str(wait_seconds)
    return response

"""How often something may be tried: fixed windows by django-ratelimit, over counters that all processes share.

A counter is raised before the work that it bounds, so that as many attempts at once as there are threads do not all
find it low.
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
    """`wait_seconds` says when the next attempt is worth making."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "throttled"

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"Too many attempts: try again in {wait_seconds} seconds.")
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Limit:
    """`group` names what is counted, such as "login by account"; `setting` the rate, such as LOGIN_RATE = "5/m"."""

    group: str
    setting: str

    @property
    def rate(self) -> str:
        return getattr(settings, self.setting)


@dataclass
class Attempts:
    """What one request has counted."""

    #: Each limit with the key of the counter that this request has raised.
    counted: list[tuple[Limit, str]] = field(default_factory=list)

    def count(self, limit: Limit, value: str) -> int:
        """Count one attempt. Returns the seconds to wait, 0 when there is nothing to wait for."""
        # Before the counting: a window that ends between the two leaves a key to which nothing can be given back.
        key = _counter_key(limit, value)
        usage = get_usage(None, group=limit.group, key=lambda *_: value, rate=limit.rate, method=ALL, increment=True)
        if usage is None:
            return 0
        self.counted.append((limit, key))
        return max(1, math.ceil(usage["time_left"])) if usage["should_limit"] else 0

    def give_back(self, limit: Limit) -> None:
        """Take back what this request has counted for a limit that is about failures only."""
        for counted, key in self.counted:
            if counted is limit:
                with counting():
                    try:
                        caches[settings.RATELIMIT_USE_CACHE].incr(key, -1)
                    except ValueError:
                        # The window has ended, and its counter with it.
                        continue


def count_attempt(*limits: tuple[Limit, str]) -> Attempts:
    """Count an attempt by each of the limits, in order, up to the first that is exhausted.

    So of many attempts at once exactly as many get through as the narrower limit says: were all counted, one might
    fail by the second limit what another has failed by the first.

    Raises: TooManyAttempts; Unavailable when nobody can count.
    """
    attempts = Attempts()
    with counting():
        for limit, value in limits:
            if wait_seconds := attempts.count(limit, value):
                raise TooManyAttempts(wait_seconds)
    return attempts


@contextmanager
def counting() -> Iterator[None]:
    """Turn Redis's own errors into ours; PostgreSQL's are known already. Raises: Unavailable."""
    try:
        yield
    except RedisError as error:
        raise Unavailable from error


def address_of(request: HttpRequest) -> str:
    """Whom a limit by address counts for: the client's address, of IPv6 its network; "-" over a socket without one."""
    text = client_address(request)
    if text is None:
        return "-"
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return text


def _counter_key(limit: Limit, value: str) -> str:
    """The key under which django-ratelimit counts now; it raises counters, and has no way to lower one."""
    _, period_seconds = _split_rate(limit.rate)
    return _make_cache_key(limit.group, _get_window(value, period_seconds), limit.rate, value, ALL)


def require_wait(request: HttpRequest, error: TooManyAttempts) -> None:
    """Leave with the request that its answer, the page of a form, has to say that there were too many attempts."""
    request.META[_WAIT] = error.wait_seconds


def with_wait(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The page of a form; 429 and Retry-After when the form has asked for it."""
    wait_seconds = request.META.get(_WAIT)
    if wait_seconds is not None:
        response.status_code = HTTPStatus.TOO_MANY_REQUESTS
        response["Retry-After"] = str(wait_seconds)
    return response

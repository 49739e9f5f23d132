"""Functions that find the client's address, also behind proxies.

Anybody can send X-Forwarded-For. The header counts only as far as proxies that TRUSTED_PROXIES names have written it.
Each proxy appends the address that it saw, so the header is read from the right. X-Forwarded-Proto, too, counts only
from these proxies.
"""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address, as the outermost trusted proxy saw it; None on a unix socket without a proxy."""
    nearest = _parsed(request.META.get("REMOTE_ADDR", ""))
    if nearest is None and not _is_from_proxy_socket(request):
        return None
    for text in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        if nearest is not None and not _is_trusted(nearest):
            break
        further = _parsed(text.strip())
        if further is None:
            break
        nearest = further
    return None if nearest is None else str(nearest)


class ForwardedHeadersMiddleware:
    """Remove the headers that only a trusted proxy may send, before anything reads them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        drop_untrusted_headers(request)
        return self.get_response(request)


def drop_untrusted_headers(request: HttpRequest) -> None:
    """Remove X-Forwarded-Proto unless a trusted proxy has sent it."""
    if "HTTP_X_FORWARDED_PROTO" in request.META and not _is_from_proxy(request):
        del request.META["HTTP_X_FORWARDED_PROTO"]


def _is_from_proxy(request: HttpRequest) -> bool:
    address = _parsed(request.META.get("REMOTE_ADDR", ""))
    return _is_from_proxy_socket(request) if address is None else _is_trusted(address)


def _is_from_proxy_socket(request: HttpRequest) -> bool:
    """Return whether the request came over a trusted unix socket, which is one whose peer has no address."""
    return settings.TRUSTED_PROXY_SOCKET and not request.META.get("REMOTE_ADDR")


@lru_cache(maxsize=1_024)
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A server that listens on IPv6 and IPv4 sees 192.0.2.1 as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)

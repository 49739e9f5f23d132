"""Where a request comes from, when proxies stand between.

Everybody can send X-Forwarded-For. It counts only as far as proxies that the settings name have written it: each
appends the address that it saw, so it is read from the right.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(request: HttpRequest) -> str | None:
    """The address of whoever asked, as the outermost trusted proxy saw it; None over a socket without one."""
    nearest = _parsed(request.META.get("REMOTE_ADDR", ""))
    if nearest is None:
        return None
    for text in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        if not _is_trusted(nearest):
            break
        further = _parsed(text.strip())
        if further is None:
            break
        nearest = further
    return str(nearest)


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A server that listens on both families sees ::ffff:192.0.2.1 for 192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)

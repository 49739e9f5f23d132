"""The clock: the current time at the precision of both databases, time zones, and timestamps for people."""

from datetime import datetime
from functools import cache
from zoneinfo import available_timezones

from django.utils import timezone


def now() -> datetime:
    """Return the current time in whole milliseconds, because BSON dates hold no more and an answer must equal them."""
    moment = timezone.now()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@cache
def zones() -> frozenset[str]:
    """Return the names of the IANA time zones, without "localtime", which some systems list: the server's own zone."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def display(moment: datetime | None) -> str:
    """Return a timestamp in the active time zone, such as "2026-11-25 11:10 CET"; an empty text for None."""
    return "" if moment is None else f"{timezone.localtime(moment):%Y-%m-%d %H:%M %Z}"

"""The present, as both databases can keep it, and instants as people read them."""

from datetime import datetime
from functools import cache
from zoneinfo import available_timezones

from django.utils import timezone


def now() -> datetime:
    """The current instant in whole milliseconds, which is what BSON dates hold: an answer equals what is stored."""
    moment = timezone.now()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@cache
def zones() -> frozenset[str]:
    """The names of the IANA database. Some systems have "localtime" among them, which is wherever the server stands."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def display(moment: datetime | None) -> str:
    """An instant on the reader's clock, with the zone: "2026-11-25 11:10 CET"; nothing for none."""
    return "" if moment is None else f"{timezone.localtime(moment):%Y-%m-%d %H:%M %Z}"

"""The present, as both databases can keep it."""

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    """The current instant in whole milliseconds, which is what BSON dates hold: an answer equals what is stored."""
    moment = timezone.now()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

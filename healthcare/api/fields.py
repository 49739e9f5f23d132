"""Serializer fields that accept only the JSON type that they declare. docs/fields.md lists the rules for values."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

EARLIEST, LATEST = date(1880, 1, 1), date(2199, 12, 31)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


def is_clean(text: str, *, lines: bool = False) -> bool:
    """Return whether a text is free of control characters. `lines` permits line breaks and tabs.

    PostgreSQL rejects NUL, and other control characters would forge lines of a log.
    """
    if text.isprintable():
        # Nearly every text is printable, and this check is 30 times as fast as a loop over the characters.
        return True
    allowed = "\n\r\t" if lines else ""
    return all(character in allowed or unicodedata.category(character) not in ("Cc", "Cs") for character in text)


class Text(serializers.CharField):
    """A string without control characters; white space around it is removed."""

    default_error_messages = {"invalid": "Must be a string.", "control": "Must not hold control characters."}

    def __init__(self, *, lines: bool = False, max_length: int = 200, **kwargs: Any) -> None:
        self.lines = lines
        super().__init__(max_length=max_length, **kwargs)

    def run_validation(self, data: object = serializers.empty) -> Any:
        if data is not serializers.empty and data is not None:
            if not isinstance(data, str):
                self.fail("invalid")
            if not is_clean(data, lines=self.lines):
                self.fail("control")
        return super().run_validation(data)


class Identifier(Text):
    """A business key: 1 to 64 characters of A-Za-z0-9._- of which the first is a letter or digit."""

    default_error_messages = {
        "id": "Must be 1 to 64 letters, digits, dots, underscores or hyphens, beginning with a letter or digit.",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not _ID.fullmatch(data):
            self.fail("id")
        return data


class Choice(serializers.ChoiceField):
    """One of a list of words, in exactly their spelling."""

    # The message does not repeat the value, which may be long or meant for another field.
    default_error_messages = {"invalid_choice": "Must be one of: {words}."}

    def to_internal_value(self, data: object) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", words=", ".join(map(str, self.choices)))
        return data


class Integer(serializers.IntegerField):
    """A JSON number without a fraction; in a query string, decimal digits."""

    def to_internal_value(self, data: object) -> int:
        if (
            getattr(self.root, "is_query_string", False)
            and isinstance(data, str)
            and re.fullmatch(r"-?[0-9]{1,18}", data)
        ):
            return int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class Minutes(Integer):
    """A duration in minutes: a multiple of 5, from 5 to 720."""

    default_error_messages = {"step": "Must be a multiple of 5 minutes."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=5, max_value=720, **kwargs)

    def to_internal_value(self, data: object) -> int:
        minutes = super().to_internal_value(data)
        if minutes % 5:
            self.fail("step")
        return minutes


class Boolean(serializers.BooleanField):
    """The JSON value true or false."""

    default_error_messages = {"invalid": "Must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if getattr(self.root, "is_query_string", False):
            data = {"true": True, "false": False}.get(data, data)
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class Date(serializers.DateField):
    """An ISO 8601 calendar date, YYYY-MM-DD, between 1880 and 2199."""

    default_error_messages = {
        "invalid": "Must be a date as YYYY-MM-DD that exists.",
        "range": f"Must lie between {EARLIEST} and {LATEST}.",
    }

    def to_internal_value(self, value: object) -> date:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            self.fail("invalid")
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail("invalid")
        if not EARLIEST <= day <= LATEST:
            self.fail("range")
        return day


class WallTime(serializers.Field):
    """A time of day as HH:MM. The text is stored, because it sorts in the order of the day."""

    default_error_messages = {
        "invalid": "Must be a time as HH:MM, from 00:00 to 23:59.",
        "step": "Must be a multiple of 5 minutes.",
    }

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str) or not _TIME.fullmatch(data):
            self.fail("invalid")
        if time.fromisoformat(data).minute % 5:
            self.fail("step")
        return data

    def to_representation(self, value: str) -> str | None:
        return value or None


class Money(serializers.Field):
    """An amount ≥ 0 with at most two decimal places: a number or a string in requests, "12.50" in responses."""

    default_error_messages = {
        "invalid": "Must be an amount of money, as a number or a string of digits.",
        "negative": "Must not be negative.",
        "places": "Must have at most two places after the point.",
        "large": "Must be less than 10,000,000,000.",
    }
    _AMOUNT = re.compile(r"-?\d{1,16}(\.\d{1,16})?", re.ASCII)
    _LIMIT = Decimal(10) ** 10
    _CENT = Decimal("0.01")

    def to_internal_value(self, data: object) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, str | int | float):
            self.fail("invalid")
        text = repr(data) if isinstance(data, float) else str(data)
        try:
            # A float may have an exponent (1e-7); a string must be plain digits.
            amount = Decimal(text) if isinstance(data, float) or self._AMOUNT.fullmatch(text) else Decimal("NaN")
        except InvalidOperation:
            self.fail("invalid")
        if not amount.is_finite():
            self.fail("large" if isinstance(data, int) else "invalid")
        if amount < 0:
            self.fail("negative")
        if amount >= self._LIMIT:
            self.fail("large")
        if amount != amount.quantize(self._CENT):
            self.fail("places")
        return amount.quantize(self._CENT)

    def to_representation(self, value: Decimal) -> str:
        return format(value, ".2f")


class StrictList(serializers.ListField):
    """A JSON array."""

    default_error_messages = {"not_a_list": "Must be a list."}

    def to_internal_value(self, data: object) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list")
        return super().to_internal_value(data)


class Validated(Text):
    """A text with a grammar: `parse` returns the text, or raises ValueError with the sentence to show."""

    def __init__(self, *, parse: Callable[[str], Any], **kwargs: Any) -> None:
        self.parse = parse
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            self.parse(text)
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from error
        return text

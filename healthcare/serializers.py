"""Strict input: every value has the JSON type that its field has, every key is known, and what is wrong is named.

DRF's own fields are generous ("true" is True, 7 is "7", {} is refused late); a record system is not. Input serializers
end in `In` (a new object), `Changes` (a PATCH) or `Query` (the query string), output serializers in `Out`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Set
from copy import copy
from datetime import date, time
from decimal import Decimal, InvalidOperation
from functools import cache
from itertools import islice
from typing import Any, ClassVar

from django.http import QueryDict
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from healthcare import trail
from healthcare.answers import Writer

#: Query parameters that every list understands besides its own filters.
PAGE_PARAMETERS = frozenset({"cursor", "page_size"})
#: Unknown keys that an answer names: a body of a hundred thousand would have one that is ten times as long.
MAX_UNKNOWN = 50
EARLIEST, LATEST = date(1880, 1, 1), date(2199, 12, 31)

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


def is_clean(text: str, *, lines: bool = False) -> bool:
    """No control characters: NUL breaks PostgreSQL, others forge log lines. `lines` admits line breaks and tabs."""
    if text.isprintable():
        # Nearly always, and thirty times as quick as looking at each character.
        return True
    allowed = "\n\r\t" if lines else ""
    return all(character in allowed or unicodedata.category(character) not in ("Cc", "Cs") for character in text)


class Text(serializers.CharField):
    """A string: text without control characters, white space around it removed."""

    default_error_messages = {"invalid": "Must be a string.", "control": "Must not hold control characters."}

    def __init__(self, *, lines: bool = False, max_length: int = 200, **kwargs: Any) -> None:
        self.lines = lines
        super().__init__(max_length=max_length, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is not serializers.empty and data is not None:
            if not isinstance(data, str):
                self.fail("invalid")
            if not is_clean(data, lines=self.lines):
                self.fail("control")
        return super().run_validation(data)


class Identifier(Text):
    """A business key: 1 to 64 of A-Za-z0-9._- that begin with a letter or digit."""

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
    """One of a list of words, spelled exactly so."""

    # What was sent is not repeated: it may be long, or something that was meant for another field.
    default_error_messages = {"invalid_choice": "Must be one of: {words}."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", words=", ".join(map(str, self.choices)))
        return data


class Integer(serializers.IntegerField):
    """A JSON number without a fraction; in a query string its decimal digits."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(self.root, QuerySerializer) and isinstance(data, str) and re.fullmatch(r"-?[0-9]{1,18}", data):
            return int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class Minutes(Integer):
    """A length of time in minutes: a multiple of 5, up to twelve hours."""

    default_error_messages = {"step": "Must be a multiple of 5 minutes."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=5, max_value=720, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        minutes = super().to_internal_value(data)
        if minutes % 5:
            self.fail("step")
        return minutes


class Boolean(serializers.BooleanField):
    """true or false, and nothing that resembles them."""

    default_error_messages = {"invalid": "Must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if isinstance(self.root, QuerySerializer):
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

    def to_internal_value(self, value: Any) -> date:
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
    """A time of day as HH:MM, kept as that text: it sorts as the clock goes."""

    default_error_messages = {
        "invalid": "Must be a time as HH:MM, from 00:00 to 23:59.",
        "step": "Must be a multiple of 5 minutes.",
    }

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or not _TIME.fullmatch(data):
            self.fail("invalid")
        if time.fromisoformat(data).minute % 5:
            self.fail("step")
        return data

    def to_representation(self, value: str) -> str | None:
        return value or None


class Money(serializers.Field):
    """An amount ≥ 0 with at most two places, taken as number or string, answered as string ("12.50")."""

    default_error_messages = {
        "invalid": "Must be an amount of money, as a number or a string of digits.",
        "negative": "Must not be negative.",
        "places": "Must have at most two places after the point.",
        "large": "Must be less than 10,000,000,000.",
    }
    _AMOUNT = re.compile(r"-?\d{1,16}(\.\d{1,16})?", re.ASCII)
    _LIMIT = Decimal(10) ** 10
    _CENT = Decimal("0.01")

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, str | int | float):
            self.fail("invalid")
        text = repr(data) if isinstance(data, float) else str(data)
        try:
            # A float such as 1e-7 is a number too; a string has to be plain digits.
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
    """A JSON array, and nothing that iterates like one."""

    default_error_messages = {"not_a_list": "Must be a list."}

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list")
        return super().to_internal_value(data)


class Validated(Text):
    """Text in a vocabulary of its own: `parse` returns it or raises ValueError with the sentence to show."""

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


class StrictSerializer(serializers.Serializer):
    """Takes an object, refuses keys that it does not know, names every value that is wrong."""

    default_error_messages = {"invalid": "Must be an object."}
    #: Role → the fields that it may write, for roles that may not write all of them.
    writable: ClassVar[Mapping[str, Set[str]]] = {}

    @cached_property
    def fields(self) -> Any:
        """Those of one serializer of this class for all others: DRF copies each declared field for each request.

        They keep nothing of what they check, and none of ours asks whom it belongs to for more than its class.
        """
        return super().fields if self.parent is not None else _fields_of(type(self))

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError({"non_field_errors": [self.error_messages["invalid"]]}, code="invalid")
        request = self.context.get("request")
        writable = self.writable.get(getattr(request.user, "role", ""), self.fields) if request else self.fields
        strangers = (key for key in data if key not in self.fields or key not in writable)
        unknown = {
            str(key)[:100]: [ErrorDetail(self.unknown_field_message(key), code="unknown")]
            for key in islice(strangers, MAX_UNKNOWN)
        }
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            raise ValidationError({**error.detail, **unknown}) from error  # type: ignore[dict-item]
        if unknown:
            raise ValidationError(unknown)
        return value

    def unknown_field_message(self, key: str) -> str:
        return "There is no such field here, or you may not write it."

    @classmethod
    def parse(cls, request: Request) -> dict[str, Any]:
        """The body's values by field name; raises ValidationError naming all that is wrong."""
        return cls._checked(request.data, request)

    @classmethod
    def _checked(cls, data: Any, request: Request) -> dict[str, Any]:
        """What a serializer of this class makes of the data. Raises: ValidationError.

        A copy, and not a new one: DRF numbers each that is made, in an attribute of `Field`, at which Python forgets
        where it had found the attributes of all classes of fields and serializers.
        """
        form = copy(_blank(cls))
        form.initial_data, form._context = data, {"request": request}
        form.is_valid(raise_exception=True)
        return dict(form.validated_data)


@cache
def _blank(kind: type[StrictSerializer]) -> StrictSerializer:
    return kind()


@cache
def _fields_of(kind: type[StrictSerializer]) -> Any:
    return serializers.Serializer.fields.func(kind())  # type: ignore[attr-defined]


class ChangesSerializer(StrictSerializer):
    """A PATCH: whatever is absent stays as it is; a body without any change is a mistake."""

    def get_fields(self) -> dict[str, serializers.Field]:
        # Not DRF's `partial`: that makes the fields of nested objects optional as well, and those are given whole.
        fields = super().get_fields()
        for field in fields.values():
            field.required, field.default = False, serializers.empty
        return fields

    @classmethod
    def parse(cls, request: Request) -> dict[str, Any]:
        changes = super().parse(request)
        if not changes:
            raise ValidationError({"non_field_errors": ["Name at least one field to change."]}, code="empty")
        return changes


class QuerySerializer(StrictSerializer):
    """The query string of a list or report: each parameter once, unknown ones refused."""

    def unknown_field_message(self, key: str) -> str:
        return "There is no such parameter here."

    @classmethod
    def parse_query(cls, request: Request, *, also: frozenset[str] = PAGE_PARAMETERS) -> dict[str, Any]:
        """The filters by name, absent ones as None. `also`: parameters that somebody else reads."""
        given: QueryDict = request.query_params
        repeated = [name for name in given if len(given.getlist(name)) > 1]
        if repeated:
            raise ValidationError({name: ["Given more than once."] for name in repeated}, code="repeated")
        read_elsewhere = also | {"format"}
        own = {name: value for name, value in given.items() if name not in read_elsewhere}
        return cls._optional(own) or {**dict.fromkeys(_fields_of(cls)), **cls._checked(own, request)}

    @classmethod
    def _optional(cls, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The same of parameters that may all be absent, each asked by itself; None where DRF has more to say."""
        fields = _optional_fields_of(cls)
        if fields is None or not given.keys() <= fields.keys():
            return None
        try:
            return {name: fields[name].run_validation(given[name]) if name in given else None for name in fields}
        except ValidationError:
            return None


@cache
def _optional_fields_of(kind: type[QuerySerializer]) -> dict[str, serializers.Field] | None:
    """None for a query string that must or does name something, that is judged as a whole, or by who asks."""
    fields = dict(_fields_of(kind))
    is_whole = kind.validate is not serializers.Serializer.validate or _blank(kind).validators or kind.writable
    says = any(each.required or each.default is not serializers.empty for each in fields.values())
    return None if is_whole or says or any(hasattr(kind, f"validate_{name}") for name in fields) else fields


class PeriodQuery(QuerySerializer):
    """Filters with `from` and `to`, both included; services and queries call them `since` and `until`."""

    to = Date(required=False, help_text="The last day.")

    def get_fields(self) -> dict[str, serializers.Field]:
        # `from` is a keyword of Python and cannot be declared as the others are.
        return {**super().get_fields(), "from": Date(required=False, help_text="The first day.")}

    @classmethod
    def parse_query(cls, request: Request, *, also: frozenset[str] = PAGE_PARAMETERS) -> dict[str, Any]:
        filters = super().parse_query(request, also=also)
        return {"since": filters.pop("from"), "until": filters.pop("to"), **filters}


class NoQuery(QuerySerializer):
    """The query string of an endpoint that takes no parameters."""

    @classmethod
    def parse_query(cls, request: Request, *, also: frozenset[str] = PAGE_PARAMETERS) -> dict[str, Any]:
        return super().parse_query(request, also=also) if request.query_params else {}


class OutSerializer(serializers.Serializer):
    """The shape of an answer; documents it and renders it.

    One that shows data about people names what it shows (`noun`), and the audit trail has an entry for each answer.
    """

    #: "patient" → "patient.viewed" and "patient.listed", with the rows' `patient_id`. Empty: about no person.
    noun: ClassVar[str] = ""
    _writer: ClassVar[Writer]

    @classmethod
    def of(cls, record: Any) -> dict[str, Any]:
        """The answer that shows a record: a document, or a model."""
        if cls.noun:
            trail.shown(f"{cls.noun}.viewed", [_said(record, "patient_id")], subject=cls._key_of(record))
        return cls.writer()(record)

    @classmethod
    def many_of(cls, records: Iterable[Any]) -> list[dict[str, Any]]:
        records = list(records)
        if cls.noun:
            trail.shown(f"{cls.noun}.listed", [_said(record, "patient_id") for record in records])
        return cls.writer().many(records)

    @classmethod
    def writer(cls) -> Writer:
        if "_writer" not in cls.__dict__:
            cls._writer = Writer(cls())
        return cls._writer

    @classmethod
    def _key_of(cls, record: Any) -> Any:
        return record.get(f"{cls.noun}_id", record.get("id")) if isinstance(record, dict) else record.pk


def _said(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, dict) else getattr(record, name, None)

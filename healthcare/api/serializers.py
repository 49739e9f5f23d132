"""Strict input: every value has the JSON type that its field has, every key is known, and what is wrong is named.

DRF's own fields are generous ("true" is True, 7 is "7", {} is refused late); a record system is not. Input serializers
end in `In` (a new object), `Changes` (a PATCH) or `Query` (the query string), output serializers in `Out`.
"""

from collections.abc import Iterable, Mapping, Set
from copy import copy
from functools import cache
from itertools import islice
from typing import Any, ClassVar

from django.http import QueryDict
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from healthcare import audit_context
from healthcare.api.compiled_serializers import CompiledSerializer
from healthcare.api.fields import Date

#: Query parameters that every list understands besides its own filters.
PAGE_PARAMETERS = frozenset({"cursor", "page_size"})
#: Unknown keys that an answer names: a body of a hundred thousand would have one that is ten times as long.
MAX_UNKNOWN = 50


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

    #: Tells the fields that values are the texts of a query string.
    is_query_string = True

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
    """None for a query string that must or does name something, that is validated as a whole, or by who asks."""
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

    One that shows data about people names what it shows (`resource`), and the audit trail has an entry for each answer.
    """

    #: "patient" → "patient.viewed" and "patient.listed", with the rows' `patient_id`. Empty: about no person.
    resource: ClassVar[str] = ""
    _writer: ClassVar[CompiledSerializer]

    @classmethod
    def of(cls, record: Any) -> dict[str, Any]:
        """The answer that shows a record: a document, or a model."""
        if cls.resource:
            audit_context.record_access(
                f"{cls.resource}.viewed", [_said(record, "patient_id")], subject=cls._key_of(record)
            )
        return cls.writer()(record)

    @classmethod
    def many_of(cls, records: Iterable[Any]) -> list[dict[str, Any]]:
        records = list(records)
        if cls.resource:
            audit_context.record_access(f"{cls.resource}.listed", [_said(record, "patient_id") for record in records])
        return cls.writer().many(records)

    @classmethod
    def writer(cls) -> CompiledSerializer:
        if "_writer" not in cls.__dict__:
            cls._writer = CompiledSerializer(cls())
        return cls._writer

    @classmethod
    def _key_of(cls, record: Any) -> Any:
        return record.get(f"{cls.resource}_id", record.get("id")) if isinstance(record, dict) else record.pk


def _said(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, dict) else getattr(record, name, None)

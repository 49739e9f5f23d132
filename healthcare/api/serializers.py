"""Base classes of the serializers: strict input, and output that is recorded in the audit log.

Input serializers require each value to have the JSON type of its field, and reject unknown keys. DRF's own fields
accept more: "true" for a boolean, 7 for a string. The names of input serializers end in `In` (a new object), `Changes`
(a PATCH) or `Query` (the query string), those of output serializers in `Out`.
"""

from collections.abc import Iterable, Mapping, Set
from functools import cache
from itertools import islice
from typing import Any, ClassVar

from django.http import QueryDict
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.utils.serializer_helpers import BindingDict

from healthcare import audit_context
from healthcare.api.compiled_serializers import CompiledSerializer
from healthcare.api.fields import Date

#: Query parameters that every list accepts beside its own filters.
PAGE_PARAMETERS = frozenset({"cursor", "page_size"})
#: Unknown keys that an error names. A body may hold 100,000 of them, and an error for each would be ten times as long.
MAX_UNKNOWN = 50


class StrictSerializer(serializers.Serializer):
    """An object whose keys must all be known, and whose values must have the JSON type of their fields."""

    default_error_messages = {"invalid": "Must be an object."}
    #: Role → the fields that it may write, for roles that may not write all of them.
    writable: ClassVar[Mapping[str, Set[str]]] = {}

    @cached_property
    def fields(self) -> Any:
        """The fields of this class, which all its serializers share.

        DRF copies every declared field for each serializer, and a request makes one: the copies took 0.35 of the
        3.05 ms of a filtered list, and 0.6 of the 5.3 ms of a booking (processor time in the test client). Fields can
        be shared because validation leaves nothing in them, and because the project's fields read only the class of
        their root.
        """
        return super().fields if self.parent is not None else _shared_fields(type(self))

    def to_internal_value(self, data: object) -> Any:
        if not isinstance(data, dict):
            raise ValidationError({"non_field_errors": [self.error_messages["invalid"]]}, code="invalid")
        request = self.context.get("request")
        writable = self.writable.get(getattr(request.user, "role", ""), self.fields) if request else self.fields
        unknown_keys = (key for key in data if key not in self.fields or key not in writable)
        unknown = {
            str(key)[:100]: [ErrorDetail(self.unknown_field_message(key), code="unknown")]
            for key in islice(unknown_keys, MAX_UNKNOWN)
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
        """Return the values of the request body by field. Raises: ValidationError with every error in the body."""
        return cls._validated(request.data, request)

    @classmethod
    def _validated(cls, data: object, request: Request) -> dict[str, Any]:
        serializer = cls(data=data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


@cache
def _shared_fields(kind: type[StrictSerializer]) -> BindingDict:
    serializer = kind()
    fields = BindingDict(serializer)
    for name, field in serializer.get_fields().items():
        fields[name] = field
    return fields


class ChangesSerializer(StrictSerializer):
    """The changes of a PATCH: a field that is absent keeps its value, and at least one must be present."""

    def get_fields(self) -> dict[str, serializers.Field]:
        # DRF's `partial` would make the fields of nested objects optional too, which must be complete.
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
    """The query string of a list or report: each parameter at most once, and no unknown ones."""

    #: Tells the fields that values are the texts of a query string.
    is_query_string = True

    def unknown_field_message(self, key: str) -> str:
        return "There is no such parameter here."

    @classmethod
    def parse_query(cls, request: Request, *, also: frozenset[str] = PAGE_PARAMETERS) -> dict[str, Any]:
        """Return the value of each parameter by name, None for an absent one.

        `also`: the parameters that other code reads, such as the pagination.
        Raises: ValidationError with every error in the query string.
        """
        given: QueryDict = request.query_params
        repeated = [name for name in given if len(given.getlist(name)) > 1]
        if repeated:
            raise ValidationError({name: ["Given more than once."] for name in repeated}, code="repeated")
        read_elsewhere = also | {"format"}
        own = {name: value for name, value in given.items() if name not in read_elsewhere}
        return {**dict.fromkeys(_shared_fields(cls)), **cls._validated(own, request)}


class PeriodQuery(QuerySerializer):
    """A query string with `from` and `to`, both included, which services and queries call `since` and `until`."""

    to = Date(required=False, help_text="The last day.")

    def get_fields(self) -> dict[str, serializers.Field]:
        # `from` is a keyword of Python, so that it cannot be declared as a class attribute.
        return {**super().get_fields(), "from": Date(required=False, help_text="The first day.")}

    @classmethod
    def parse_query(cls, request: Request, *, also: frozenset[str] = PAGE_PARAMETERS) -> dict[str, Any]:
        filters = super().parse_query(request, also=also)
        return {"since": filters.pop("from"), "until": filters.pop("to"), **filters}


class NoQuery(QuerySerializer):
    """The query string of an endpoint without parameters."""

    @classmethod
    def parse_query(cls, request: Request, *, also: frozenset[str] = PAGE_PARAMETERS) -> dict[str, Any]:
        return super().parse_query(request, also=also) if request.query_params else {}


# The OpenAPI document describes a response by the docstring of its serializer, and by this one if it has none.
class OutSerializer(serializers.Serializer):
    """The shape of a response."""

    #: The kind of record, such as "patient", if the response shows data about people. Each response then records in the
    #: audit context whose data it shows: "patient.viewed" or "patient.listed", with the `patient_id` of each row.
    resource: ClassVar[str] = ""
    _compiled: ClassVar[CompiledSerializer]

    @classmethod
    def of(cls, record: object) -> dict[str, Any]:
        """Return the object that shows a record, which is a document or a model."""
        if cls.resource:
            audit_context.record_access(
                f"{cls.resource}.viewed", [_value(record, "patient_id")], subject=cls._key_of(record)
            )
        return cls.compiled()(record)

    @classmethod
    def many_of(cls, records: Iterable[object]) -> list[dict[str, Any]]:
        """Return the objects that show the records, in their order."""
        records = list(records)
        if cls.resource:
            audit_context.record_access(f"{cls.resource}.listed", [_value(record, "patient_id") for record in records])
        return cls.compiled().many(records)

    @classmethod
    def compiled(cls) -> CompiledSerializer:
        """Return the compiled serializer of this class, which is made at its first use."""
        if "_compiled" not in cls.__dict__:
            cls._compiled = CompiledSerializer(cls())
        return cls._compiled

    @classmethod
    def _key_of(cls, record: Any) -> Any:
        return record.get(f"{cls.resource}_id", record.get("id")) if isinstance(record, dict) else record.pk


def _value(record: object, name: str) -> Any:
    return record.get(name) if isinstance(record, dict) else getattr(record, name, None)

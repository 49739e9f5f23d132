"""Compiled serializers: an output serializer of DRF turned into one function, once for each class.

DRF asks each field of each row for its representation. Here the names, sources and conversions of the fields are read
once, and only the fields whose stored value is not what the JSON renderer writes have a conversion. The result is what
DRF would write; tests/test_answers.py compares the two for every app. docs/performance.md has the measurements.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from rest_framework import serializers

Row = dict[str, Any]
#: Turns a stored value, which is not None, into the value that the JSON renderer writes.
Convert = Callable[[Any], Any]

#: Fields whose stored values the JSON renderer writes as they are: text, ids, numbers, timestamps in UTC.
_AS_STORED = (
    serializers.CharField,
    serializers.ChoiceField,
    serializers.IntegerField,
    serializers.BooleanField,
    serializers.DateTimeField,
)


class CompiledSerializer:
    """Function from records, all of them documents or all of them models, to the objects that a response shows."""

    def __init__(self, serializer: serializers.Serializer) -> None:
        fields = [field for field in serializer.fields.values() if not field.write_only]
        self._sources = [(str(field.field_name), _source_of(field)) for field in fields]
        self._document_conversions = _conversions(fields, is_document=True)
        self._model_conversions = _conversions(fields, is_document=False)

    def __call__(self, record: object) -> Row:
        """Return the object that shows the record."""
        return self.many([record])[0]

    def many(self, records: Sequence[Any]) -> list[Row]:
        """Return the objects that show the records, in their order."""
        if records and isinstance(records[0], dict):
            rows, conversions = self._rows_of_documents(records), self._document_conversions
        else:
            rows = [{name: getattr(record, source) for name, source in self._sources} for record in records]
            conversions = self._model_conversions
        for name, convert in conversions:
            for row in rows:
                if (value := row[name]) is not None:
                    row[name] = convert(value)
        return rows

    def _rows_of_documents(self, records: Sequence[Row]) -> list[Row]:
        sources = self._sources
        try:
            return [{name: record[source] for name, source in sources} for record in records]
        except KeyError:
            # A document that was written before one of its fields existed does not have that field.
            return [{name: record.get(source) for name, source in sources} for record in records]


def _source_of(field: serializers.Field) -> str:
    """Return the field's key or attribute. Raises: ImproperlyConfigured for "*" and for a dotted path."""
    source = field.source or ""
    if not source.isidentifier():
        name = f"{type(field.parent).__name__}.{field.field_name}"
        raise ImproperlyConfigured(f"{name}: the source of an output field must be one key or attribute.")
    return source


def _conversions(fields: list[serializers.Field], *, is_document: bool) -> list[tuple[str, Convert]]:
    found = [(str(field.field_name), _conversion(field, is_document=is_document)) for field in fields]
    return [(name, convert) for name, convert in found if convert is not None]


def _conversion(field: serializers.Field, *, is_document: bool) -> Convert | None:
    """Return the field's conversion; None if the stored value is written as it is."""
    if isinstance(field, serializers.ListSerializer):
        return CompiledSerializer(cast(serializers.Serializer, field.child)).many
    if isinstance(field, serializers.Serializer):
        return CompiledSerializer(field)
    if isinstance(field, serializers.DateField):
        # A document holds a calendar day as the midnight at which it begins.
        return datetime.date if is_document else _day
    if isinstance(field, serializers.ListField):
        return None if _conversion(field.child, is_document=is_document) is None else field.to_representation
    # The methods are compared and not the classes, because a subclass may override `to_representation`.
    if type(field).to_representation in {kind.to_representation for kind in _AS_STORED}:
        return None
    return field.to_representation


def _day(value: date) -> date:
    return value.date() if isinstance(value, datetime) else value

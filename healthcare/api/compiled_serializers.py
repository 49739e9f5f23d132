"""Answers from records: what the fields of an output serializer say, compiled once into functions.

DRF asks each field of each row how it is written, for which a page of 50 charts took most of its time. Here a
serializer becomes the expression of a dictionary, its lists of embedded records included, in which only those fields
are asked that JSON has no word for. What is written is what DRF would write (tests/test_answers.py compares the two for
every room).
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from rest_framework import serializers

Row = dict[str, Any]
Write = Callable[[Any], Any]

#: Fields whose values stand in a record as orjson writes them: text, ids, numbers, instants in UTC.
_AS_STORED = (
    serializers.CharField,
    serializers.ChoiceField,
    serializers.IntegerField,
    serializers.BooleanField,
    serializers.DateTimeField,
)


class CompiledSerializer:
    """Writes records, which are documents or models, as the serializer's fields say."""

    def __init__(self, serializer: serializers.Serializer) -> None:
        self.model = _Expression("{}.{}", is_document=False).compiled(serializer)
        # `get`: documents that nobody has written since there is the field do not have it.
        self.document = _Expression("{}.get({!r})").compiled(serializer)
        # With its lists in the one expression: a page in 0.40 ms, not 0.58.
        self.whole = _Expression("{}[{!r}]", holds_lists=True).compiled(serializer)
        self.wholes = _Expression("{}[{!r}]", holds_lists=True).compiled(serializer, many=True)

    def __call__(self, record: Any) -> Row:
        if not isinstance(record, dict):
            return self.model(record)
        try:
            return self.whole(record)
        except (KeyError, TypeError):
            # It is older than one of its fields, or it is no document and holds something else in its lists.
            return self.document(record)

    def many(self, records: list[Any]) -> list[Row]:
        """What it writes of each, in one expression where that will do."""
        try:
            return cast(list[Row], self.wholes(records))
        except (KeyError, TypeError):
            return [self(record) for record in records]


class _Expression:
    """`lambda record: {"name": record["name"], "date": None if … is None else write_0(…), …}`, as `take` takes a field.

    With `holds_lists` a list of embedded records is a part of it, `[{…} for record_ in record["visits"]]`, and not what
    a function makes of each.
    """

    def __init__(self, take: str, *, is_document: bool = True, holds_lists: bool = False) -> None:
        self._take, self._is_document, self._holds_lists = take, is_document, holds_lists
        self._known: dict[str, Any] = {}

    def compiled(self, serializer: serializers.Serializer, *, many: bool = False) -> Write:
        written = self._entries(serializer, "record")
        text = f"lambda records: [{written} for record in records]" if many else f"lambda record: {written}"
        # Made of the names that our own serializers declare; what a client sends has no part in it.
        return eval(text, self._known)  # noqa: S307

    def _entries(self, serializer: serializers.Serializer, record: str) -> str:
        shown = [field for field in serializer.fields.values() if not field.write_only]
        return f"{{{', '.join(f'{field.field_name!r}: {self._value(field, record)}' for field in shown)}}}"

    def _value(self, field: serializers.Field, record: str) -> str:
        taken = self._take.format(record, _source_of(field))
        if self._holds_lists and isinstance(field, serializers.ListSerializer):
            inner = f"{record}_"
            return f"[{self._entries(cast(serializers.Serializer, field.child), inner)} for {inner} in {taken}]"
        write = _writing(field, is_document=self._is_document)
        if write is None:
            return taken
        name = f"write_{len(self._known)}"
        self._known[name] = write
        return f"None if {taken} is None else {name}({taken})"


def _source_of(field: serializers.Field) -> str:
    source = field.source or ""
    if not source.isidentifier():
        raise ImproperlyConfigured(f"{type(field.parent).__name__}.{field.field_name}: an answer takes a field whole.")
    return source


def _writing(field: serializers.Field, *, is_document: bool) -> Write | None:
    """What makes of a stored value what is answered; None for one that is written as it is."""
    if isinstance(field, serializers.ListSerializer):
        write_one = _writing(cast(serializers.Field, field.child), is_document=is_document)
        return lambda values: [write_one(value) for value in values]  # type: ignore[misc]
    if isinstance(field, serializers.Serializer):
        # A dictionary may hold what is none: slots under "results".
        return CompiledSerializer(field)
    if isinstance(field, serializers.DateField):
        # A document has a day as its midnight.
        return datetime.date if is_document else _day
    if isinstance(field, serializers.ListField):
        return None if _writing(field.child, is_document=is_document) is None else field.to_representation
    # By the method and not the class: what inherits from them may write in a way of its own.
    if type(field).to_representation in {kind.to_representation for kind in _AS_STORED}:
        return None
    return field.to_representation


def _day(value: date) -> date:
    return value.date() if isinstance(value, datetime) else value

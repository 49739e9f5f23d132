"""Model forms of the admin that validate with the serializers of the API."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, ClassVar

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from healthcare.api.problem_details import pointers
from healthcare.api.serializers import ChangesSerializer, StrictSerializer
from healthcare.staff_admin.row_table_field import RowTableBoundField


class LinesField(forms.CharField):
    """A list of texts, one on each line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **{"widget": UnfoldAdminTextareaWidget(attrs={"rows": 5}), **kwargs})

    def prepare_value(self, value: object) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def has_changed(self, initial: object, data: object) -> bool:
        return self.to_python(self.prepare_value(initial)) != self.to_python(data)


class ResourceForm(forms.ModelForm):
    """A model form whose values are validated by the serializers of the API.

    `validated` holds the arguments for the service: all given values of a new object, or the changed values of an
    existing one.
    """

    new: ClassVar[type[StrictSerializer]]
    changes: ClassVar[type[ChangesSerializer]]
    #: The user who sends the form. Some fields may be written by some roles only. `ResourceAdmin.get_form` sets it.
    actor: ClassVar[Any] = None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        self.validated: dict[str, Any] = {}
        is_new = self.instance._state.adding
        known = self.new().fields if is_new else self.changes().fields
        given = {name: value for name, value in values.items() if name in known}
        if is_new:
            given = {name: value for name, value in given.items() if value not in (None, "", [])}
        else:
            given = {name: _blank_as_null(value) for name, value in given.items() if name in self.changed_data}
        if given and not self.errors:
            serializer_class = self.new if is_new else self.changes
            serializer = serializer_class(
                data={name: _as_json(value) for name, value in given.items()},
                partial=not is_new,
                context={"request": as_request_by(self.actor)},
            )
            if serializer.is_valid():
                self.validated = dict(serializer.validated_data)
            for pointer, error in pointers(serializer.errors):
                _, field, *inside = f"{pointer}/".split("/")
                row = int(inside[0]) if inside[0:1] and inside[0].isdigit() else None
                self.add_domain_error(str(error), field=field, row=row)
        return values

    def add_domain_error(self, message: str, *, field: str | None = None, row: int | None = None) -> None:
        """Add the message to its field, and if the field is a table, to the row that the message is about."""
        if field not in self.fields:
            field = None
        elif row is not None and isinstance(bound := self[field], RowTableBoundField):
            message = bound.add_row_error(row, message)
        self.add_error(field, message)

    def _post_clean(self) -> None:
        """Skip the validation by the model: the serializer has validated, and the write itself checks uniqueness."""


def as_request_by(actor: object) -> Any:
    """Return a stand-in for the request, of which serializers read the user only."""
    return SimpleNamespace(user=actor)


def _as_json(value: object) -> Any:
    """Return the value as a client of the API would send it."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case Mapping():
            return {name: _as_json(item) for name, item in value.items()}
        case list():
            return [_as_json(item) for item in value]
    return value


def _blank_as_null(value: object) -> Any:
    return None if value == "" else value

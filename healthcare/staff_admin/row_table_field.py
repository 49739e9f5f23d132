"""Form field that holds a table of small records, such as a doctor's weekly hours: a Django formset behind one field.

The rows are an array that is embedded in a document, so Django's inlines, which need a related model, do not apply. The
form field of django-mongodb-backend for such arrays validates with model forms; here the API's serializer validates the
array together with the other fields of the record, and its errors are attached to the rows.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BaseFormSet, formset_factory
from django.template.loader import render_to_string
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

#: Empty rows below the stored ones. A browser without JavaScript can add this many with one save.
SPARE_ROWS = 2
MAX_ROWS = 1_000


class RowForm(forms.Form):
    """One row of a table. Its fields are optional texts, because the serializer of the API validates them."""

    #: A row in which all of these fields are empty is left out.
    needed: ClassVar[tuple[str, ...]]

    @property
    def is_empty(self) -> bool:
        return not any(str(self[name].value() or "").strip() for name in self.needed)

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the texts of a row as a client of the API would send them."""
        raise NotImplementedError


class RowFormSet(BaseFormSet):
    def add_fields(self, form: forms.Form, index: int | None) -> None:
        """Label each input, because only the table's header is visible; row-table.js replaces the last word."""
        super().add_fields(form, index)
        number = "__number__" if index is None else index + 1
        for field in form.fields.values():
            label = _("%(column)s, row %(number)s") % {"column": field.label, "number": number}
            field.widget.attrs["aria-label"] = label

    def filled_rows(self) -> list[tuple[int, RowForm]]:
        return [(number, row) for number, row in enumerate(self.forms, start=1) if not row.is_empty]


class RowTableWidget(forms.Widget):
    """Table of inputs, a row for each form of a formset."""

    class Media:
        js = ("healthcare/row-table.js",)

    def __init__(self, row_form: type[RowForm]) -> None:
        super().__init__()
        self.formset = formset_factory(
            row_form, formset=RowFormSet, extra=SPARE_ROWS, max_num=MAX_ROWS, absolute_max=MAX_ROWS
        )

    def value_omitted_from_data(self, data: Any, files: object, name: str) -> bool:
        return f"{name}-TOTAL_FORMS" not in data

    def value_from_datadict(self, data: Any, files: object, name: str) -> Any:
        if self.value_omitted_from_data(data, files, name):
            return None
        return self.formset(data, prefix=name, auto_id="")

    def render(self, name: str, value: Any, attrs: object = None, renderer: object = None) -> SafeString:
        """Render a template of the project, which the default renderer of forms does not find."""
        is_sent = isinstance(value, BaseFormSet)
        formset = value if is_sent else self.formset(prefix=name, initial=value, auto_id="")
        return render_to_string("admin/widgets/row_table.html", {"formset": formset})


class RowTableBoundField(forms.BoundField):
    @cached_property
    def data(self) -> Any:
        """The formset, which is made once, so that it keeps the errors of its rows until the page is rendered."""
        return super().data

    def add_row_error(self, row: int, message: str) -> str:
        """Mark one of the filled rows as wrong. Return the message with the row's number, for the top of the form."""
        rows = self.data.filled_rows() if self.data else []
        if row >= len(rows):
            return message
        number, form = rows[row]
        form.add_error(None, message)
        for field in form.fields.values():
            field.widget.attrs["aria-invalid"] = "true"
        return _("Row %(number)d: %(message)s") % {"number": number, "message": message}


class RowTableField(forms.Field):
    """List of dicts, as the API's serializer takes it. The initial value may hold embedded models."""

    bound_field_class = RowTableBoundField

    def __init__(self, *, row_form: type[RowForm], **kwargs: Any) -> None:
        super().__init__(required=False, widget=RowTableWidget(row_form), **kwargs)
        self.row_form = row_form

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, BaseFormSet) else [self._texts(row) for row in value or []]

    def clean(self, value: Any) -> list[dict[str, Any]]:
        if value is None:
            return []
        if not value.is_valid():
            raise ValidationError(value.non_form_errors())
        return [self.row_form.read(row.cleaned_data) for _number, row in value.filled_rows()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        if data is None:
            return False
        before = [self.row_form.read(self._texts(row)) for row in initial or []]
        return not data.is_valid() or sorted(map(str, before)) != sorted(map(str, self.clean(data)))

    def _texts(self, row: object) -> dict[str, str]:
        values = {name: getattr(row, name) for name in self.row_form.base_fields}
        return {name: "" if value is None else str(value) for name, value in values.items()}

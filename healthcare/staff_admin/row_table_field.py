"""A form's field that is a table: a list of small records, such as a doctor's weekly hours, edited row by row."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

#: Empty rows beneath those that are there: what a browser without scripts can add with one save.
SPARE_ROWS = 2
MAX_ROWS = 1_000


@dataclass(frozen=True)
class Column:
    """One cell of each row: `kind` is an input's type, or "select" with the values and words of `choices`."""

    name: str
    label: Any
    kind: str
    choices: Sequence[tuple[str, Any]] = ()
    #: What a new row begins with.
    default: str = ""
    attrs: Mapping[str, Any] | None = None


class RowTableWidget(forms.Widget):
    """A table of inputs named `<field>-<number>-<column>`; the buttons that add and remove rows come with rows.js."""

    template_name = "admin/widgets/rows.html"

    class Media:
        js = ("healthcare/rows.js",)

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = columns
        #: Row number → what is wrong there, for the form that is shown again.
        self.errors: dict[int, list[str]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "RowTableWidget":
        """A form's own: Django's copy of a widget would share what is wrong with the next one's."""
        copied = super().__deepcopy__(memo)
        copied.errors = {}
        return copied

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]] | None:
        """The rows in the order of their numbers, as they were typed; None when the table was not sent at all."""
        if f"{name}-rows" not in data:
            return None
        names = "|".join(re.escape(column.name) for column in self.columns)
        cell = re.compile(rf"{re.escape(name)}-(\d{{1,6}})-({names})", re.ASCII)
        found: dict[int, dict[str, str]] = {}
        for key in data:
            if place := cell.fullmatch(key):
                found.setdefault(int(place[1]), {})[place[2]] = str(data.get(key) or "").strip()
        blank = {column.name: "" for column in self.columns}
        return [{**blank, **found[number]} for number in sorted(found)][:MAX_ROWS]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}-rows" not in data

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        """From the project's templates: Django's renderer of forms knows its own only."""
        return mark_safe(render_to_string(template_name, context))  # noqa: S308 - a template's output

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        given = list(value or [])
        fresh = {column.name: column.default for column in self.columns}
        is_spare = [False] * len(given) + [True] * SPARE_ROWS
        rows = given + [fresh] * SPARE_ROWS
        context["widget"] |= {
            "columns": self.columns,
            "rows": [
                {"cells": self._cells(name, number, row), "errors": self.errors.get(number, []), "is_spare": spare}
                for number, (row, spare) in enumerate(zip(rows, is_spare, strict=True))
            ],
            # With a number that the script puts in.
            "model_row": {"cells": self._cells(name, "__number__", fresh), "errors": [], "is_spare": False},
        }
        return context

    def _cells(self, name: str, number: Any, row: Mapping[str, str]) -> list[dict[str, Any]]:
        place = number + 1 if isinstance(number, int) else number
        wrong = bool(self.errors.get(number)) if isinstance(number, int) else False
        return [
            {
                "column": column,
                "name": f"{name}-{number}-{column.name}",
                "value": row.get(column.name, ""),
                "label": _("%(column)s, row %(number)s") % {"column": column.label, "number": place},
                "is_wrong": wrong,
            }
            for column in self.columns
        ]


class RowTableField(forms.Field):
    """A list of dicts. A row whose `needed` cells are all empty is none; `initial` may hold embedded models."""

    widget: RowTableWidget

    def __init__(self, *, columns: Sequence[Column], needed: Sequence[str], **kwargs: Any) -> None:
        super().__init__(required=False, widget=RowTableWidget(columns), **kwargs)
        self.needed = needed
        #: Which row of the page each of the cleaned ones is.
        self.numbers: list[int] = []

    def prepare_value(self, value: Any) -> list[dict[str, str]]:
        return [row if isinstance(row, dict) else self._typed(row) for row in value or []]

    def clean(self, value: Any) -> list[dict[str, Any]]:
        self.numbers = [n for n, row in enumerate(value or []) if any(row[name] for name in self.needed)]
        return [self.read(value[number]) for number in self.numbers]

    def read(self, row: dict[str, str]) -> dict[str, Any]:
        """A typed row as the serializer takes it."""
        raise NotImplementedError

    def has_changed(self, initial: Any, data: Any) -> bool:
        if data is None:
            return False
        before = [self.read(row) for row in self.prepare_value(initial)]
        return sorted(map(str, before)) != sorted(map(str, self.clean(data)))

    def refuse(self, row: int, sentence: str) -> str:
        """Mark one of the cleaned rows as wrong; the sentence with the row's number, for above the form."""
        number = self.numbers[row] if row < len(self.numbers) else row
        self.widget.errors.setdefault(number, []).append(sentence)
        return _("Row %(number)d: %(sentence)s") % {"number": number + 1, "sentence": sentence}

    def _typed(self, row: Any) -> dict[str, str]:
        values = {column.name: getattr(row, column.name) for column in self.widget.columns}
        return {name: "" if value is None else str(value) for name, value in values.items()}

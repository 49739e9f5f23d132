"""Index classes that neither Django nor django-mongodb-backend has."""

from collections.abc import Sequence
from typing import Any

from django.db import models
from pymongo import TEXT
from pymongo.operations import IndexModel


class TextIndex(models.Index):
    """A MongoDB text index over text fields, of which a collection can have one.

    Query it by the lookup `search` (`healthcare.mongodb.lookups`) or by a first stage
    `{"$match": {"$text": {"$search": "rivera"}}}`. The language "none" neither drops stop words nor stems words,
    because names are not English prose. A prefix of a word does not match.

        indexes = [TextIndex(fields=["name"], name="patients_name_text")]
    """

    suffix = "txt"

    def __init__(
        self,
        *,
        fields: tuple[str, ...] | list[str] = (),
        name: str | None = None,
        default_language: str = "none",
    ) -> None:
        self.default_language = default_language
        super().__init__(fields=fields, name=name)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        path, arguments, options = super().deconstruct()
        return path, arguments, {**options, "default_language": self.default_language}

    def get_pymongo_index_model(
        self,
        model: type[models.Model],
        schema_editor: object,
        field: models.Field | None = None,
        unique: bool = False,
        column_prefix: str = "",
    ) -> IndexModel:
        fields: list[Any] = [model._meta.get_field(name) for name, _ in self.fields_orders]
        return IndexModel(
            [(column_prefix + each.column, TEXT) for each in fields],
            name=self.name,
            default_language=self.default_language,
            # By default the field "language" of a document selects its stemmer, and a value such as "de-CH" (a FHIR
            # code) makes the insert fail. This option names a field that no document has.
            language_override="__text_index_language",
        )

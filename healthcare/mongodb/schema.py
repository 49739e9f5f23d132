"""The schema editor: unique indexes that a lookup can use."""

import datetime
from typing import Any

from bson import Binary, Int64, ObjectId
from django.db import models
from django_mongodb_backend import schema
from pymongo.operations import IndexModel

# `{$gte: lowest}` matches every value of a type and no null, because MongoDB compares values of one type only.
# To MongoDB all numbers are one type, whatever their width.
_LOWEST: dict[str, Any] = {
    "string": "",
    "int": Int64(-(2**63)),
    "long": Int64(-(2**63)),
    "double": float("-inf"),
    "decimal": float("-inf"),
    # The ORM stores a time of day on this first day, so the bound must include midnight.
    "date": datetime.datetime.min,  # noqa: DTZ901 -- naive, as the engine stores dates
    "bool": False,
    "objectId": ObjectId(bytes(12)),
    "binData": Binary(b""),
}


class UniqueIndex(models.Index):
    """The index behind `unique=True` and UniqueConstraint.

    The stock engine limits every unique index to `{field: {$type: …}}`, so that many documents may hold null. The
    planner does not see that `{field: 5}` implies that condition, and reads the whole collection. Here a field that
    cannot be null has a plain unique index. A field that can be null has the condition `{$gte: lowest value}`, which
    covers the same documents and which the planner understands (MongoDB 6.0; tests/mongodb/test_unique.py).
    """

    def get_pymongo_index_model(
        self,
        model: type[models.Model],
        schema_editor: Any,
        field: models.Field | None = None,
        unique: bool = False,
        column_prefix: str = "",
    ) -> IndexModel:
        # The library adds this method to Django's Index.
        index = super().get_pymongo_index_model(  # type: ignore[misc]
            model, schema_editor=schema_editor, field=field, unique=unique, column_prefix=column_prefix
        )
        fields: list[Any] = [field] if field else [model._meta.get_field(name) for name, _ in self.fields_orders]
        condition = index.document.pop("partialFilterExpression", {})
        for each in fields:
            db_type = each.db_type(schema_editor.connection)
            column = column_prefix + each.column
            # For a constraint inside an embedded model the stock engine names the column without its prefix. No
            # document meets such a condition, so the constraint would have no effect.
            stock_column = column if field else each.column
            rule = dict(condition.pop(stock_column, {}))
            rule.pop("$type", None)
            # In a document without the embedded document, every field of the embedded one is missing.
            if not rule and (each.null or column_prefix):
                rule = {"$gte": _LOWEST[db_type]} if db_type in _LOWEST else {"$type": db_type}
            if rule:
                condition[column] = rule
        if condition:
            index.document["partialFilterExpression"] = dict(condition)
        return index


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    """The stock schema editor, with UniqueIndex for unique fields and constraints."""

    def add_index(self, model: type[models.Model], index: models.Index, *, unique: bool = False, **kwargs: Any) -> None:
        if unique:
            index = UniqueIndex(fields=index.fields, name=index.name, condition=index.condition)
        super().add_index(model, index, unique=unique, **kwargs)

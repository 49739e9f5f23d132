"""Model fields for PostgreSQL. The fields for MongoDB are in `healthcare.mongodb`."""

import json
from typing import Any

from django.db import models


class IdListField(models.Field):
    """A list of ids, which the ORM only reads: `text[]` in PostgreSQL, JSON text in SQLite (for trials)."""

    def db_type(self, connection: Any) -> str:
        return "text[]" if connection.vendor == "postgresql" else "text"

    def from_db_value(self, value: Any, expression: object, connection: object) -> list[str]:
        return json.loads(value) if isinstance(value, str) else value

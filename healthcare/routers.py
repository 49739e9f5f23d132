"""The database router: which of the two databases stores a model. No relation connects models of both."""

from typing import Any

from django.apps import apps
from django.db import models

DEFAULT = "default"
CLINICAL = "clinical"


def database_of(app_label: str, model: type[models.Model] | None = None) -> str:
    """Return the alias that the model names, else the one that its app names, else that of PostgreSQL."""
    app_database = getattr(apps.get_app_config(app_label), "database", DEFAULT)
    return getattr(model, "database", app_database)


class DatabaseRouter:
    """Store an app in the database that its AppConfig names, unless a model's own `database` overrides it."""

    def db_for_read(self, model: type[models.Model], **hints: object) -> str:
        return database_of(model._meta.app_label, model)

    db_for_write = db_for_read

    def allow_relation(self, one: models.Model, other: models.Model, **hints: object) -> bool:
        return self.db_for_read(type(one)) == self.db_for_read(type(other))

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        """Return whether a migration operation runs on `db`.

        Operations without a model (RunPython, RunSQL) follow their app, or name their database as a hint:
        `RunPython(..., hints={"database": "default"})`. Embedded models have no collection of their own;
        django-mongodb-backend gives them a manager that rejects every query.
        """
        model = apps.all_models[app_label].get(model_name) if model_name else hints.get("model")
        if model is not None and not hasattr(model._meta.default_manager, "using"):
            return False
        return db == hints.get("database", database_of(app_label, model))

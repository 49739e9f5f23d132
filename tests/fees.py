"""The fee table that the migrations make."""

from importlib import import_module

from django.apps import apps
from django.db import connection


def restore_fees() -> None:
    """Insert the fees as the migration does; rows that exist stay."""
    with connection.schema_editor() as editor:
        import_module("billing.migrations.0002_first_fees").add_fees(apps, editor)

"""System checks that ask the MongoDB server for its configuration."""

from collections.abc import Sequence

from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import DatabaseError
from pymongo.errors import PyMongoError

from healthcare.mongodb.base import clinical_connection
from healthcare.routers import CLINICAL

#: docs/deployment.md asks for 10 s. MongoDB's default is 60 s, for which the check warns.
MAX_TRANSACTION_LIFETIME_SECONDS = 30
_PARAMETER = "transactionLifetimeLimitSeconds"


@register(Tags.database, deploy=True)
def transaction_lifetime_is_limited(
    app_configs: object, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Warn if the server keeps the open transaction of a killed process, and its locks, for more than 30 s.

    `manage.py check --deploy --database clinical` runs this check. Managed servers that forbid `getParameter`, and
    servers that cannot be reached, give no warning.
    """
    if CLINICAL not in (databases or ()):
        return []
    connection = clinical_connection()
    try:
        connection.ensure_connection()
        seconds = connection.database.client.admin.command({"getParameter": 1, _PARAMETER: 1})[_PARAMETER]
    except (PyMongoError, DatabaseError):
        return []
    if seconds <= MAX_TRANSACTION_LIFETIME_SECONDS:
        return []
    return [
        checks.Warning(
            f"MongoDB's {_PARAMETER} is {seconds}: records that a killed process was writing stay locked that long.",
            hint=f"Start every member with `--setParameter {_PARAMETER}=10` (docs/deployment.md).",
            id="healthcare.W001",
        )
    ]

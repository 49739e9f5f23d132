"""Whether this process can serve: what load balancers, containers and alerts ask at /readyz."""

from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, ProgrammingError, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from healthcare.errors import is_outage
from healthcare.outbox import events
from healthcare.postgresql import circuit_breaker
from healthcare.routers import CLINICAL, DEFAULT

#: Asked by address, over plain HTTP, whatever name the machine has (healthcare.web.middleware).
HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

Migration = tuple[str, str]


class Missing(NamedTuple):
    """One thing that keeps the process from serving: where, a code, and a sentence that tells no internals."""

    where: str
    code: str
    sentence: str


class Readiness(NamedTuple):
    missing: list[Missing]
    #: None when MongoDB cannot be asked.
    event_lag: events.Lag | None


def readiness() -> Readiness:
    """Ask both databases; it takes some milliseconds, or some seconds when one of them does not answer."""
    missing = [
        *_missing_in(DEFAULT, "postgresql", "PostgreSQL"),
        *_missing_in(CLINICAL, "mongodb", "MongoDB"),
    ]
    if any(each.where == "mongodb" for each in missing):
        return Readiness(missing, None)
    lag = events.lag()
    longest = settings.READY_EVENT_LAG_SECONDS
    if longest and lag.seconds > longest:
        missing.append(Missing("events", "late", "Events have been waiting for longer than they may."))
    return Readiness(missing, lag)


def _missing_in(alias: str, where: str, name: str) -> list[Missing]:
    try:
        unapplied = required_migrations() - _applied(alias)
    except (DatabaseError, ImproperlyConfigured):
        # Out, or not what it has to be: a standalone MongoDB, the wrong key. Which of them, the log says.
        return [Missing(where, "unavailable", f"{name} cannot be used at the moment.")]
    if unapplied:
        return [Missing(where, "migrations", f"{name} lacks migrations of this version ({len(unapplied)}).")]
    return []


@cache
def required_migrations() -> frozenset[Migration]:
    """The migrations of this code, which both databases have on record; read from the disk once."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.nodes)


def _applied(alias: str) -> frozenset[Migration]:
    """The migrations that a database has on record. Raises: DatabaseError, ImproperlyConfigured."""
    is_sql = alias == DEFAULT
    if is_sql and not circuit_breaker.postgresql.allows_request():
        raise DatabaseError("PostgreSQL did not answer a moment ago.")
    try:
        found = MigrationRecorder(connections[alias]).migration_qs.values_list("app", "name")
        applied = frozenset((app, name) for app, name in found)
    except ProgrammingError:
        # There is not even a table for them.
        applied = frozenset()
    except DatabaseError as error:
        if is_sql and is_outage(error):
            circuit_breaker.postgresql.record_failure()
        raise
    if is_sql:
        circuit_breaker.postgresql.record_success()
    return applied

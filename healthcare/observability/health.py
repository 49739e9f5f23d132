"""Readiness: whether this process can serve requests. Load balancers, containers and alerts ask at /readyz."""

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

#: These paths are answered for every host name and over plain HTTP (healthcare.web.middleware), because monitors call
#: a process by its address.
HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

Migration = tuple[str, str]


class ReadinessProblem(NamedTuple):
    """A reason why the process cannot serve. `detail` is a sentence for everybody and contains no internals."""

    component: str
    code: str
    detail: str


class Readiness(NamedTuple):
    """The result of a readiness check: ready if `problems` is empty."""

    problems: list[ReadinessProblem]
    #: None when MongoDB cannot be queried.
    event_lag: events.Lag | None


def readiness() -> Readiness:
    """Query both databases and return the result, in milliseconds, or in seconds if one of them does not answer."""
    problems = [
        *_database_problems(DEFAULT, "postgresql", "PostgreSQL"),
        *_database_problems(CLINICAL, "mongodb", "MongoDB"),
    ]
    if any(problem.component == "mongodb" for problem in problems):
        return Readiness(problems, None)
    lag = events.lag()
    longest = settings.READY_EVENT_LAG_SECONDS
    if longest and lag.seconds > longest:
        detail = "Events have been waiting for longer than READY_EVENT_LAG_SECONDS allows."
        problems.append(ReadinessProblem("events", "late", detail))
    return Readiness(problems, lag)


def _database_problems(alias: str, component: str, name: str) -> list[ReadinessProblem]:
    try:
        unapplied = required_migrations() - _applied(alias)
    except (DatabaseError, ImproperlyConfigured):
        # The database is down, or misconfigured: MongoDB is no replica set, or the encryption key is wrong. The log has
        # the reason.
        return [ReadinessProblem(component, "unavailable", f"{name} cannot be used at the moment.")]
    if unapplied:
        return [
            ReadinessProblem(component, "migrations", f"{name} lacks migrations of this version ({len(unapplied)}).")
        ]
    return []


@cache
def required_migrations() -> frozenset[Migration]:
    """Return the migrations of this version, which both databases must have. They are read from the disk once."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.nodes)


def _applied(alias: str) -> frozenset[Migration]:
    """Return the migrations that a database has applied. Raises: DatabaseError, ImproperlyConfigured."""
    is_sql = alias == DEFAULT
    if is_sql and not circuit_breaker.postgresql.allows_request():
        raise DatabaseError("PostgreSQL did not answer a moment ago.")
    try:
        found = MigrationRecorder(connections[alias]).migration_qs.values_list("app", "name")
        applied = frozenset((app, name) for app, name in found)
    except ProgrammingError:
        # The database has no table of migrations: none was applied.
        applied = frozenset()
    except DatabaseError as error:
        if is_sql and is_outage(error):
            circuit_breaker.postgresql.record_failure()
        raise
    if is_sql:
        circuit_breaker.postgresql.record_success()
    return applied

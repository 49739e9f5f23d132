"""Writes of clinical data that happen together or not at all.

    @clinical_transaction
    def book_appointment(*, actor, patient_id, ...):
        ...

The service may run several times, so it touches nothing but MongoDB; what else has to happen is left to
`on_commit`. It swallows no database error: the server has aborted the transaction by then. Django's own
`transaction.atomic` does nothing on MongoDB.
"""

import functools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar, cast

from django.db import DatabaseError, connections
from django.db.transaction import TransactionManagementError
from pymongo.client_session import ClientSession
from pymongo.errors import ConfigurationError, PyMongoError

from healthcare.mongodb.base import DatabaseWrapper, is_unknown_commit
from healthcare.routers import CLINICAL

MAX_ATTEMPTS = 50
MAX_SECONDS = 10.0
# Pauses grow by half from the first to the longest, and each is a random part of that (the drivers' own
# figures).
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.5
WRITE_CONFLICT = 112

P = ParamSpec("P")
R = TypeVar("R")


class ClinicalWriteFailed(DatabaseError):
    """A clinical write that was tried until its time or its tries ran out.

    `is_outcome_unknown` says that a commit was sent and never confirmed: the write may be there. Otherwise
    nothing of it is. The driver's error is the `__cause__` of the cause.
    """

    def __init__(self, *, attempts: int, elapsed_seconds: float, cause: PyMongoError, is_outcome_unknown: bool):
        self.attempts = attempts
        self.elapsed_seconds = elapsed_seconds
        self.is_outcome_unknown = is_outcome_unknown
        outcome = "whether it was saved is not known" if is_outcome_unknown else "nothing of it was saved"
        tries = "once" if attempts == 1 else f"{attempts} times"
        super().__init__(
            f"The clinical write was tried {tries} in {elapsed_seconds:.1f} s and failed with "
            f"{_named(cause)}: {outcome}."
        )


@dataclass
class TransactionCounters:
    """What the transactions of this process have cost since it began; for metrics.

    attempts: transactions begun; retries: those begun again after a conflict; aborts: those rolled back, by a
    conflict or an error of the service; commits_resent: commits sent again because their outcome was unknown;
    failures: ClinicalWriteFailed. `heard_by` is told of each as well.
    """

    attempts: int = 0
    retries: int = 0
    aborts: int = 0
    commits_resent: int = 0
    failures: int = 0
    heard_by: Callable[[str, int], None] | None = field(default=None, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, name: str, number: int = 1) -> None:
        if not number:
            return
        with self._lock:
            setattr(self, name, getattr(self, name) + number)
        if self.heard_by is not None:
            self.heard_by(name, number)


counters = TransactionCounters()


def clinical_transaction(service: Callable[P, R]) -> Callable[P, R]:
    """Run a service in one transaction, again after a conflict; inside another such service, in that one's.

    Raises: ClinicalWriteFailed after the last try; TransactionManagementError when the service goes on after
    an error of a service it called; every other error of the service as it is, after the rollback, and not
    tried again. An error of an on-commit callback leaves the write as it is: stored, once.
    """

    @functools.wraps(service)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        connection = _connection()
        call = functools.partial(service, *args, **kwargs)
        return _join(connection, call) if connection.in_atomic_block_mongo else _run(connection, call)

    return wrapper


def in_transaction() -> bool:
    """Whether a clinical transaction is open in this thread."""
    return _connection().in_atomic_block_mongo


def session() -> ClientSession | None:
    """The driver's session of the open transaction; None outside one."""
    return _connection().session


def on_commit(callback: Callable[[], object]) -> None:
    """Run `callback` once, after the commit, or at once outside a transaction.

    Its errors are logged and not raised: they must not make a write that is stored look as if it had failed.
    """
    _connection().on_commit(callback, robust=True)


def _connection() -> DatabaseWrapper:
    return cast(DatabaseWrapper, connections[CLINICAL])


def _join(connection: DatabaseWrapper, call: Callable[[], R]) -> R:
    try:
        return call()
    except BaseException as error:
        connection.raised_inside = error
        raise


def _run(connection: DatabaseWrapper, call: Callable[[], R]) -> R:
    began = time.monotonic()
    give_up_at = began + MAX_SECONDS
    attempts = 0
    while True:
        attempts += 1
        counters.add("attempts")
        try:
            result = _attempt(connection, call, give_up_at)
            break
        except (DatabaseError, PyMongoError) as error:
            cause = _driver_error(error)
            if cause is None or not (_is_transient(cause) or is_unknown_commit(cause)):
                raise
            pause = _pause_seconds(attempts)
            if is_unknown_commit(cause) or attempts >= MAX_ATTEMPTS or time.monotonic() + pause >= give_up_at:
                counters.add("failures")
                raise ClinicalWriteFailed(
                    attempts=attempts,
                    elapsed_seconds=time.monotonic() - began,
                    cause=cause,
                    is_outcome_unknown=is_unknown_commit(cause),
                ) from error
            counters.add("retries")
            time.sleep(pause)
    # Outside the loop: what a callback raises must not begin the write again.
    connection.run_and_clear_commit_hooks()
    return result


def _attempt(connection: DatabaseWrapper, call: Callable[[], R], give_up_at: float) -> R:
    connection.begin()
    try:
        result = call()
        if connection.raised_inside is not None:
            message = (
                "A service that joined this transaction failed, and its caller went on: what it had written "
                "so far would be half of a write. Let its error pass."
            )
            raise TransactionManagementError(message) from connection.raised_inside
    except BaseException:
        counters.add("aborts")
        connection.rollback_mongo()
        raise
    counters.add("commits_resent", connection.commit_session(give_up_at=give_up_at))
    return result


def _driver_error(error: BaseException) -> PyMongoError | None:
    """The driver's error itself or the one that the engine wrapped; None for what only tells of another
    error."""
    if isinstance(error, DatabaseError) and not isinstance(error, ClinicalWriteFailed | TransactionManagementError):
        error = error.__cause__ or error
    return error if isinstance(error, PyMongoError) else None


def _is_transient(error: PyMongoError) -> bool:
    return (
        error.has_error_label("TransientTransactionError")
        or getattr(error, "code", None) == WRITE_CONFLICT
        or is_between_states(error)
    )


def is_between_states(error: PyMongoError) -> bool:
    """Whether a member was reached while it neither led nor followed, on its way back into the set.

    It names no session time-out then, from which the driver concludes that the deployment has no sessions, and refuses
    to send what is part of a transaction.
    """
    return isinstance(error, ConfigurationError) and str(error).startswith("Sessions are not supported")


def _pause_seconds(attempts: int) -> float:
    longest = min(FIRST_PAUSE_SECONDS * 1.5**attempts, LONGEST_PAUSE_SECONDS)
    return random.uniform(0, longest)  # noqa: S311


def _named(error: PyMongoError) -> str:
    """The error without its text, which quotes documents."""
    details = getattr(error, "details", None) or {}
    name = type(error).__name__
    return f"{name} ({details['codeName']})" if details.get("codeName") else name

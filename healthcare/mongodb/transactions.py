"""Clinical transactions: writes of clinical data that happen together or not at all.

    @clinical_transaction
    def book_appointment(*, actor, patient_id, ...):
        ...

The service may run several times, so it must touch nothing but MongoDB; other side effects belong in `on_commit`. The
service must not swallow a database error, because the server has aborted the transaction by then. Django's own
`transaction.atomic` has no effect on MongoDB.
"""

import functools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from django.db import DatabaseError
from django.db.transaction import TransactionManagementError
from pymongo.client_session import ClientSession
from pymongo.errors import ConfigurationError, PyMongoError

from healthcare.mongodb.base import DatabaseWrapper, clinical_connection, is_unknown_commit

MAX_ATTEMPTS = 50
MAX_SECONDS = 10.0
# The pauses before retries grow by half from the first to the longest, and each is a random part of that (the figures
# of MongoDB's drivers).
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.5
WRITE_CONFLICT = 112

P = ParamSpec("P")
R = TypeVar("R")


class ClinicalWriteFailed(DatabaseError):
    """A clinical write failed in each of its attempts.

    `is_outcome_unknown`: a commit was sent and never confirmed, so the write may be stored. Otherwise nothing of it is.
    The driver's error is the `__cause__` of the cause.
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
class TransactionStatistics:
    """Counts of the transactions that this process has begun, retried and given up since it started, for metrics.

    attempts: transactions begun; retries: those begun again after a conflict; aborts: those rolled back, because of a
    conflict or an error of the service; commits_resent: commits sent again because their outcome was unknown;
    failures: ClinicalWriteFailed. `observer` is called with the name and the number of each change.
    """

    attempts: int = 0
    retries: int = 0
    aborts: int = 0
    commits_resent: int = 0
    failures: int = 0
    observer: Callable[[str, int], None] | None = field(default=None, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, name: str, number: int = 1) -> None:
        if not number:
            return
        with self._lock:
            setattr(self, name, getattr(self, name) + number)
        if self.observer is not None:
            self.observer(name, number)


statistics = TransactionStatistics()


def clinical_transaction(service: Callable[P, R]) -> Callable[P, R]:
    """Run a service in one transaction, and again after a conflict. Inside another such service, join its transaction.

    Raises: ClinicalWriteFailed after the last attempt; TransactionManagementError if the service goes on after an error
    of a service that it called; any other error of the service unchanged, after the rollback and without a retry. An
    error of an on-commit callback does not undo the write.
    """

    @functools.wraps(service)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        connection = clinical_connection()
        call = functools.partial(service, *args, **kwargs)
        return _join(connection, call) if connection.in_atomic_block_mongo else _run(connection, call)

    return wrapper


def in_transaction() -> bool:
    """Return whether a clinical transaction is open in this thread."""
    return clinical_connection().in_atomic_block_mongo


def session() -> ClientSession | None:
    """Return the driver's session of the open transaction; None outside a transaction."""
    return clinical_connection().session


def on_commit(callback: Callable[[], object]) -> None:
    """Run `callback` once after the commit, or at once outside a transaction.

    Its errors are logged and not raised, because a stored write must not look as if it had failed.
    """
    clinical_connection().on_commit(callback, robust=True)


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
        statistics.add("attempts")
        try:
            result = _attempt(connection, call, give_up_at)
            break
        except (DatabaseError, PyMongoError) as error:
            cause = _driver_error(error)
            if cause is None or not (_is_transient(cause) or is_unknown_commit(cause)):
                raise
            pause = _pause_seconds(attempts)
            if is_unknown_commit(cause) or attempts >= MAX_ATTEMPTS or time.monotonic() + pause >= give_up_at:
                statistics.add("failures")
                raise ClinicalWriteFailed(
                    attempts=attempts,
                    elapsed_seconds=time.monotonic() - began,
                    cause=cause,
                    is_outcome_unknown=is_unknown_commit(cause),
                ) from error
            statistics.add("retries")
            time.sleep(pause)
    # The callbacks run outside the loop, because an error of a callback must not start the write again.
    connection.run_and_clear_commit_hooks()
    return result


def _attempt(connection: DatabaseWrapper, call: Callable[[], R], give_up_at: float) -> R:
    connection.begin()
    try:
        result = call()
        if connection.raised_inside is not None:
            message = (
                "A service that joined this transaction failed, and its caller went on: a commit would store only "
                "half of its write. Let its error pass."
            )
            raise TransactionManagementError(message) from connection.raised_inside
    except BaseException:
        statistics.add("aborts")
        connection.rollback_mongo()
        raise
    statistics.add("commits_resent", connection.commit_session(give_up_at=give_up_at))
    return result


def _driver_error(error: BaseException) -> PyMongoError | None:
    """Return the driver's error, unwrapped if the engine wrapped it; None for an error that only reports another."""
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
    """Return whether the error came from a member that was neither primary nor secondary, on its way back into the set.

    Such a member reports no session time-out. The driver concludes that the deployment has no sessions and refuses to
    send a command of a transaction.
    """
    return isinstance(error, ConfigurationError) and str(error).startswith("Sessions are not supported")


def _pause_seconds(attempts: int) -> float:
    longest = min(FIRST_PAUSE_SECONDS * 1.5**attempts, LONGEST_PAUSE_SECONDS)
    return random.uniform(0, longest)  # noqa: S311


def _named(error: PyMongoError) -> str:
    """Return the name of the error without its text, which quotes documents."""
    details = getattr(error, "details", None) or {}
    name = type(error).__name__
    return f"{name} ({details['codeName']})" if details.get("codeName") else name

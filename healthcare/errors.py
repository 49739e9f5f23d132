"""Errors that services and queries raise, as facts about the request, without knowledge of HTTP.

The API turns them into problem details (`healthcare.api.problem_details`), the admin into sentences on a form.
"""

from http import HTTPStatus
from typing import TypeVar

from django.db import InterfaceError, OperationalError
from pymongo.errors import ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError, WTimeoutError

from healthcare.mongodb.encryption import KeyProblem
from healthcare.mongodb.transactions import ClinicalWriteFailed

T = TypeVar("T")


class DomainError(Exception):
    """A fact that keeps a request from being carried out. `detail` is a sentence for the person who asked."""

    status = HTTPStatus.BAD_REQUEST
    code = "refused"
    #: When it is worth asking again.
    wait_seconds: int | None = None

    def __init__(
        self, detail: str, *, code: str | None = None, field: str | None = None, row: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.field = field
        #: Which of a field's values it is about, for a form that shows them one by one.
        self.row = row


class InvalidValue(DomainError):
    """A value in the request is not acceptable; `field` names it."""

    code = "invalid"


class NotAllowed(DomainError):
    """The actor may never do this."""

    status = HTTPStatus.FORBIDDEN
    code = "permission_denied"


class NotVisible(DomainError):
    """There is no such thing, or none that the actor may know of; the answer is the same."""

    status = HTTPStatus.NOT_FOUND
    code = "not_found"

    def __init__(self, detail: str = "There is no such resource.") -> None:
        super().__init__(detail)


def required(found: T | None) -> T:
    """What was found. Raises: NotVisible when nothing was."""
    if found is None:
        raise NotVisible
    return found


class Conflict(DomainError):
    """The state of the data does not admit it: a duplicate, a final status, something in the way."""

    status = HTTPStatus.CONFLICT
    code = "conflict"


def is_outage(error: BaseException | None) -> bool:
    """Whether a database could not be reached or did not answer in time, anywhere in the chain of causes."""
    while error is not None:
        if isinstance(
            error,
            ConnectionFailure
            | ExecutionTimeout
            | WTimeoutError
            | WaitQueueTimeoutError
            | ClinicalWriteFailed
            | OperationalError
            | InterfaceError
            # A process that started while MongoDB was out learns only now that it has the wrong key.
            | KeyProblem,
        ):
            return True
        error = error.__cause__
    return False

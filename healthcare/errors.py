"""Errors that services and queries raise: facts about a request, which the API and the admin translate.

The API makes problem details of them (`healthcare.api.problem_details`), the admin makes sentences on a form.
"""

from http import HTTPStatus
from typing import TypeVar

from django.db import InterfaceError, OperationalError
from pymongo.errors import ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError, WTimeoutError

from healthcare.mongodb.encryption import KeyProblem
from healthcare.mongodb.transactions import ClinicalWriteFailed

T = TypeVar("T")


class DomainError(Exception):
    """A reason why a request cannot be carried out. `detail` is a sentence for the person who sent the request."""

    status = HTTPStatus.BAD_REQUEST
    code = "refused"
    #: After how many seconds a retry can succeed.
    wait_seconds: int | None = None

    def __init__(
        self, detail: str, *, code: str | None = None, field: str | None = None, row: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.field = field
        #: The position of the wrong value in a list field, for a form that shows the values one by one.
        self.row = row


class InvalidValue(DomainError):
    """A value in the request is not acceptable; `field` names it."""

    code = "invalid"


class NotAllowed(DomainError):
    """The actor's role does not permit this action."""

    status = HTTPStatus.FORBIDDEN
    code = "permission_denied"


class NotVisible(DomainError):
    """There is no such record, or the actor may not know of it. The answer is the same in both cases."""

    status = HTTPStatus.NOT_FOUND
    code = "not_found"

    def __init__(self, detail: str = "There is no such resource.") -> None:
        super().__init__(detail)


def required(found: T | None) -> T:
    """Return what was found. Raises: NotVisible if nothing was."""
    if found is None:
        raise NotVisible
    return found


class Conflict(DomainError):
    """The state of the data does not permit the action, because of a duplicate or a final status, for example."""

    status = HTTPStatus.CONFLICT
    code = "conflict"


def is_outage(error: BaseException | None) -> bool:
    """Return whether a database could not be reached or did not answer in time; all causes of the error count."""
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
            # A process that started while MongoDB was out finds only later that its master key is wrong.
            | KeyProblem,
        ):
            return True
        error = error.__cause__
    return False

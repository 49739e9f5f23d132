"""The clinical records that belong to an account.

Apps with such records import `accounts`, and `accounts` must not import them. Therefore each of these apps registers a
function here that returns the id of an account's record (`PatientsConfig.ready`).
"""

from collections.abc import Callable
from typing import Protocol

from accounts.models import User

RecordIdLookup = Callable[[User], str | None]


class SignUp(Protocol):
    """Service that creates an account without a password, and its record, for a login with a provider."""

    def __call__(self, *, email: str, name: str) -> User: ...


_lookups: dict[str, RecordIdLookup] = {}
_sign_ups: list[SignUp] = []


def register_record_id(name: str, lookup: RecordIdLookup) -> None:
    """Add `name` (such as "patient_id") to the response of /auth/me, with the id that `lookup` returns."""
    _lookups[name] = lookup


def record_ids_of(user: User) -> dict[str, str | None]:
    """Return name → id of the records that belong to the account; None for a record that does not exist."""
    return {name: lookup(user) for name, lookup in _lookups.items()}


def register_sign_up(service: SignUp) -> None:
    """Set the service that creates the account of a person who logs in with a provider for the first time."""
    _sign_ups[:] = [service]


def sign_up(*, email: str, name: str) -> User:
    """Create the account of a person who logs in with a provider. Raises: EmailTaken."""
    (service,) = _sign_ups
    return service(email=email, name=name)

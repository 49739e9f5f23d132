"""Which clinical records belong to an account.

The rooms that keep such records import accounts, never the other way round: each registers here how to find its own
(`PatientsConfig.ready`), and accounts asks without knowing whom.
"""

from collections.abc import Callable
from typing import Protocol

from accounts.models import User

RecordFinder = Callable[[User], str | None]


class NewcomerMaker(Protocol):
    """Makes an account without a password, and its record, for somebody whom a provider has vouched for."""

    def __call__(self, *, email: str, name: str) -> User: ...


_finders: dict[str, RecordFinder] = {}
_newcomer_makers: list[NewcomerMaker] = []


def register_finder(name: str, find: RecordFinder) -> None:
    """Have `me` answer `name` (such as "patient_id") with what `find` says for the account."""
    _finders[name] = find


def records_of(user: User) -> dict[str, str | None]:
    """The ids of the records that are tied to the account, None where there is none."""
    return {name: find(user) for name, find in _finders.items()}


def register_newcomer_maker(make: NewcomerMaker) -> None:
    """Have `make` make the account of whoever logs in by a provider for the first time."""
    _newcomer_makers[:] = [make]


def make_newcomer(*, email: str, name: str) -> User:
    """Raises: EmailTaken."""
    (make,) = _newcomer_makers
    return make(email=email, name=name)

"""Which clinical records belong to an account.

The rooms that keep such records import accounts, never the other way round: each registers here how to find its own
(`PatientsConfig.ready`), and accounts asks without knowing whom.
"""

from collections.abc import Callable

from accounts.models import User

RecordFinder = Callable[[User], str | None]


_finders: dict[str, RecordFinder] = {}


def register_finder(name: str, find: RecordFinder) -> None:
    """Have `me` answer `name` (such as "patient_id") with what `find` says for the account."""
    _finders[name] = find


def records_of(user: User) -> dict[str, str | None]:
    """The ids of the records that are tied to the account, None where there is none."""
    return {name: find(user) for name, find in _finders.items()}

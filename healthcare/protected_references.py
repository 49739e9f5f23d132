"""Protected references: a record cannot be deleted while records of other apps refer to it (PROTECT across databases).

The apps know of one another's references only through this module, because appointments cannot import prescriptions or
billing. Each app registers the references that it holds (`ready()` of its AppConfig), and a delete counts them all.
"""

from collections.abc import Callable
from typing import NamedTuple

from healthcare.errors import Conflict

#: Counting ends at this number, because "1000 or more" is as good a reason as the exact number.
COUNT_LIMIT = 1000


class _Reference(NamedTuple):
    plural: str
    count: Callable[[str], int]


_references: dict[str, list[_Reference]] = {}


class StillReferenced(Conflict):
    """The record cannot be deleted, because other records refer to it."""

    code = "referenced"


def register(kind: str, plural: str, count: Callable[[str], int]) -> None:
    """Register that records (`plural`, such as "prescriptions") refer to a `kind`; `count(key)` returns how many do."""
    _references.setdefault(kind, []).append(_Reference(plural, count))


def raise_if_referenced(kind: str, key: str) -> None:
    """Raise StillReferenced if other records refer to this one, and say which and how many."""
    found = [(reference.plural, reference.count(key)) for reference in _references.get(kind, [])]
    references = [_counted(number, plural) for plural, number in found if number]
    if references:
        raise StillReferenced(f"This {kind} cannot be deleted: it is named by {', '.join(references)}.")


def _counted(number: int, plural: str) -> str:
    if number == 1:
        return f"1 {plural.removesuffix('s')}"
    return f"{number} or more {plural}" if number >= COUNT_LIMIT else f"{number} {plural}"

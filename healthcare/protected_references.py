"""What still names a record, asked before it is deleted.

A room knows what names it only through this: appointments cannot import prescriptions or billing. Each room registers
the references that it holds (`ready()` of its AppConfig), and a delete asks for all of them.
"""

from collections.abc import Callable
from typing import NamedTuple

from healthcare.errors import Conflict

#: Counting stops here: "1000 or more" is as good a reason as the number.
COUNT_LIMIT = 1000


class _Reference(NamedTuple):
    what: str
    count: Callable[[str], int]


_references: dict[str, list[_Reference]] = {}


class StillReferenced(Conflict):
    code = "referenced"


def register(kind: str, what: str, count: Callable[[str], int]) -> None:
    """Say that `what` (such as "prescriptions") may name a `kind`; `count(key)` tells how many do."""
    _references.setdefault(kind, []).append(_Reference(what, count))


def raise_if_referenced(kind: str, key: str) -> None:
    """Raises: StillReferenced, naming what is in the way and how much of it."""
    found = [(reference.what, reference.count(key)) for reference in _references.get(kind, [])]
    in_the_way = [_counted(number, what) for what, number in found if number]
    if in_the_way:
        raise StillReferenced(f"This {kind} cannot be deleted: it is named by {', '.join(in_the_way)}.")


def _counted(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what.removesuffix('s')}"
    return f"{number} or more {what}" if number >= COUNT_LIMIT else f"{number} {what}"

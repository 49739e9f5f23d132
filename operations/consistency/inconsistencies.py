"""Types and queries that all checks use: inconsistencies, counts and batches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.db import models, reset_queries

from healthcare import clock
from healthcare.mongodb import raw

T = TypeVar("T")

#: Number of keys in one query.
BATCH = 1_000

#: A younger document may be the first of two writes, of which the second goes to the other database: the record of a
#: registration is visible before its account, and the visits of an import before their bills.
GRACE_PERIOD = timedelta(minutes=1)

#: Repairs an inconsistency if it still exists. Returns the reason if it cannot be repaired, else None.
Repair = Callable[[], str | None]


class Inconsistency(NamedTuple):
    """A confirmed difference. `sentence` contains ids and no names. If `repair` is None, a person must decide."""

    ids: tuple[str, ...]
    sentence: str
    repair: Repair | None = None


@dataclass
class CheckCounts:
    """How many records a check has compared, and how many differ. `on_change` is called while it compares."""

    on_change: Callable[["CheckCounts"], None]
    compared: int = 0
    differences: int = 0
    repaired: int = 0

    def add_compared(self, number: int) -> None:
        self.compared += number
        self.on_change(self)

    @property
    def remaining(self) -> int:
        return self.differences - self.repaired


class Check(NamedTuple):
    """A check by its name on the command line."""

    name: str
    description: str
    find: Callable[[CheckCounts], Iterator[Inconsistency]]


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield lists of up to `size` items."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
        # With DEBUG, Django keeps the text of every query, and each query of a check contains a batch of keys.
        reset_queries()


def documents_of(
    model: type[models.Model], keys: Iterable[object], fields: Iterable[str] = ("_id",)
) -> dict[Any, raw.Document]:
    """Return the existing documents with these keys, by `_id`."""
    found = raw.collection(model).find({"_id": {"$in": list(keys)}}, projection=list(fields))
    return {document["_id"]: document for document in found}


def is_past_grace_period(document: raw.Document) -> bool:
    """Return whether a document is older than GRACE_PERIOD. A document without `created_at` counts as old."""
    created_at = document.get("created_at")
    return created_at is None or created_at <= clock.now() - GRACE_PERIOD


def pluralize(number: int, singular: str) -> str:
    """Return a number with its noun, such as "1 claim" or "1,200 claims"."""
    return f"{number:,} {singular}" if number == 1 else f"{number:,} {singular}s"

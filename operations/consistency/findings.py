"""What a check finds, and how much it looked at."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.db import models, reset_queries

from healthcare import clock
from healthcare.mongodb import raw

T = TypeVar("T")

#: How many keys one question names.
BATCH = 1_000

#: What is younger may be the first half of two writes, of which the second goes to the other database: a registration's
#: record before its account is there for all, an import's visits before their bills.
SETTLING = timedelta(minutes=1)

#: Mends what was found, if it is still there; answers why it cannot be mended, None when it is.
Repair = Callable[[], str | None]


class Finding(NamedTuple):
    """A difference that was confirmed. `sentence` names ids and never people; without `repair` it takes a person."""

    ids: tuple[str, ...]
    sentence: str
    repair: Repair | None = None


@dataclass
class Tally:
    """How much a check has compared and found; `on_growth` hears of it as it compares."""

    on_growth: Callable[["Tally"], None]
    compared: int = 0
    differences: int = 0
    repaired: int = 0

    def count(self, compared: int) -> None:
        self.compared += compared
        self.on_growth(self)

    @property
    def left(self) -> int:
        return self.differences - self.repaired


class Check(NamedTuple):
    name: str
    about: str
    find: Callable[[Tally], Iterator[Finding]]


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    source = iter(items)
    while some := list(islice(source, size)):
        yield some
        # With DEBUG on Django keeps the texts of thousands of queries, each of which names a batch of keys.
        reset_queries()


def documents_of(
    model: type[models.Model], keys: Iterable[Any], fields: Iterable[str] = ("_id",)
) -> dict[Any, raw.Document]:
    """The documents that there are of these keys, by `_id`."""
    found = raw.collection(model).find({"_id": {"$in": list(keys)}}, projection=list(fields))
    return {document["_id"]: document for document in found}


def is_settled(document: raw.Document) -> bool:
    """Whether a document is older than SETTLING; one that does not say counts as old."""
    created_at = document.get("created_at")
    return created_at is None or created_at <= clock.now() - SETTLING


def amount(number: int, resource: str) -> str:
    return f"{number:,} {resource}" if number == 1 else f"{number:,} {resource}s"

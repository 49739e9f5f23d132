"""Lookups for what MongoDB's indexes can do and the backend has no word for.

`name__search="ali raza"` uses the text index, `diseases__has="Diabetes"` the multikey index. Both stand in `filter()`
like any other lookup, so that visibility, order and paging compose with them.
"""

import re
from typing import Any

from django.db.models import CharField, Lookup
from django.db.models.lookups import Exact
from django_mongodb_backend.fields import ArrayField

_WORD = re.compile(r"\w+")
MAX_SEARCH_WORDS = 10


def text_search_expression(words: str) -> str:
    """The `$text` search for documents that hold all of the words.

    Plain terms would find documents with any of them, so each is put as a phrase; quotes and the minus sign, which
    are operators there, never reach it. Empty when there is nothing to look for.
    """
    return " ".join(f'"{word}"' for word in _WORD.findall(words)[:MAX_SEARCH_WORDS])


@CharField.register_lookup
class TextSearch(Lookup):
    """`field__search`: all of the words, in any order, by the collection's text index."""

    lookup_name = "search"
    prepare_rhs = False

    def as_mql(self, compiler: Any, connection: Any, as_expr: bool = False) -> dict[str, Any]:
        return {"$text": {"$search": text_search_expression(str(self.rhs))}}


@ArrayField.register_lookup
class ArrayHas(Exact):
    """`array__has`: one of the elements equals the value."""

    lookup_name = "has"
    prepare_rhs = False

    def get_prep_lookup(self) -> Any:
        return self.rhs

    def as_mql(self, compiler: Any, connection: Any, as_expr: bool = False) -> dict[str, Any]:
        return {self.lhs.as_mql(compiler, connection): self.rhs}

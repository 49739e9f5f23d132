"""Lookups for index types of MongoDB for which django-mongodb-backend has none.

`name__search="ali raza"` uses the text index, `diseases__has="Diabetes"` a multikey index. Both work in `filter()`
like any other lookup, so that they combine with visibility, order and paging.
"""

import re
from typing import Any

from django.db.models import CharField, Lookup
from django.db.models.lookups import Exact
from django_mongodb_backend.fields import ArrayField

from healthcare.mongodb.documents import Document

_WORD = re.compile(r"\w+")
MAX_SEARCH_WORDS = 10


def text_search_expression(words: str) -> str:
    """Return the `$text` search for documents that contain all of the words; empty if there are no words.

    Plain terms would find documents that contain any of them, so each word becomes a phrase. Quotes and minus signs,
    which are operators, are removed.
    """
    return " ".join(f'"{word}"' for word in _WORD.findall(words)[:MAX_SEARCH_WORDS])


@CharField.register_lookup
class TextSearch(Lookup):
    """The lookup `field__search`: all of the words, in any order, by the collection's text index."""

    lookup_name = "search"
    prepare_rhs = False

    def as_mql(self, compiler: object, connection: object, as_expr: bool = False) -> Document:
        return {"$text": {"$search": text_search_expression(str(self.rhs))}}


@ArrayField.register_lookup
class ArrayHas(Exact):
    """The lookup `array__has`: one of the elements equals the value."""

    lookup_name = "has"
    prepare_rhs = False

    def get_prep_lookup(self) -> Any:
        return self.rhs

    def as_mql(self, compiler: object, connection: object, as_expr: bool = False) -> Document:
        return {self.lhs.as_mql(compiler, connection): self.rhs}

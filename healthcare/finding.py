"""Finding a person's record by what somebody types of the name."""

from typing import Any

from django.db.models import QuerySet

#: Behind every text that begins the same, by code point.
_LAST = "\U0010ffff"


def by_words(visible: QuerySet[Any], words: str, *, at_most: int) -> list[Any]:
    """Rows whose id is `words`, whose name begins with them, or holds all of them as whole words; in this order.

    Each of the three is one indexed query (primary key, name, text of the name), and the later ones are not asked when
    the first have found enough. Nothing is found by no words.
    """
    if not words:
        return []
    visible = visible.order_by("name", "pk")
    found = {row.pk: row for row in visible.filter(pk=words)}
    for fitting in (visible.filter(name__gte=words, name__lt=words + _LAST), visible.filter(name__search=words)):
        if len(found) < at_most:
            found |= {row.pk: row for row in fitting[:at_most] if row.pk not in found}
    return list(found.values())[:at_most]

"""Names of people, specialties and diseases as Synthea writes them."""

import re
import string
from pathlib import Path

from datasets.data_files import read_table

#: SNOMED CT's semantic tags, which end a fully specified name → whether a term with the tag names a disease.
SEMANTIC_TAGS = {
    row["tag"]: row["names_a_disease"] == "yes"
    for row in read_table(Path(__file__).parent / "data" / "snomed_semantic_tags.csv")
}
_TAGGED = re.compile(r"(?P<term>.*\S)\s*\((?P<tag>[^()]+)\)", re.DOTALL)
_NUMBERED = re.compile(r"(?<=[^\W\d])\d+\b")
_LOWER_CASE_WORDS = frozenset({"and", "for", "in", "of", "the"})


def disease_name(description: str) -> str | None:
    """Return the disease that a description names, or None if its semantic tag is another, such as "(finding)".

    Parentheses that hold no semantic tag belong to the name. An empty description names no disease.
    """
    text = description.strip()
    tagged = _TAGGED.fullmatch(text)
    if tagged is None:
        return text or None
    names_disease = SEMANTIC_TAGS.get(tagged["tag"].strip().lower())
    if names_disease is None:
        return text
    return tagged["term"] if names_disease else None


def person_name(*parts: str) -> str:
    """Join the parts to one name, without the digits that Synthea appends to each word ("Maynard46")."""
    return " ".join(_NUMBERED.sub("", " ".join(parts)).split())


def specialty_name(text: str) -> str:
    """Return "General Practice" for "GENERAL PRACTICE"; leave a name that has lower-case letters as it is."""
    if not text.isupper():
        return text.strip()
    first, *others = string.capwords(text).split(" ")
    return " ".join([first, *(word.lower() if word.lower() in _LOWER_CASE_WORDS else word for word in others)])

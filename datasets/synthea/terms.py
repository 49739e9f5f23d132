"""Names of people and of diseases as Synthea writes them."""

import re
import string

#: SNOMED CT's semantic tags, which end a fully specified name; "disorder" is the one of diseases.
#: Source: SNOMED CT Editorial Guide, "Semantic tag".
DISORDER = "disorder"
OTHER_TAGS = frozenset(
    (
        "administrative concept",
        "assessment scale",
        "attribute",
        "body structure",
        "cell",
        "cell structure",
        "clinical drug",
        "context-dependent category",
        "disposition",
        "dose form",
        "environment",
        "environment / location",
        "ethnic group",
        "event",
        "finding",
        "geographic location",
        "intended site",
        "life style",
        "medicinal product",
        "medicinal product form",
        "morphologic abnormality",
        "navigational concept",
        "observable entity",
        "occupation",
        "organism",
        "person",
        "physical force",
        "physical object",
        "procedure",
        "product",
        "product name",
        "qualifier value",
        "racial group",
        "record artifact",
        "regime/therapy",
        "religion/philosophy",
        "role",
        "situation",
        "social concept",
        "specimen",
        "staging scale",
        "state of matter",
        "substance",
        "tumor staging",
        "unit of presentation",
    )
)
_TAGGED = re.compile(r"(?P<term>.*\S)\s*\((?P<tag>[^()]+)\)", re.DOTALL)
_NUMBERED = re.compile(r"(?<=[^\W\d])\d+\b")
_SMALL_WORDS = frozenset({"and", "for", "in", "of", "the"})


def disease_of(description: str) -> str | None:
    """The disease that a description names; None when it names none: "(finding)", "(situation)", nothing at all.

    A parenthesis that is no semantic tag belongs to the name.
    """
    text = description.strip()
    tagged = _TAGGED.fullmatch(text)
    tag = tagged["tag"].strip().lower() if tagged else ""
    if tag in OTHER_TAGS:
        return None
    return (tagged["term"] if tagged and tag == DISORDER else text) or None


def person_name(*parts: str) -> str:
    """The parts as one name, without the digits that Synthea hangs on each word ("Maynard46")."""
    return " ".join(_NUMBERED.sub("", " ".join(parts)).split())


def specialty_name(text: str) -> str:
    """ "GENERAL PRACTICE" as "General Practice"; what has small letters already is left alone."""
    if not text.isupper():
        return text.strip()
    first, *others = string.capwords(text).split(" ")
    return " ".join([first, *(word.lower() if word.lower() in _SMALL_WORDS else word for word in others)])

"""Identifiers use the field's standard terms; the words of an earlier private vocabulary stay out (CONTRIBUTING.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)
FOLDERS = (
    "healthcare", "accounts", "patients", "doctors", "appointments", "prescriptions", "billing", "audit", "reports",
    "operations", "datasets", "benchmarks", "devstack", "tests",
)  # fmt: skip

#: Old word → the standard term. A word stands for its plural as well.
OLD_WORDS = {
    "lane": "request path",
    "heard": "acknowledged",
    "hears": "handles",
    "told": "delivered",
    "deed": "action",
    "noun": "resource",
    "verb": "action",
    "premise": "precondition",
    "refusal": "DomainError, denied access",
    "finder": "autocomplete, name search",
    "breaker": "circuit breaker",
    "room": "app",
    "newcomer": "new account",
    "trail": "audit log, audit context",
    "throttle": "rate limit",
    "orphan": "transaction of a dead process",
}
#: Old phrases, as words joined by underscores.
OLD_PHRASES = {
    "held_back": "defer_delivery",
    "set_aside": "dead letter",
    "take_up_again": "requeue",
    "short_way": "fast path",
    "long_way": "normal path",
    "answer_program": "dispatch",
    "refuse_if_named": "raise_if_referenced",
    "may_assume": "may_defer_check",
    "on_record": "recorded",
    "found_at_most": "MAX_RESULTS",
    "document_visible": "get_visible",
    "documents_visible_to": "visible_to",
}
#: Names of the field or of a library that contain an old word.
STANDARD = {
    "circuit_breaker", "CircuitBreaker", "throttle_classes", "Throttled", "throttled", "WHITENOISE_USE_FINDERS",
    "add_files_from_finders",
}  # fmt: skip


def words_of(identifier: str) -> list[str]:
    """Return the lower-case words of an identifier: "RoomViewSet" and "room_view_set" give room, view, set."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", identifier)]


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every name that a module defines or uses, with its line; the module's own name first."""
    yield 0, path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield node.lineno, name


def old_terms_in(identifier: str) -> list[str]:
    if identifier in STANDARD:
        return []
    words = words_of(identifier)
    singular = {word.removesuffix("s") for word in words} | set(words)
    joined = f"_{'_'.join(words)}_"
    return [*(word for word in OLD_WORDS if word in singular), *(p for p in OLD_PHRASES if f"_{p}_" in joined)]


def test_an_old_word_is_noticed() -> None:
    assert old_terms_in("RoomViewSet") == ["room"]
    assert old_terms_in("audit_trail") == ["trail"]
    assert old_terms_in("events.held_back".partition(".")[2]) == ["held_back"]
    assert old_terms_in("planes") == old_terms_in("adverbial") == old_terms_in("circuit_breaker") == []


def test_identifiers_use_standard_terms() -> None:
    found = sorted(
        {
            f"{path.relative_to(ROOT).as_posix()}:{line} {name}: say {({**OLD_WORDS, **OLD_PHRASES})[term]}"
            for folder in FOLDERS
            for path in (ROOT / folder).rglob("*.py")
            if path.name != Path(__file__).name and not {"migrations", "data"} & set(path.relative_to(ROOT).parts)
            for line, name in identifiers(path)
            for term in old_terms_in(name)
        }
    )
    assert found == []

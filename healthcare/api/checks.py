"""System checks that keep a door from being forgotten open."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern, URLResolver, get_resolver


def api_actions(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Every routed view of the API as (path, view class, HTTP method → action)."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from api_actions(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and hasattr(pattern.callback, "cls"):
            yield path, pattern.callback.cls, getattr(pattern.callback, "actions", None) or {}


@register(Tags.security)
def every_action_has_a_row(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Each routed action of the API names its roles in the view's table, and what it is on record as."""
    from healthcare.api.views import ACTION_NAMES

    messages: list[CheckMessage] = []
    for path, view, actions in api_actions():
        if not path.startswith("api"):
            continue
        table = getattr(view, "allowed", {})
        messages += [
            Error(
                f"{view.__name__}.{action} ({path}) has no row in its permission table.",
                hint="Add the action and its roles to the room's permissions.py.",
                id="healthcare.E001",
            )
            for action in sorted(set(actions.values()) - set(table))
        ]
        if hasattr(view, "deed"):
            messages += [
                Error(
                    f"{view.__name__}.{action} ({path}) has no name in the audit trail.",
                    hint="Give the view a `resource`, and the action a action_name in `action_names`.",
                    id="healthcare.E003",
                )
                for action in sorted(set(actions.values()))
                if not hasattr(view, "resource") or action not in {**ACTION_NAMES, **view.action_names}
            ]
        if not actions:
            messages.append(
                Error(f"{view.__name__} ({path}) is no viewset, so no table covers it.", id="healthcare.E002")
            )
    return messages

"""System checks of the API's views: a missing or misspelled declaration keeps the server from starting.

docs/roles.md describes the role tables, docs/audit.md the names of actions in the audit log.
"""

from collections.abc import Collection, Iterator
from types import FunctionType
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.viewsets import GenericViewSet

#: Class attributes of a ResourceViewSet whose keys or members are names of actions.
BY_ACTION = (
    "allowed",
    "action_names",
    "request_serializers",
    "response_serializers",
    "query_serializers",
    "created_responses",
    "empty_responses",
    "redirect_responses",
    "list_responses",
    "extra_statuses",
)
#: Attributes that DRF's `as_view` sets on the class itself.
_SET_BY_AS_VIEW = frozenset({"name", "description", "suffix", "detail", "basename"})


def api_actions(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Yield (path, view class, {HTTP method: action}) for every routed DRF view."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from api_actions(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and hasattr(pattern.callback, "cls"):
            yield path, pattern.callback.cls, getattr(pattern.callback, "actions", None) or {}


@register(Tags.security)
def check_actions(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that each routed action of the API has a row in its role table and a name in the audit log."""
    from healthcare.api.views import ACTION_NAMES, ResourceViewSet

    messages: list[CheckMessage] = []
    for path, view, actions in api_actions():
        if not path.startswith("api"):
            continue
        table = getattr(view, "allowed", {})
        messages += [
            Error(
                f"{view.__name__}.{action} ({path}) has no row in its role table.",
                hint="Add the action and its roles to the app's permissions.py.",
                id="healthcare.E001",
            )
            for action in sorted(set(actions.values()) - set(table))
        ]
        if issubclass(view, ResourceViewSet):
            messages += [
                Error(
                    f"{view.__name__}.{action} ({path}) has no name in the audit log.",
                    hint="Give the view a `resource`, and the action a name in `action_names`.",
                    id="healthcare.E003",
                )
                for action in sorted(set(actions.values()))
                if not view.resource or action not in {**ACTION_NAMES, **view.action_names}
            ]
        if not actions:
            messages.append(
                Error(f"{view.__name__} ({path}) is not a viewset, so no role table covers it.", id="healthcare.E002")
            )
    return messages


@register
def check_declarations(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check the class attributes of every routed ResourceViewSet; `/healthz` and `/readyz` included."""
    from healthcare.api.views import ResourceViewSet

    views = {view for _, view, _ in api_actions() if issubclass(view, ResourceViewSet)}
    return [message for view in sorted(views, key=lambda view: view.__name__) for message in declaration_errors(view)]


def declaration_errors(view: Any) -> list[CheckMessage]:
    """Return an error for each class attribute that nothing reads, and each action named that the view does not have.

    E010: a class attribute that is not a method, not DRF's, and not declared on ResourceViewSet: `reponse_serializers`.
    E011: a mapping or set by action that names an action without a method: `{"retreive": PatientOut}`.
    """
    from healthcare.api.views import ResourceViewSet

    own_classes = [each for each in view.__mro__ if each not in ResourceViewSet.__mro__]
    declared = {name for each in own_classes for name in vars(each) if not name.startswith("__")}
    methods = {name for name in declared if _is_method(view, name)}
    known = methods | vars(ResourceViewSet).keys() | _SET_BY_AS_VIEW
    messages: list[CheckMessage] = [
        Error(
            f"{view.__name__}.{name} is a class attribute that nothing reads.",
            hint="Correct its spelling, or declare it on healthcare.api.views.ResourceViewSet.",
            id="healthcare.E010",
        )
        for name in sorted(declared - known)
        if not hasattr(GenericViewSet, name)
    ]
    for attribute in BY_ACTION:
        named: Collection[str] = getattr(view, attribute) if attribute in declared else ()
        messages += [
            Error(
                f"{view.__name__}.{attribute} names the action {action!r}, which the view does not have.",
                hint="Correct the name, or write the method.",
                id="healthcare.E011",
            )
            for action in sorted(set(named) - methods)
        ]
    return messages


def _is_method(view: Any, name: str) -> bool:
    found = next(vars(each)[name] for each in view.__mro__ if name in vars(each))
    return isinstance(found, FunctionType | classmethod | staticmethod | property)

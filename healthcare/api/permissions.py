"""Who may call what: every view has a table of action → roles, and what is not in it is denied.

A room keeps its table in its own `permissions.py`. A system check (`healthcare.api.checks`) fails for a routed action that
has no row, so that forgetting one closes the door and stops the start, never opens it.
"""

from collections.abc import Mapping, Set
from typing import Any

from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

#: In the place of a set of roles: anybody, also without an account.
ANYONE: frozenset[str] = frozenset({"anyone"})
#: Any account, whatever its role.
ANY_ACCOUNT: frozenset[str] = frozenset({"patient", "doctor", "staff", "admin"})

RoleTable = Mapping[str, Set[str]]


class RoleTablePermission(BasePermission):
    """401 without an account, 403 for a role that is not in the action's row."""

    def has_permission(self, request: Request, view: Any) -> bool:
        action = view.action
        if action is None or (request.method or "").lower() not in view.http_method_names:
            # No such method here, for nobody: 405 says more than 401 and gives nothing away. (OPTIONS has an action in
            # DRF, "metadata", also where the view does not take it.)
            raise exceptions.MethodNotAllowed(request.method or "")
        roles = view.allowed[action]
        if roles is ANYONE:
            return True
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
        return request.user.role in roles

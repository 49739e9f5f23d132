"""Role tables: each view has a table of action → roles, and an action without a row is denied.

An app keeps its tables in its `permissions.py`. A system check (`healthcare.api.checks`) fails for a routed action
without a row, so that a forgotten row keeps the server from starting. docs/api.md lists the tables of all apps.
"""

from collections.abc import Mapping, Set
from typing import Any

from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

#: In place of a set of roles: everybody, with or without an account.
ANYONE: frozenset[str] = frozenset({"anyone"})
#: Every account, in any role.
ANY_ACCOUNT: frozenset[str] = frozenset({"patient", "doctor", "staff", "admin"})

RoleTable = Mapping[str, Set[str]]


class RoleTablePermission(BasePermission):
    """Permission by role table: 401 without an account, 403 for a role that is not in the action's row."""

    def has_permission(self, request: Request, view: Any) -> bool:
        action = view.action
        if action is None or (request.method or "").lower() not in view.http_method_names:
            # The view has no such method for anybody, so that 405 discloses nothing and says more than 401. DRF gives
            # OPTIONS the action "metadata" even if the view does not allow the method.
            raise exceptions.MethodNotAllowed(request.method or "")
        roles = view.allowed[action]
        if roles is ANYONE:
            return True
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
        return request.user.role in roles

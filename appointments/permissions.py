"""Role tables of appointments (docs/api.md, "Who may call what"). `queries.visible_to` states who sees which rows."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "create": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "retrieve": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "partial_update": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "destroy": {Role.ADMIN, Role.PATIENT},
}
SLOTS: RoleTable = {"slots": {Role.ADMIN, Role.DOCTOR, Role.PATIENT}}
#: The roles that may complete a visit, and so confirm that the visit took place.
MAY_COMPLETE = frozenset({Role.ADMIN, Role.DOCTOR})

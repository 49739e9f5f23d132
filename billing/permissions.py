"""Role tables of bills (docs/api.md, "Who may call what")."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.PATIENT},
    "create": {Role.ADMIN},
    "retrieve": {Role.ADMIN, Role.PATIENT},
    "partial_update": {Role.ADMIN},
    "destroy": {Role.ADMIN},
}

"""Who may call what about bills; brief section 2."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.PATIENT},
    "create": {Role.ADMIN},
    "retrieve": {Role.ADMIN, Role.PATIENT},
    "partial_update": {Role.ADMIN},
    "destroy": {Role.ADMIN},
}

"""Role tables of doctors (docs/api.md, "Who may call what")."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "create": {Role.ADMIN},
    "retrieve": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "partial_update": {Role.ADMIN, Role.DOCTOR},
    "destroy": {Role.ADMIN},
}

#: The fields of their own record that doctors may change: all but the link to the account.
DOCTOR_MAY_CHANGE = frozenset({"name", "specialty", "availability", "exceptions", "accepting_patients", "time_zone"})

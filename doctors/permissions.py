"""Who may call what about doctors; brief section 2."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "create": {Role.ADMIN},
    "retrieve": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "partial_update": {Role.ADMIN, Role.DOCTOR},
    "destroy": {Role.ADMIN},
}

#: What doctors may change of their own record: all but the account link.
DOCTOR_MAY_CHANGE = frozenset({"name", "specialty", "availability", "exceptions", "accepting_patients", "time_zone"})

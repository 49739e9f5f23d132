"""Who may call what about prescriptions; brief section 2. Doctors see whole charts, the writing doctor amends."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "create": {Role.DOCTOR},
    "retrieve": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "partial_update": {Role.ADMIN, Role.DOCTOR},
    "destroy": {Role.ADMIN, Role.DOCTOR},
}

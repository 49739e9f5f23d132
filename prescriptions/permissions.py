"""Role tables of prescriptions (docs/api.md, "Who may call what").

Doctors see every prescription. `queries.get_changeable` states which of them a doctor may change.
"""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "create": {Role.DOCTOR},
    "retrieve": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "partial_update": {Role.ADMIN, Role.DOCTOR},
    "destroy": {Role.ADMIN, Role.DOCTOR},
}

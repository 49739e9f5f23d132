"""Who may call what about patients; brief section 2. Which rows they see is `queries.visible_to`."""

from accounts.models import Role
from healthcare.api.permissions import ANYONE, RoleTable

ALLOWED: RoleTable = {
    "list": {Role.ADMIN, Role.DOCTOR},
    "create": {Role.ADMIN},
    "retrieve": {Role.ADMIN, Role.DOCTOR, Role.PATIENT},
    "partial_update": {Role.ADMIN, Role.PATIENT},
    "destroy": {Role.ADMIN},
}
REGISTRATION: RoleTable = {"register": ANYONE}

#: What patients may change of their own record: not diseases, ids or the account link.
OWNER_MAY_CHANGE = frozenset({"name", "birth_date", "age", "phone", "email", "address"})

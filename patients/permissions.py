"""Role tables of patients (docs/api.md, "Who may call what"). `queries.visible_to` states who sees which rows."""

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

#: The fields of their own record that patients may change: not sex, diseases, notes, ids or the link to the account.
OWNER_MAY_CHANGE = frozenset({"name", "birth_date", "age", "phone", "email", "address"})

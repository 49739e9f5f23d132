"""Who may call what about appointments; brief section 2. Whose rows they see is `queries.visible_to`."""

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
#: Completing says that the visit took place: the doctor's word, or an admin's.
MAY_COMPLETE = frozenset({Role.ADMIN, Role.DOCTOR})

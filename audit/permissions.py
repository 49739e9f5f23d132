"""Who may read the audit trail; brief section 2."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

TRAIL: RoleTable = {"list": {Role.ADMIN}}
#: Whose record it may be is `audit.queries.access_log`.
ACCESS_LOG: RoleTable = {"access_log": {Role.ADMIN, Role.PATIENT}}

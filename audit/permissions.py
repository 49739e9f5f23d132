"""Permissions of the audit log, by role (docs/roles.md)."""

from accounts.models import Role
from healthcare.api.permissions import RoleTable

AUDIT_LOG: RoleTable = {"list": {Role.ADMIN}}
#: `audit.queries.access_log` decides which patients' records the account may read.
ACCESS_LOG: RoleTable = {"access_log": {Role.ADMIN, Role.PATIENT}}

"""Permissions of the reports, by role (docs/roles.md)."""

from accounts.models import Role, User
from accounts.queries import is_permitted_staff
from healthcare.api.permissions import RoleTable
from healthcare.audit_log import recorder
from healthcare.errors import NotAllowed

_READERS = {Role.ADMIN, Role.DOCTOR}
ALLOWED: RoleTable = {
    "top_doctors": _READERS,
    "disease_trends": _READERS,
    "monthly_appointments_trend": _READERS,
    "average_prescription_cost": _READERS,
}


def require_can_rebuild(user: User) -> None:
    """Allow only admins to rebuild a report at once, because this reads every prescription. Raises: NotAllowed."""
    recorder.require_precondition()
    if user.role != Role.ADMIN:
        raise NotAllowed("Only an admin may rebuild a report at once. Leave out fresh=true.")


def can_read_in_admin(user: User) -> bool:
    """Return whether the account may read reports in the admin: admins, doctors, and staff with the permission."""
    return user.role in _READERS or is_permitted_staff(user, "reports.view_report")

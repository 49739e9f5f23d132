"""Who may call what about reports; brief section 2."""

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


def require_may_renew(user: User) -> None:
    """Have a report made anew out of turn: it reads every prescription. Raises: NotAllowed."""
    recorder.require_precondition()
    if user.role != Role.ADMIN:
        raise NotAllowed("Only an admin has a report made anew out of turn.")


def may_read_in_the_admin(user: User) -> bool:
    """Admins and doctors as in the API, and staff whose groups say so."""
    return user.role in _READERS or is_permitted_staff(user, "reports.view_report")

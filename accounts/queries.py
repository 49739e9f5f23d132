"""Reads of accounts. Each read for an account starts from `visible_to`."""

from collections.abc import Collection

from django.db.models import QuerySet

from accounts.models import Role, User, normalize_email
from healthcare import audit_context
from healthcare.errors import NotVisible


def visible_to(user: User) -> QuerySet[User]:
    """Return the accounts that the account may see, and mark accounts as queried: all for admins, else its own."""
    audit_context.mark_queried("account")
    return User.objects.all() if user.role == Role.ADMIN else User.objects.filter(pk=user.pk)


def get_visible(user: User, account_id: int) -> User:
    """Return the account. Raises: NotVisible."""
    found = visible_to(user).filter(pk=account_id).first()
    if found is None:
        raise NotVisible
    return found


def matching(
    user: User, *, role: str | None = None, email: str | None = None, is_active: bool | None = None
) -> QuerySet[User]:
    """Return the visible accounts that match every filter, by id."""
    found = visible_to(user)
    if role is not None:
        found = found.filter(role=role)
    if email is not None:
        found = found.filter(email=normalize_email(email))
    if is_active is not None:
        found = found.filter(is_active=is_active)
    return found.order_by("id")


def names_of(account_ids: Collection[int]) -> dict[int, str]:
    """Return account id → name. The caller must have checked that the user may know who acted."""
    return dict(User.objects.filter(pk__in=account_ids).values_list("pk", "name"))


def has_role(account_id: int, role: str) -> bool:
    """Return whether the account exists and has the role, as the `user_id` of a patient or doctor requires."""
    return User.objects.filter(pk=account_id, role=role).exists()


def is_permitted_staff(user: User, permission: str) -> bool:
    """Return whether this is a staff account whose groups grant the permission, such as "patients.view_patient".

    Permissions of staff apply to the admin site; the role tables of the API admit staff to /auth only.
    """
    return user.role == Role.STAFF and user.has_perm(permission)

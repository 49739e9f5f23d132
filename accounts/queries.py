"""Reading accounts."""

from collections.abc import Collection

from django.db.models import QuerySet

from accounts.models import Role, User, normalize_email
from healthcare import audit_context
from healthcare.errors import NotVisible


def visible_to(user: User) -> QuerySet[User]:
    """Admins see all accounts; everybody sees their own."""
    audit_context.mark_queried("account")
    return User.objects.all() if user.role == Role.ADMIN else User.objects.filter(pk=user.pk)


def get_visible(user: User, account_id: int) -> User:
    """Raises: NotVisible."""
    found = visible_to(user).filter(pk=account_id).first()
    if found is None:
        raise NotVisible
    return found


def matching(
    user: User, *, role: str | None = None, email: str | None = None, is_active: bool | None = None
) -> QuerySet[User]:
    """Accounts that the filters leave, by id."""
    found = visible_to(user)
    if role is not None:
        found = found.filter(role=role)
    if email is not None:
        found = found.filter(email=normalize_email(email))
    if is_active is not None:
        found = found.filter(is_active=is_active)
    return found.order_by("id")


def names_of(account_ids: Collection[int]) -> dict[int, str]:
    """The names of accounts, for whoever may see that they did something."""
    return dict(User.objects.filter(pk__in=account_ids).values_list("pk", "name"))


def has_role(account_id: int, role: str) -> bool:
    """Whether there is such an account with this role: what a patient's or doctor's `user_id` must name."""
    return User.objects.filter(pk=account_id, role=role).exists()


def is_permitted_staff(user: User, permission: str) -> bool:
    """Whether this is a staff account whose groups give the permission, such as "patients.view_patient".

    It counts in the admin; the API's role tables admit staff to /auth alone.
    """
    return user.role == Role.STAFF and user.has_perm(permission)

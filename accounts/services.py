"""Services that write accounts and sessions."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import second_factor, tokens
from accounts.models import Role, User, normalize_email
from healthcare.audit_context import REFUSED
from healthcare.audit_log import recorder
from healthcare.errors import Conflict, InvalidValue, NotVisible


class EmailTaken(Conflict):
    code = "duplicate"

    def __init__(self) -> None:
        super().__init__("There is an account with this e-mail already.", field="email")


class WrongCredentials(Exception):
    """The login has failed. The message does not disclose whether the e-mail, the password or the code is wrong."""


class WrongPassword(InvalidValue):
    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("This is not your current password.", field="current_password")


def create_account(*, actor: User | None, email: str, password: str | None, role: str, name: str = "") -> User:
    """Create an account.

    `actor` is None if a person registers. `password` is None for an account that logs in with a provider.
    Raises: InvalidValue for a weak password, EmailTaken.
    """
    user = User(email=normalize_email(email), role=Role(role), name=name)
    if password is not None:
        check_password_strength(password, user=user, field="password")
    user.set_password(password)
    try:
        # This block is a savepoint, so that a duplicate e-mail does not abort the transaction of a registration.
        with transaction.atomic(using="default"):
            user.save(force_insert=True)
            recorder.record("account.created", actor=actor, subject=user.pk)
    except IntegrityError as error:
        raise EmailTaken from error
    return user


def change_account(*, actor: User, user_id: int, **changes: Any) -> User:
    """Set `role`, `is_active` or `name` of an account. A change of `role` or `is_active` ends its tokens and sessions.

    Raises: NotVisible; Conflict if admins change the role or activity of their own account.
    """
    with transaction.atomic(using="default"):
        user = User.objects.select_for_update().filter(pk=user_id).first()
        if user is None:
            raise NotVisible
        rights = {name: value for name, value in changes.items() if name in ("role", "is_active")}
        changes_rights = any(getattr(user, name) != value for name, value in rights.items())
        if changes_rights and user.pk == actor.pk:
            raise Conflict("You cannot disable your own account or change its role: ask another admin.")
        for name, value in changes.items():
            setattr(user, name, value)
        if changes_rights:
            user.end_tokens()
        user.save(update_fields=[*changes, "token_version"])
        recorder.record("account.amended", actor=actor, subject=user_id)
    return user


def log_in(*, email: str, password: str, code: str = "") -> dict[str, Any]:
    """Return a token pair. `code`: a code of the second factor, if there is one. Raises: WrongCredentials."""
    user = User.objects.filter(email=normalize_email(email)).first()
    if user is None:
        # Do the same work as for an existing account, so that the time of the response does not disclose which exist.
        make_password(password)
        record_failed_login(None, "unknown_email")
        raise WrongCredentials
    if not user.check_password(password) or not user.is_active:
        record_failed_login(user, "disabled" if not user.is_active else "wrong_password")
        raise WrongCredentials
    if not second_factor.accepts(user, code):
        record_failed_login(user, "wrong_code")
        raise WrongCredentials
    return start_session(user)


def start_session(user: User) -> dict[str, Any]:
    """Return a token pair for an authenticated account. Raises: WrongCredentials for a disabled account."""
    if not user.is_active:
        record_failed_login(user, "disabled")
        raise WrongCredentials
    with transaction.atomic(using="default"):
        recorder.record("account.logged_in", actor=user, subject=user.pk)
        return tokens.start_family(user)


def record_failed_login(account: User | None, reason: str) -> None:
    """Record a failed login without the e-mail, because people type passwords into the wrong field."""
    recorder.record(
        "account.logged_in", actor=None, subject=account.pk if account else None, outcome=REFUSED, reason=reason
    )


def log_out(*, actor: User | None, refresh_token: str) -> None:
    """End the session of a refresh token. Raises: tokens.TokenRejected."""
    token = tokens.read_refresh_token(refresh_token)
    if actor is not None and token["user_id"] != str(actor.pk):
        raise tokens.TokenRejected
    if actor is None and not tokens.is_open(token):
        raise tokens.TokenRejected
    _end_session(actor=actor, family_id=token[tokens.FAMILY_CLAIM], user_id=token["user_id"])


def end_session(*, actor: User, family_id: int) -> None:
    """End the session of the access token that authenticated the actor."""
    _end_session(actor=actor, family_id=family_id, user_id=actor.pk)


def _end_session(*, actor: User | None, family_id: int, user_id: object) -> None:
    with transaction.atomic(using="default"):
        tokens.end_family(family_id)
        recorder.record("account.logged_out", actor=actor, subject=user_id)


def change_password(*, actor: User, current_password: str, new_password: str) -> None:
    """Set a new password and end every token and session. Raises: WrongPassword, InvalidValue."""
    user = User.objects.get(pk=actor.pk)
    if not user.check_password(current_password):
        raise WrongPassword
    if current_password == new_password:
        raise InvalidValue("The new password is the current one.", field="new_password")
    set_password(actor=actor, user=user, password=new_password, field="new_password")


def set_password(*, actor: User, user: User, password: str, field: str = "password") -> None:
    """Set a password and end every token and session. Raises: InvalidValue for a weak password."""
    check_password_strength(password, user=user, field=field)
    user.set_password(password)
    with transaction.atomic(using="default"):
        user.save(update_fields=["password", "token_version"])
        recorder.record("account.password_changed", actor=actor, subject=user.pk)


def remove_password(*, actor: User, user: User) -> None:
    """Remove the password of an account that logs in with a provider, and end its tokens and sessions."""
    user.set_unusable_password()
    with transaction.atomic(using="default"):
        user.save(update_fields=["password", "token_version"])
        recorder.record("account.password_removed", actor=actor, subject=user.pk)


def check_password_strength(password: str, *, user: User, field: str) -> None:
    """Check a password by every rule. Raises: InvalidValue with all reasons against it."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidValue(" ".join(error.messages), code="weak_password", field=field) from error

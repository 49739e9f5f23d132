"""Rate limits of logins, registrations, token refreshes and password changes (docs/security.md, "Rate limits")."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.http import HttpRequest

from accounts.models import User, normalize_email
from healthcare.web.rate_limits import Limit, address_of, count_attempt

LOGINS_OF_ACCOUNT = Limit("logins of an account", "LOGIN_RATE")
FAILURES_OF_ADDRESS = Limit("failed logins of an address", "LOGIN_RATE")
PASSWORDS_OF_ACCOUNT = Limit("passwords of an account", "PASSWORD_RATE")
REGISTRATIONS_OF_ADDRESS = Limit("registrations of an address", "REGISTER_RATE")
REFRESHES_OF_ADDRESS = Limit("refreshes of an address", "REFRESH_RATE")
PROVIDERS_OF_ADDRESS = Limit("provider logins of an address", "REGISTER_RATE")


@contextmanager
def login(request: HttpRequest, email: str) -> Iterator[None]:
    """Count a login attempt for the e-mail, and for the client address if it fails.

    The body of the `with` statement logs in. The attempt has failed if the body raises an error. Whether the account
    exists makes no difference. Raises: TooManyAttempts, Unavailable.
    """
    attempts = count_attempt((LOGINS_OF_ACCOUNT, normalize_email(email)), (FAILURES_OF_ADDRESS, address_of(request)))
    yield
    attempts.give_back(FAILURES_OF_ADDRESS)


def password_change(user: User) -> None:
    """Count an attempt to change a password: a holder of a stolen token could guess it. Raises: TooManyAttempts."""
    count_attempt((PASSWORDS_OF_ACCOUNT, str(user.pk)))


def registration(request: HttpRequest) -> None:
    count_attempt((REGISTRATIONS_OF_ADDRESS, address_of(request)))


def refresh(request: HttpRequest) -> None:
    count_attempt((REFRESHES_OF_ADDRESS, address_of(request)))


def provider_login(request: HttpRequest) -> None:
    count_attempt((PROVIDERS_OF_ADDRESS, address_of(request)))

"""The second factor: one-time codes of an authenticator app (TOTP, RFC 6238) and recovery codes, by allauth's MFA.

An account with a second factor must give a code with its password at the admin site, in the browsable API and at
/auth/login (docs/security.md, "Second factor").
"""

import base64

from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, validate_totp_code
from django.db import transaction

from accounts.models import User
from healthcare import encrypted_tokens
from healthcare.audit_log import recorder
from healthcare.errors import Conflict, InvalidValue
from healthcare.web.rate_limits import counting

#: The purpose of the stored secrets (`encrypted_tokens`). A change would make the secrets of all accounts unreadable.
_PURPOSE = "accounts.second_factor"


class Adapter(DefaultMFAAdapter):
    """allauth's MFA_ADAPTER: stores secrets encrypted, with a key that is derived from SECRET_KEY."""

    def encrypt(self, text: str) -> str:
        return encrypted_tokens.encrypt(text, purpose=_PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        return encrypted_tokens.decrypt(encrypted_text, purpose=_PURPOSE)


def is_set_up(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists()


def accepts(user: User, code: str) -> bool:
    """Return whether the code is valid, or the account has no second factor. Each code is valid once.

    Raises: Unavailable if the cache that remembers used codes cannot be reached.
    """
    factors = {each.type: each for each in Authenticator.objects.filter(user=user)}
    totp = factors.get(Authenticator.Type.TOTP)
    if totp is None:
        return True
    code = "".join(code.split())
    if not code:
        return False
    with counting():
        if TOTP(totp).validate_code(code):
            return True
    recovery = factors.get(Authenticator.Type.RECOVERY_CODES)
    return recovery is not None and RecoveryCodes(recovery).validate_code(code)


def new_secret() -> str:
    """Return a new secret for an authenticator app, in base32, without storing it."""
    return generate_totp_secret()


def qr_code(user: User, secret: str) -> str:
    """Return the QR code for an authenticator app, as a data: URL of an SVG."""
    adapter = get_adapter()
    svg = adapter.build_totp_svg(adapter.build_totp_url(user, secret))
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def set_up(*, actor: User, secret: str, code: str) -> list[str]:
    """Set up the second factor of an account, and return its recovery codes, of which each is valid once.

    `code`: the current code of the secret. Tokens and sessions of the account end, because they were issued without a
    code. Raises: InvalidValue for a wrong code; Conflict if the account has a second factor.
    """
    code = "".join(code.split())
    if not validate_totp_code(secret, code):
        raise InvalidValue("This is not the code that the app shows now.", code="wrong_code", field="code")
    with transaction.atomic(using="default"):
        User.objects.select_for_update().get(pk=actor.pk)
        if is_set_up(actor):
            raise Conflict("A second factor is set up already.")
        totp = TOTP.activate(actor, secret)
        with counting():
            # The same code must not be valid for a login afterwards.
            totp._mark_code_used(code)
        codes = RecoveryCodes.activate(actor).get_unused_codes()
        _end_tokens(actor)
        recorder.record("account.second_factor_added", actor=actor, subject=actor.pk)
    return codes


def remove(*, actor: User | None, user: User) -> None:
    """Remove the second factor of an account, and end its tokens and sessions, because its phone may be stolen.

    `actor`: the account itself, an admin, or None for a command. Raises: Conflict if there is no second factor.
    """
    with transaction.atomic(using="default"):
        deleted, _ = Authenticator.objects.filter(user=user).delete()
        if not deleted:
            raise Conflict("There is no second factor to remove.")
        _end_tokens(user)
        recorder.record("account.second_factor_removed", actor=actor, subject=user.pk)


def _end_tokens(user: User) -> None:
    user.end_tokens()
    user.save(update_fields=["token_version"])

"""One-time codes of an authenticator app (TOTP, RFC 6238) and the recovery codes beside them, by allauth's MFA.

Whoever has set one up gives a code with each password: at the admin, in the browsable API and at /auth/login.
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

#: The purpose of the secrets that are stored. Another one would make those of every account unreadable.
_PURPOSE = "accounts.second_factor"


class Adapter(DefaultMFAAdapter):
    """allauth's MFA_ADAPTER: stores secrets encrypted, with a key that is derived from SECRET_KEY."""

    def encrypt(self, text: str) -> str:
        return encrypted_tokens.encrypt(text, purpose=_PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        return encrypted_tokens.decrypt(encrypted_text, purpose=_PURPOSE)


def is_set_up(user: User) -> bool:
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists()


def is_passed(user: User, code: str) -> bool:
    """Whether the account needs no code, or this is a good one; a code is good once.

    Raises: Unavailable when nobody can say which codes were used.
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
    """A secret for an authenticator app, base32; nothing is stored."""
    return generate_totp_secret()


def picture(user: User, secret: str) -> str:
    """The QR code that an authenticator app reads, as a data: URL of an SVG."""
    adapter = get_adapter()
    svg = adapter.build_totp_svg(adapter.build_totp_url(user, secret))
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def set_up(*, actor: User, secret: str, code: str) -> list[str]:
    """Have the account give codes from now on. Returns its recovery codes, each good once.

    Tokens and sessions that were got without a code end.
    Raises: InvalidValue for a code that is not the secret's; Conflict when there is a second factor already.
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
            # The code that was shown here shall not open the door as well.
            totp._mark_code_used(code)
        codes = RecoveryCodes.activate(actor).get_unused_codes()
        _end_tokens(actor)
        recorder.record("account.second_factor_added", actor=actor, subject=actor.pk)
    return codes


def remove(*, actor: User | None, user: User) -> None:
    """Log in with the password alone again; `actor` is an admin whose colleague has lost a phone, or the account.

    Tokens and sessions end: the phone may be somebody else's now.
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

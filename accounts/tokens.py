"""Functions that issue, refresh and end tokens.

simplejwt signs and verifies the tokens; PostgreSQL determines which of them are valid.

An access token names its family and the account's `token_version`. It is invalid from the next request on if the family
ends (logout, replayed refresh token) or the version changes (new password, new role, disabled account).
"""

from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from accounts.models import TokenFamily, User
from healthcare import audit_context
from healthcare.audit_log import recorder

FAMILY_CLAIM = "family"
VERSION_CLAIM = "version"


class TokenRejected(Exception):
    """The token is not valid: forged, expired, of the wrong kind, already used, or ended."""


def start_family(user: User) -> dict[str, Any]:
    """Start a token family, and return its first token pair."""
    # Delete the families of the account whose last tokens have expired.
    user.token_families.filter(expires_at__lt=timezone.now()).delete()
    refresh = RefreshToken.for_user(user)
    family = TokenFamily.objects.create(
        user=user,
        current_jti=refresh["jti"],
        expires_at=timezone.now() + settings.REFRESH_TOKEN_LIFETIME,
    )
    return _pair(user, family.pk, refresh)


def rotate(refresh_token: str) -> dict[str, Any]:
    """Exchange a refresh token for a new token pair. Each refresh token can be exchanged once.

    A token that was exchanged before ends its family, because one of its two users has stolen it.
    Raises: TokenRejected.
    """
    token = read_refresh_token(refresh_token)
    user = User.objects.filter(pk=token["user_id"], is_active=True, token_version=token[VERSION_CLAIM]).first()
    if user is None:
        raise TokenRejected
    fresh = RefreshToken.for_user(user)
    open_families = TokenFamily.objects.filter(pk=token[FAMILY_CLAIM], user=user, ended_at=None)
    won = open_families.filter(current_jti=token["jti"]).update(
        current_jti=fresh["jti"], expires_at=timezone.now() + settings.REFRESH_TOKEN_LIFETIME
    )
    if not won:
        if open_families.update(ended_at=timezone.now()):
            recorder.record(
                "account.refreshed", actor=None, subject=user.pk, outcome=audit_context.REFUSED, reason="token_replayed"
            )
        raise TokenRejected
    return _pair(user, token[FAMILY_CLAIM], fresh)


def read_refresh_token(text: str) -> RefreshToken:
    """Return the refresh token after checks of its signature, kind and expiry. Raises: TokenRejected."""
    try:
        token = RefreshToken(text)  # type: ignore[arg-type]
    except TokenError as error:
        raise TokenRejected from error
    if not isinstance(token.get(FAMILY_CLAIM), int) or not isinstance(token.get(VERSION_CLAIM), int):
        raise TokenRejected
    return token


def is_open(token: RefreshToken) -> bool:
    """Return whether the token can be exchanged: it is the current token of its family, which has not ended."""
    return TokenFamily.objects.filter(
        pk=token[FAMILY_CLAIM],
        current_jti=token["jti"],
        ended_at=None,
        user__is_active=True,
        user__token_version=token[VERSION_CLAIM],
    ).exists()


def end_family(family_id: int) -> None:
    TokenFamily.objects.filter(pk=family_id, ended_at=None).update(ended_at=timezone.now())


def _pair(user: User, family_id: int, refresh: RefreshToken) -> dict[str, Any]:
    access = AccessToken.for_user(user)
    for token in (access, refresh):
        token[FAMILY_CLAIM] = family_id
        token[VERSION_CLAIM] = user.token_version
    return {
        "access_token": str(access),
        "refresh_token": str(refresh),
        "token_type": "Bearer",
        "expires_in": int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
    }

"""Authentication of requests: by a Bearer token, or by the session of a browser."""

import math
import threading
import time
from collections import OrderedDict
from functools import lru_cache, partial
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from rest_framework import authentication
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.tokens import AccessToken, Token
from rest_framework_simplejwt.utils import aware_utcnow

from accounts.models import User
from accounts.tokens import FAMILY_CLAIM, VERSION_CLAIM
from healthcare import audit_context
from healthcare.postgresql import circuit_breaker, prepared_statements

_COLUMNS = ("id", "email", "role", "is_active", "token_version")
_ROW = ", ".join(f"u.{name}" for name in _COLUMNS)
_OPEN_FAMILY = """
    FROM accounts_tokenfamily f JOIN accounts_user u ON u.id = f.user_id
    WHERE f.id = %s AND f.ended_at IS NULL
"""
# Written in SQL because every request runs it: 89 µs against 250 µs with the ORM, most of which builds the query
# (docs/decisions/0012-account-read-on-each-request.md).
_ACCOUNT_OF_FAMILY = f"SELECT {_ROW} {_OPEN_FAMILY}"
# Condition in SQL that is true if the statement above still finds the same row.
_ACCOUNT_IS_AS_IT_WAS = f"EXISTS (SELECT {_OPEN_FAMILY} AND ({_ROW}) = ({', '.join(['%s'] * len(_COLUMNS))}))"
#: The number of tokens whose verified signature a process remembers.
VERIFIED_TOKENS = 4_096

#: How long a process uses an account that it has read, if a later statement checks that it has not changed
#: (`_assumed_account_of`).
ASSUMED_SECONDS = 60
#: While PostgreSQL cannot be reached, a process uses an account for this long after it has read it. The second number
#: is how many accounts the process remembers.
LAST_READ_SECONDS = 300
LAST_READ_LENGTH = 10_000
_last_read: OrderedDict[int, tuple[float, tuple[Any, ...] | None]] = OrderedDict()
_last_read_lock = threading.Lock()


def _assumed_account_of(family: int) -> tuple[Any, ...] | None:
    """Return the account as this process last read it, if the request's audit entry checks that it has not changed.

    The check is a condition of the statement that inserts the entry, so that a request needs one statement and not two.
    Return None if the account must be read: for a write, for an account that was not read recently or was not found
    then, and while PostgreSQL cannot be reached.
    """
    if (
        not audit_context.may_defer_check()
        or not circuit_breaker.postgresql.is_closed()
        or connection.vendor != "postgresql"
    ):
        return None
    with _last_read_lock:
        read_at, row = _last_read.get(family, (-math.inf, None))
    if row is None or time.monotonic() - read_at > ASSUMED_SECONDS:
        return None
    audit_context.require_on_flush(_ACCOUNT_IS_AS_IT_WAS, [family, *row], forget=partial(_forget, family))
    prepared_statements.set_health_check_done(connection, is_done=False)
    return row


def _forget(family: int) -> None:
    """Drop an account whose row has changed."""
    with _last_read_lock:
        _last_read.pop(family, None)


def _account_of(family: int) -> tuple[Any, ...] | None:
    """Return the account of an open token family; None if there is none.

    While PostgreSQL cannot be reached, the row that was last read is used for up to five minutes, so that clinical work
    goes on (docs/operations.md). Raises: OperationalError if PostgreSQL cannot be reached and no row was read.
    """
    if not circuit_breaker.postgresql.allows_request():
        return _last_read_account_of(family)
    try:
        row = prepared_statements.execute_first(_ACCOUNT_OF_FAMILY, [family]).fetchone()
    except (OperationalError, InterfaceError) as error:
        circuit_breaker.postgresql.record_failure()
        # Django closes unusable connections between requests only, and this may run outside of one.
        connection.close_if_unusable_or_obsolete()
        return _last_read_account_of(family, error)
    circuit_breaker.postgresql.record_success()
    with _last_read_lock:
        _last_read[family] = (time.monotonic(), row)
        _last_read.move_to_end(family)
        if len(_last_read) > LAST_READ_LENGTH:
            _last_read.popitem(last=False)
    return row


def _last_read_account_of(family: int, error: Exception | None = None) -> tuple[Any, ...] | None:
    """Return the account that was last read. Raises: OperationalError if that is more than 5 minutes ago."""
    with _last_read_lock:
        read_at, row = _last_read.get(family, (-math.inf, None))
    if time.monotonic() - read_at > LAST_READ_SECONDS:
        raise OperationalError("PostgreSQL cannot be reached, and the account was not read recently.") from error
    return row


@lru_cache(maxsize=VERIFIED_TOKENS)
def _verified(raw_token: bytes) -> Token:
    """Return the access token, which callers share and must not change. Raises: TokenError if it is not valid."""
    return AccessToken(raw_token)  # type: ignore[arg-type]


class TokenAuthentication(JWTAuthentication):
    """Authentication by an access token whose family is open, and whose account is active and has the same version."""

    def get_validated_token(self, raw_token: bytes) -> Token:
        try:
            token = _verified(raw_token)
        except TokenError:
            token = None
        # A signature that was verified remains valid, but the token may have expired since.
        if token is None or token["exp"] <= aware_utcnow().timestamp():
            # The base class verifies again, and raises the error with its reason.
            return super().get_validated_token(raw_token)
        return token

    def get_user(self, validated_token: Token) -> User:  # type: ignore[override]
        family, version = validated_token.get(FAMILY_CLAIM), validated_token.get(VERSION_CLAIM)
        if not isinstance(family, int) or not isinstance(version, int):
            raise InvalidToken
        row = _assumed_account_of(family) or _account_of(family)
        if row is None:
            raise InvalidToken
        user = User.from_db("default", _COLUMNS, row)
        if not user.is_active or user.token_version != version or str(user.pk) != validated_token.get("user_id"):
            raise InvalidToken
        return user


class SessionAuthentication(authentication.SessionAuthentication):
    """Authentication by the session of the browsable API. Writes need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        if "HTTP_AUTHORIZATION" in request.META:
            # A client that sends a token is authenticated by it alone, also if its browser has a session cookie.
            return None
        return super().authenticate(request)


class AccountRequest(Request):
    """Type of a request that a role table has admitted, with an account as `user`. DRF creates plain requests."""

    user: User

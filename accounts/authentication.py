"""How a request says who it is: a Bearer token, or the session of a browser."""

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
# One statement a request, past the ORM: 89 µs against 250 µs, most of which is building the query (design 2.12).
_ACCOUNT_OF_FAMILY = f"SELECT {_ROW} {_OPEN_FAMILY}"
# That it would find what it found before.
_ACCOUNT_IS_AS_IT_WAS = f"EXISTS (SELECT {_OPEN_FAMILY} AND ({_ROW}) = ({', '.join(['%s'] * len(_COLUMNS))}))"
#: Tokens whose signatures a process remembers.
VERIFIED_TOKENS = 4_096

#: How long a process assumes that an account is as it read it, where that is looked at later (`_assumed_account_of`).
ASSUMED_SECONDS = 60
#: How long a process may serializer by what it last read while PostgreSQL cannot be reached, and how many accounts it keeps.
LAST_READ_SECONDS = 300
LAST_READ_LENGTH = 10_000
_last_read: OrderedDict[int, tuple[float, tuple[Any, ...] | None]] = OrderedDict()
_last_read_lock = threading.Lock()


def _assumed_account_of(family: int) -> tuple[Any, ...] | None:
    """The account as this process last read it, where the entry of what it reads is inserted only if it is so still.

    That is one statement instead of two. None where it has to be read: for a write, for one that was not read lately
    or was refused then, and while PostgreSQL is out.
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
    # Whatever is asked first looks whether the connection is still good.
    connection.health_check_done = False  # type: ignore[attr-defined]
    return row


def _forget(family: int) -> None:
    """PostgreSQL has said that it is not as it was."""
    with _last_read_lock:
        _last_read.pop(family, None)


def _account_of(family: int) -> tuple[Any, ...] | None:
    """The account of an open token family, None when there is none.

    Read anew; only while PostgreSQL cannot be reached the last answer serves, up to five minutes old, so that clinical
    work goes on (brief 3.3). Raises: OperationalError when there is none.
    """
    if not circuit_breaker.postgresql.allows_request():
        return _last_read_account_of(family)
    try:
        row = prepared_statements.execute_first(_ACCOUNT_OF_FAMILY, [family]).fetchone()
    except (OperationalError, InterfaceError) as error:
        circuit_breaker.postgresql.record_failure()
        # A dead connection is not used again, even outside the request cycle that would look after it.
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
    """Raises: OperationalError when it was not read lately."""
    with _last_read_lock:
        read_at, row = _last_read.get(family, (-math.inf, None))
    if time.monotonic() - read_at > LAST_READ_SECONDS:
        raise OperationalError("PostgreSQL was out a moment ago, and the account is not known.") from error
    return row


@lru_cache(maxsize=VERIFIED_TOKENS)
def _verified(raw_token: bytes) -> Token:
    """The access token behind the text, nobody to change. Raises: TokenError for all but a good one."""
    return AccessToken(raw_token)  # type: ignore[arg-type]


class TokenAuthentication(JWTAuthentication):
    """Accepts an access token whose family is open and whose account is active and unchanged since it was issued."""

    def get_validated_token(self, raw_token: bytes) -> Token:
        try:
            token = _verified(raw_token)
        except TokenError:
            token = None
        # What was signed stays signed; what was good may have expired since.
        if token is None or token["exp"] <= aware_utcnow().timestamp():
            # Which says what is wrong with it.
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
    """The browsable API's log-in. Writes need the CSRF token, as everywhere that cookies speak."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        if "HTTP_AUTHORIZATION" in request.META:
            # A client that names a credential is validated by it, not by a cookie that happens to be there.
            return None
        return super().authenticate(request)


class AccountRequest(Request):
    """A request behind a role table: it comes from an account. (Only a type: DRF makes its own requests.)"""

    user: User

"""Encrypted tokens: texts that are stored or handed out encrypted and authenticated, by Fernet.

Each purpose has a key of its own, derived from SECRET_KEY, so that a token of one purpose is not valid for another.
"""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.utils.crypto import salted_hmac

__all__ = ["InvalidToken", "decrypt", "encrypt"]


def encrypt(text: str, *, purpose: str) -> str:
    """Return the text as a token, in the URL-safe alphabet of base64 with its padding."""
    return _cipher(purpose, settings.SECRET_KEY).encrypt(text.encode()).decode()


def decrypt(token: str, *, purpose: str) -> str:
    """Return the text of a token. Raises: InvalidToken for any other text, and for a token of another purpose."""
    try:
        return _cipher(purpose, settings.SECRET_KEY).decrypt(token).decode()
    except ValueError as error:
        # Fernet refuses non-ASCII text with a ValueError.
        raise InvalidToken from error


@lru_cache(maxsize=64)
def _cipher(purpose: str, secret_key: str) -> Fernet:
    digest = salted_hmac(purpose, "key", secret=secret_key, algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(digest))

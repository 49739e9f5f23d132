"""Ids of records: short enough to read out, and random, so that one cannot be guessed from another."""

import secrets

#: Crockford's base 32, without the letters that look like digits (https://www.crockford.com/base32.html).
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # pragma: allowlist secret
_LENGTH = 10


def new_id(prefix: str) -> str:
    """Return `prefix` and ten random characters, 50 bits. The database ensures uniqueness; after a duplicate, retry."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(_LENGTH))

"""Business keys that the system makes: short enough to read out, not to be guessed from one another."""

import secrets

#: Crockford's base 32 without the letters that people take for digits (https://www.crockford.com/base32.html).
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # pragma: allowlist secret
_LENGTH = 10


def new_id(prefix: str) -> str:
    """`prefix` and ten random characters, 50 bits. Uniqueness is the database's word; on a duplicate, ask again."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(_LENGTH))

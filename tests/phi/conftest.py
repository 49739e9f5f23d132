"""Fixtures of the tests of field-level encryption."""

import base64
import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from healthcare.mongodb import encryption


def new_key() -> bytes:
    return secrets.token_bytes(96)


def as_text(key: bytes) -> str:
    """Return a master key in the format of PHI_MASTER_KEY."""
    return base64.b64encode(key).decode()


def configured(*keys: bytes) -> dict[str, Any]:
    """Return `settings.PHI_ENCRYPTION` with these master keys, of which the last is the current one."""
    providers = {f"local:key_{hashlib.sha256(key).hexdigest()[:12]}": {"key": key} for key in keys}
    return {"kms_providers": providers, "provider": list(providers)[-1], "master_key": None}


@pytest.fixture
def key() -> bytes:
    return new_key()


@pytest.fixture
def phi(db: None, empty_clinical_database: None, key: bytes) -> Iterator[None]:
    """Switch encryption on, with a new master key."""
    encryption.forget()
    with override_settings(PHI_ENCRYPTION=configured(key)):
        yield
    encryption.forget()

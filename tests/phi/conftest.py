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
    """A master key as PHI_MASTER_KEY takes it."""
    return base64.b64encode(key).decode()


def configured(*keys: bytes) -> dict[str, Any]:
    """settings.PHI_ENCRYPTION with these master keys, the last of them the current one."""
    providers = {f"local:key_{hashlib.sha256(key).hexdigest()[:12]}": {"key": key} for key in keys}
    return {"kms_providers": providers, "provider": list(providers)[-1], "master_key": None}


@pytest.fixture
def key() -> bytes:
    return new_key()


@pytest.fixture
def phi(db: None, empty_clinical_database: None, key: bytes) -> Iterator[None]:
    """Encryption, with a master key of this test's own."""
    encryption.forget()
    with override_settings(PHI_ENCRYPTION=configured(key)):
        yield
    encryption.forget()

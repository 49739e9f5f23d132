"""Fixtures for tests that alter the audit log."""

from collections.abc import Iterator

import pytest

from tests.audit.entries import wipe


@pytest.fixture
def own_audit_log(transactional_db: None) -> Iterator[None]:
    """Provide an empty audit log before and after a test whose entries are committed."""
    wipe()
    yield
    wipe()

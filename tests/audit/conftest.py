"""An audit log that a test may alter."""

from collections.abc import Iterator

import pytest

from tests.audit.recording import wipe


@pytest.fixture
def own_audit_log(transactional_db: None) -> Iterator[None]:
    """Empty the audit log before and after the test, whose entries are committed."""
    wipe()
    yield
    wipe()

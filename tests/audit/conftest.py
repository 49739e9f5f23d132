"""A trail that a test may alter: its own months of it, wiped as nobody else can."""

from collections.abc import Iterator

import pytest

from tests.audit.trail import wipe


@pytest.fixture
def own_trail(transactional_db: None) -> Iterator[None]:
    """An empty trail before and after the test, whose entries are committed."""
    wipe()
    yield
    wipe()

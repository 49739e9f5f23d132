"""The lists of slow files in `tests.scheduling` name files that exist, so that a renamed file fails a test here."""

from pathlib import Path

import pytest

from tests.scheduling import DESELECTED, SLOW

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted({each for files in DESELECTED.values() for each in files}))
def test_listed_path_exists(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_slow_tests_are_marked(request: pytest.FixtureRequest) -> None:
    items = request.session.items
    assert {item.nodeid for item in items if item.get_closest_marker("slow")} == {
        item.nodeid for item in items if item.nodeid.startswith(SLOW)
    }

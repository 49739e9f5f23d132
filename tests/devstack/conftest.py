"""A folder for the servers of a test, and searches for leftover processes."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devstack import DevStack
from devstack.ephemeral import fastest_temp_directory
from devstack.layout import find_layout, is_root


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the servers of one test, which `nobody` can enter; pytest's own folders are closed to others."""
    parent = Path(tempfile.mkdtemp(prefix="devstack-", dir=fastest_temp_directory()))
    if is_root():
        parent.chmod(0o711)
    yield parent / "stack"
    discard(parent / "stack")
    shutil.rmtree(parent)


def discard(directory: Path) -> None:
    """Remove the servers of a test, and check that no process and no folder is left, also in the temp directories."""
    elsewhere = find_layout(directory).elsewhere
    DevStack(directory).reset()
    assert not processes_of(directory)
    assert not [place for place in elsewhere if place.exists()]


def processes_of(directory: Path) -> list[psutil.Process]:
    """Return the servers whose command line names the folder or its substitutes, without using the tested code."""
    layout = find_layout(directory)
    prefixes = tuple(f"{place}/" for place in (layout.directory, *layout.elsewhere))
    found = []
    for process in psutil.process_iter():
        try:
            is_server = process.name() in {"mongod", "postgres"}
            if is_server and any(part.startswith(prefixes) for part in process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def permissions(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)

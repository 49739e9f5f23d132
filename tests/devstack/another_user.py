"""Runs Python as an ordinary user when the tests run as root, whose files other users often cannot read."""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from devstack.layout import is_root

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES_FOLDER = Path(psutil.__file__).parents[1]
# The packages that the servers and `devstack` need; mongod alone has 130 MB.
PACKAGES = (
    "psutil",
    "psycopg*",
    "pymongo*",
    "bson",
    "typing_extensions.py",
    "fiftyone",
    "pixeltable*",
    "pycurl*",
)
UNNEEDED = shutil.ignore_patterns("site-packages", "dist-packages", "test", "idlelib", "__pycache__", "config-*")


def as_nobody() -> dict[str, Any]:
    """Return arguments for subprocess, or none if this is an ordinary user already."""
    if not is_root():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def readable_installation() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a Python that `nobody` can run, with its environment: this installation, or a copy of it."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{CHECKOUT}:{PACKAGES_FOLDER}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if _is_readable(environment):
        yield sys.executable, environment
        return
    parent = Path(tempfile.mkdtemp(prefix="devstack-python-"))
    parent.chmod(0o755)
    try:
        yield _copy_installation(parent, environment)
    finally:
        shutil.rmtree(parent)


def _copy_installation(parent: Path, environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    home, site, checkout = parent / "python", parent / "site", parent / "checkout"
    _copy(Path(sysconfig.get_path("stdlib")), home / "lib" / version)
    _copy(Path(sys.executable).resolve(), home / "bin" / version)
    for library in Path(sys.base_prefix, "lib").glob("libpython*.so*"):
        _copy(library, home / "lib" / library.name)
    for pattern in PACKAGES:
        for found in PACKAGES_FOLDER.glob(pattern):
            _copy(found, site / found.name)
    _copy(CHECKOUT / "devstack", checkout / "devstack")
    return str(home / "bin" / version), environment | {
        "PYTHONHOME": str(home),
        "PYTHONPATH": f"{site}:{checkout}",
        "LD_LIBRARY_PATH": str(home / "lib"),
    }


def _is_readable(environment: dict[str, str]) -> bool:
    needed = "import psutil, psycopg, pymongo; from devstack.binaries import *"
    found = "find_mongod().open('rb'); (find_postgresql() / 'postgres').open('rb')"
    try:
        result = subprocess.run(
            [sys.executable, "-c", f"{needed}; {found}"],
            cwd="/",
            env=environment,
            stderr=subprocess.DEVNULL,
            check=False,
            **as_nobody(),
        )
    except PermissionError:
        return False
    return result.returncode == 0


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        _copy_file(source, target)
        return
    shutil.copytree(source, target, ignore=UNNEEDED, copy_function=_copy_file)
    for path in (target, *target.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def _copy_file(source: str | Path, target: str | Path) -> None:
    """Hard-link the file if possible, which is faster than a copy."""
    original = Path(source).resolve()
    mode = original.stat().st_mode
    if mode & 0o044 == 0o044:
        try:
            os.link(original, target)
        except OSError:  # another file system
            shutil.copy(original, target)
    else:
        shutil.copy(original, target)
        Path(target).chmod(0o755 if mode & 0o100 else 0o644)

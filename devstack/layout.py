"""The paths of the data and sockets of one folder's servers. They depend on the folder and are fixed by the first `up`.

    DIR/devstack.json    the number of nodes and the paths below, as the first `up` chose them
    DIR/lock             locked while servers are started or stopped
    DIR/secrets/         see local_secrets
    DIR/logs/            one log for each server
    DIR/run/             pid files, and mongod's sockets
    DIR/mongodb/N/       data of node N
    DIR/postgresql/      data and socket of PostgreSQL

Two things may be stored elsewhere, in `healthcare-…` folders in the temp directory. Sockets are stored there if their
path is longer than the kernel allows, or contains characters that a driver does not accept. PostgreSQL refuses to run
as root, so root runs it as `nobody`; its folder is stored there if `nobody` cannot reach DIR.
"""

import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from devstack.binaries import require_unix_sockets
from devstack.errors import DevStackError

REPLICA_SET = "rs0"
DATABASE = "healthcare"
MAX_NODES = 7  # a replica set has at most seven voting members
SECRETS_FOLDER = "secrets"  # pragma: allowlist secret
STATE_FILE = "devstack.json"
POSTGRESQL_SOCKET = ".s.PGSQL.5432"

# sun_path has 108 bytes on Linux and 104 on macOS, of which the last is NUL.
MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
# pymongo converts the host names of a replica set to lower case, paths included (pymongo.common.clean_node), and mongod
# reads a colon as the beginning of a port.
MONGODB_SOCKET_PATH = re.compile(r"[a-z0-9/._-]+")
# libpq separates hosts by commas. PostgreSQL separates its socket folders by commas, and unquotes and trims them.
POSTGRESQL_SOCKET_PATH = re.compile(r"""[^\s,"'\\]+""")


@dataclass(frozen=True)
class Layout:
    """The paths of one folder's servers."""

    directory: Path
    nodes: int
    mongodb_sockets: Path
    postgresql: Path
    postgresql_sockets: Path

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    def mongodb_data(self, node: int) -> Path:
        return self.directory / "mongodb" / str(node)

    def mongodb_socket(self, node: int) -> Path:
        return self.mongodb_sockets / f"mongodb-{node}.sock"

    @property
    def postgresql_data(self) -> Path:
        return self.postgresql / "data"

    @property
    def elsewhere(self) -> list[Path]:
        """Return the folders outside of `directory`."""
        places = {self.mongodb_sockets, self.postgresql, self.postgresql_sockets}
        return sorted(place for place in places if not place.is_relative_to(self.directory))

    @property
    def mongodb_uri(self) -> str:
        hosts = (quote(str(self.mongodb_socket(node)), safe="") for node in range(self.nodes))
        return f"mongodb://{','.join(hosts)}/?replicaSet={REPLICA_SET}"

    @property
    def database_url(self) -> str:
        # The port is explicit, because PGPORT in the environment would select another socket.
        return f"postgres://postgres@:5432/{DATABASE}?host={quote(str(self.postgresql_sockets), safe='/')}"

    def record(self) -> None:
        """Store the paths, so that a later process with another TMPDIR or user finds the data."""
        state = {
            "directory": str(self.directory),
            "user": os.geteuid(),
            "nodes": self.nodes,
            "mongodb_sockets": str(self.mongodb_sockets),
            "postgresql": str(self.postgresql),
            "postgresql_sockets": str(self.postgresql_sockets),
        }
        path = self.directory / STATE_FILE
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)


def addresses(directory: Path) -> dict[str, str]:
    """Return `MONGODB_URI` and `DATABASE_URL` of the folder's servers, whether or not they run."""
    layout = find_layout(directory)
    return {"MONGODB_URI": layout.mongodb_uri, "DATABASE_URL": layout.database_url}


def find_layout(directory: Path, *, nodes: int | None = None) -> Layout:
    """Return the layout that the first `up` stored, or else the layout that it would choose now."""
    require_unix_sockets()
    directory = directory.resolve()
    state = _read_state(directory)
    if state.get("directory") == str(directory):
        return Layout(
            directory=directory,
            nodes=state["nodes"],
            mongodb_sockets=Path(state["mongodb_sockets"]),
            postgresql=Path(state["postgresql"]),
            postgresql_sockets=Path(state["postgresql_sockets"]),
        )
    # A folder that was copied or moved keeps its number of nodes; its paths depend on its new location.
    count = state.get("nodes") or nodes or 1
    postgresql = directory / "postgresql"
    if is_root() and not _is_open_to_others(directory):
        postgresql = _elsewhere(directory, "postgresql", executable=True)
    mongodb_sockets = directory / "run"
    if not _can_hold_socket(mongodb_sockets, "mongodb-0.sock", MONGODB_SOCKET_PATH):
        mongodb_sockets = _elsewhere(directory, "mongodb")
    postgresql_sockets = postgresql
    if not _can_hold_socket(postgresql, POSTGRESQL_SOCKET, POSTGRESQL_SOCKET_PATH):
        postgresql_sockets = _elsewhere(directory, "postgresql")
    return Layout(directory, count, mongodb_sockets, postgresql, postgresql_sockets)


def is_root() -> bool:
    """Return whether this process runs as root on a POSIX system."""
    return os.name == "posix" and os.geteuid() == 0


def require_same_user(directory: Path) -> None:
    """Refuse to start on another user's data, because files that root adds would lock that user out.

    Raises: DevStackError.
    """
    owner = _read_state(directory).get("user", os.geteuid())
    if owner != os.geteuid():
        raise DevStackError(
            f"The data in {directory} belongs to user {owner}, and this is user {os.geteuid()}. Start it as that "
            "user, delete it with `manage.py devstack reset`, or set DEVSTACK_DIR to another folder."
        )


def make_directory(directory: Path) -> Path:
    """Make the folder if it is absent, with mode 0700; as root with 0711, so that `nobody` can enter subfolders.

    An existing folder keeps its mode.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        mode = 0o711 if is_root() else 0o700
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            directory.mkdir(mode=mode, exist_ok=True)
            directory.chmod(mode)  # the umask may have cleared bits
        except OSError as error:
            raise DevStackError(
                f"{directory} cannot be made ({error.strerror}). Set DEVSTACK_DIR to a folder that this user may write."
            ) from error
    return directory


def make_private(folder: Path, *, owner: tuple[int, int] | None = None) -> None:
    """Make the folder, or check that it belongs to this user, because another user may have made it there.

    Raises: DevStackError.
    """
    uid, gid = owner or (os.geteuid(), os.getegid())
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, uid, gid)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()} or found.st_mode & 0o022:
            raise DevStackError(
                f"{folder} is not this user's own folder. Remove it, or set DEVSTACK_DIR to another place."
            ) from None
        if found.st_uid != uid:
            os.chown(folder, uid, gid)
        folder.chmod(0o700)


def _read_state(directory: Path) -> dict:
    try:
        return json.loads((directory / STATE_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise DevStackError(f"{directory / STATE_FILE} cannot be read: {error}") from error


def _can_hold_socket(folder: Path, name: str, allowed: re.Pattern[str]) -> bool:
    return len(os.fsencode(folder / name)) <= MAX_SOCKET_PATH_BYTES and bool(allowed.fullmatch(str(folder)))


def _is_open_to_others(directory: Path) -> bool:
    """Return whether other users can reach the folder. A folder that does not exist yet will be made reachable."""
    for folder in (directory, *directory.parents):
        try:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return False
        except FileNotFoundError:
            continue
    return True


def _elsewhere(directory: Path, purpose: str, *, executable: bool = False) -> Path:
    """Return the folder's substitute in a temp directory; /var/tmp comes first because it survives a reboot."""
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    for parent in (Path("/var/tmp"), Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - make_private checks
        place = parent.resolve() / f"healthcare-{os.geteuid()}-{name}-{purpose}"
        if (
            parent.is_dir()
            and os.access(parent, os.W_OK | os.X_OK)
            and _is_open_to_others(parent.resolve())
            and _can_hold_socket(place, "mongodb-0.sock", MONGODB_SOCKET_PATH)
            and not (executable and _is_noexec(parent))
        ):
            return place
    raise DevStackError(
        f"{directory} cannot hold sockets, and no temp directory can replace it. "
        "Set DEVSTACK_DIR to a short path, or set MONGODB_URI and DATABASE_URL."
    )


def _is_noexec(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0))

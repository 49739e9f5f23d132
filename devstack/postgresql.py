"""Functions that make the data folder of the PostgreSQL server and describe its process."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from devstack.errors import DevStackError
from devstack.layout import DATABASE, POSTGRESQL_SOCKET, Layout, is_root
from devstack.processes import Program

MAX_CONNECTIONS = 200
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


def server_identity() -> tuple[int, int] | None:
    """Return the user and group for the server if this process is root, as which PostgreSQL does not run; else None."""
    if not is_root():
        return None
    import pwd

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise DevStackError(
            "PostgreSQL refuses to run as root, and this system has no user `nobody` to run it as. "
            "Run this as an ordinary user, or set DATABASE_URL."
        ) from error
    return nobody.pw_uid, nobody.pw_gid


def server(layout: Layout, *, programs: Path, durable: bool) -> Program:
    """Return the server process."""
    settings = SETTINGS if durable else SETTINGS | NOT_DURABLE
    sockets = layout.postgresql_sockets
    command = [str(programs / "postgres"), "-D", str(layout.postgresql_data), "-k", str(sockets)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return Program(
        name="postgresql",
        command=command,
        data=layout.postgresql_data,
        lock_files=(layout.postgresql_data / "postmaster.pid", sockets / f"{POSTGRESQL_SOCKET}.lock"),
        log=layout.logs / "postgresql.log",
        pid_file=layout.run / "postgresql.pid",
        stop_signal=signal.SIGINT,  # "fast" shutdown: ends the sessions instead of waiting for them
        discard_signal=signal.SIGQUIT,  # SIGKILL would leave its shared memory
        environment=_environment(),
        run_as=server_identity(),
    )


def make_data_folder(layout: Layout, *, programs: Path, durable: bool) -> None:
    """Run initdb in a draft folder and rename the result, so that a killed run leaves no incomplete data folder."""
    if layout.postgresql_data.is_dir():
        _return_to_server(layout.postgresql_data)
        return
    draft = layout.postgresql_data.with_name("data.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    run_as: dict[str, Any] = {}
    if identity := server_identity():
        os.chown(draft, *identity)
        run_as = {"user": identity[0], "group": identity[1], "extra_groups": []}
    made = subprocess.run(  # noqa: S603 - our own command
        [
            programs / "initdb",
            *("--pgdata", draft),
            *("--username", "postgres"),
            *("--auth", "trust"),  # the folder's mode is the access control
            *("--encoding", "UTF8"),
            # The built-in provider, so that sorting and case do not depend on the machine's locales.
            *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            *(() if durable else ("--no-sync",)),
        ],
        env=_environment(),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **run_as,
    )
    if made.returncode != 0:
        raise DevStackError(f"PostgreSQL's initdb failed: {made.stderr.strip()}")
    draft.rename(layout.postgresql_data)


def _return_to_server(data: Path) -> None:
    """Change the owner of a data folder that root copied (`cp -r checkout other`) to the server's user."""
    identity = server_identity()
    if identity and data.stat().st_uid == 0:
        for path in (data, *data.rglob("*")):
            os.chown(path, *identity, follow_symlinks=False)


def find_version(layout: Layout) -> str | None:
    """Return the version of the running server; None while it accepts no connections."""
    import psycopg

    try:
        with psycopg.connect(_url(layout, "postgres"), connect_timeout=5) as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None


def accepts_connections(layout: Layout) -> bool:
    return find_version(layout) is not None


def make_database(layout: Layout) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(_url(layout, "postgres"), autocommit=True, connect_timeout=5) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if found is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _url(layout: Layout, database: str) -> str:
    return layout.database_url.replace(f"/{DATABASE}?", f"/{database}?", 1)


def _environment() -> dict[str, str]:
    """Return the environment without PGDATA, PGPORT and similar, which may be set for another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}

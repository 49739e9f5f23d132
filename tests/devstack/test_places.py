"""Tests of folders that cannot hold everything: long or unusual paths, closed folders, folders of another user."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import devstack
from devstack import DevStack, DevStackError, binaries
from devstack.layout import MAX_SOCKET_PATH_BYTES, find_layout, is_root
from tests.devstack import stored
from tests.devstack.another_user import as_nobody, readable_installation
from tests.devstack.conftest import discard, permissions, processes_of


@pytest.mark.parametrize("name", ["x" * 60 + "/" + "y" * 60, "Ward 7, «Überprüfung» 100%"])
def test_sockets_move_to_the_temp_directory(folder: Path, name: str) -> None:
    directory = folder.parent / name
    before = devstack.addresses(directory)
    stack = DevStack(directory, durable=False)
    try:
        stack.up()
        layout = find_layout(directory)
        assert devstack.addresses(directory) == before, "the addresses are the same before and after the first `up`"
        assert layout.mongodb_sockets in layout.elsewhere
        assert len(str(layout.mongodb_socket(0))) <= MAX_SOCKET_PATH_BYTES
        assert layout.mongodb_data(0).is_relative_to(directory), "the data stays"
        for place in layout.elsewhere:
            assert permissions(place) == 0o700
        stored.write(directory, "stored")
        assert stored.read(directory) == (["stored"], ["stored"])
    finally:
        discard(directory)


def test_stored_paths_are_used_by_processes_with_another_tmpdir(folder: Path, monkeypatch) -> None:
    directory = folder.parent / ("x" * 120)
    stack = DevStack(directory, durable=False)
    try:
        stack.up(postgresql=False)
        recorded = devstack.addresses(directory)
        monkeypatch.setattr(tempfile, "tempdir", str(folder.parent))
        assert devstack.addresses(directory) == recorded
    finally:
        discard(directory)


def test_temp_folder_of_another_user_is_refused(folder: Path) -> None:
    directory = folder.parent / ("x" * 120)
    foreign = find_layout(directory).mongodb_sockets
    foreign.mkdir(mode=0o777)
    foreign.chmod(0o777)
    try:
        with pytest.raises(DevStackError, match="is not this user's own folder"):
            DevStack(directory).up()
    finally:
        foreign.rmdir()


def test_folder_is_closed_to_others(folder: Path) -> None:
    DevStack(folder, durable=False).up()
    layout = find_layout(folder)
    private = [layout.run, layout.logs, layout.mongodb_sockets, layout.postgresql, layout.postgresql_sockets]
    assert {permissions(path) for path in private} == {0o700}
    # As root, the folder lets `nobody` enter PostgreSQL's folder and read nothing else.
    assert permissions(folder) == (0o711 if is_root() else 0o700)


ORDINARY_USER = """
import os, sys
from pathlib import Path
import psycopg, pymongo
import devstack

assert os.geteuid() != 0
directory = Path(sys.argv[1])
secret = devstack.local_secret(directory, "SECRET_KEY")
stack = devstack.DevStack(directory)
stack.up()
with pymongo.MongoClient(stack.addresses["MONGODB_URI"]) as client:
    client.trial.notes.insert_one({"text": "kept"})
stack.down()
stack.up()
with pymongo.MongoClient(stack.addresses["MONGODB_URI"]) as client:
    assert client.trial.notes.count_documents({"text": "kept"}) == 1
with psycopg.connect(stack.addresses["DATABASE_URL"]) as connection:
    assert connection.info.dbname == "healthcare"
assert [server.state for server in stack.status()] == ["primary", "running"]
assert devstack.local_secret(directory, "SECRET_KEY") == secret
assert directory.stat().st_mode & 0o777 == 0o700
stack.reset()
assert not directory.exists()
print("served an ordinary user")
"""


def test_ordinary_user_needs_no_permissions(folder: Path) -> None:
    home = folder.parent / "home"
    home.mkdir()
    if is_root():
        shutil.chown(home, "nobody")
    with readable_installation() as (python, environment):
        result = subprocess.run(
            [python, "-c", ORDINARY_USER, home / ".devstack"],
            cwd="/",
            env={**environment, "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **as_nobody(),
        )
    assert result.stdout == "served an ordinary user\n", result.stderr


# Only root can run the following tests. They are not skipped for others, because a skipped test fails under CI.
if is_root():

    def test_root_in_a_folder_that_is_closed_to_others(folder: Path, monkeypatch) -> None:
        """Folder and programs are closed to others, as in `/root/checkout/.venv`, and stay closed."""
        closed = Path(tempfile.mkdtemp(prefix="devstack-"))
        package = binaries.find_postgresql().parents[1]
        shutil.copytree(package / "pginstall18", closed / package.name / "pginstall18")
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, closed / libraries.name)
        monkeypatch.setattr(binaries, "find_postgresql", lambda: closed / package.name / "pginstall18" / "bin")
        directory = closed / "stack"
        before = devstack.addresses(directory)
        stack = DevStack(directory, durable=False)
        try:
            stack.up()
            stored.write(directory, "stored")
            stack.down()
            stack.up()
            assert stored.read(directory) == (["stored"], ["stored"])
            assert devstack.addresses(directory) == before
            assert permissions(closed) == 0o700
            (postgres,) = [process for process in processes_of(directory) if process.name() == "postgres"]
            assert not Path(postgres.exe()).is_relative_to(closed)
            owners = {process.name(): process.username() for process in processes_of(directory)}
            assert owners == {"mongod": "root", "postgres": "nobody"}
        finally:
            discard(directory)
            shutil.rmtree(closed)

    def test_root_does_not_start_on_another_users_data(folder: Path) -> None:
        stack = DevStack(folder, durable=False)
        stack.up(mongodb=False)
        stack.down()
        state = folder / "devstack.json"
        state.write_text(state.read_text().replace('"user": 0', '"user": 1000'))
        with pytest.raises(DevStackError, match="belongs to user 1000, and this is user 0"):
            stack.up()

"""Tests of `up` after a crash: killed servers, lost and stale pid files, copied folders."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devstack import DevStack, DevStackError
from devstack.layout import find_layout
from tests.devstack import stored
from tests.devstack.conftest import discard, processes_of


@pytest.fixture
def foreign_process() -> Iterator[psutil.Process]:
    """A foreign process, whose pid the tests write into the servers' files."""
    child = subprocess.Popen(["sleep", "600"])
    yield psutil.Process(child.pid)
    child.kill()
    child.wait()


def kill_everything(folder: Path) -> None:
    servers = processes_of(folder)
    family = [member for server in servers for member in (server, *server.children(recursive=True))]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=10)


def test_data_survives_kill_9_of_everything(folder: Path) -> None:
    stack = DevStack(folder)
    stack.up()
    stored.write(folder, "acknowledged")
    kill_everything(folder)
    assert [server.state for server in stack.status()] == ["stopped", "stopped"]
    stack.up()
    assert stored.read(folder) == (["acknowledged"], ["acknowledged"])


def test_three_nodes_elect_a_primary_and_readmit_a_killed_one(folder: Path) -> None:
    stack = DevStack(folder, nodes=3)
    stack.up(postgresql=False)
    assert [server.state for server in stack.status()] == ["primary", "secondary", "secondary", "stopped"]
    stored.write_document(folder, "before")
    psutil.Process(stack.status()[0].pid).kill()
    stack.up(postgresql=False)
    assert [server.state for server in stack.status()] == ["primary", "secondary", "secondary", "stopped"]
    stored.write_document(folder, "after")
    assert stored.documents(folder) == ["before", "after"]

    with pytest.raises(DevStackError, match=r"holds a replica set of 3, and 1 were requested\. .*reset"):
        DevStack(folder, nodes=1).up()
    stack.down()
    DevStack(folder).up(postgresql=False)  # the number of nodes is stored
    assert len(processes_of(folder)) == 3
    assert stored.documents(folder) == ["before", "after"]


def test_servers_without_pid_files_are_found_and_stopped(folder: Path) -> None:
    stack = DevStack(folder, durable=False)
    stack.up()
    pids = {process.pid for process in processes_of(folder)}
    for pid_file in find_layout(folder).run.glob("*.pid"):
        pid_file.unlink()
    other = DevStack(folder, durable=False)
    other.up()
    assert {process.pid for process in processes_of(folder)} == pids
    other.down()
    assert not processes_of(folder)


def test_pid_of_another_process_is_neither_trusted_nor_killed(folder: Path, foreign_process) -> None:
    stack = DevStack(folder)
    stack.up()
    stored.write(folder, "kept")
    kill_everything(folder)
    layout = find_layout(folder)
    for pid_file in layout.run.glob("*.pid"):
        pid_file.write_text(json.dumps({"pid": foreign_process.pid, "started_at": foreign_process.create_time()}))
    for lock_file in (
        layout.mongodb_data(0) / "mongod.lock",
        layout.postgresql_data / "postmaster.pid",
        layout.postgresql_sockets / ".s.PGSQL.5432.lock",
    ):
        _, *rest = lock_file.read_text().split("\n")
        lock_file.write_text("\n".join([str(foreign_process.pid), *rest]))
    stack.down()
    stack.up()
    assert stored.read(folder) == (["kept"], ["kept"])
    stack.down()
    assert foreign_process.is_running()
    assert foreign_process.status() != psutil.STATUS_ZOMBIE


def test_two_folders_at_once_one_of_them_a_copy(folder: Path) -> None:
    stack = DevStack(folder)
    stack.up()
    stored.write(folder, "in both")
    stack.down()
    copy = folder.with_name("copy")
    subprocess.run(["cp", "-r", folder, copy], check=True)
    stack.up()
    # A copy of a folder with running servers contains their pid files.
    for pid_file in find_layout(folder).run.glob("*.pid"):
        (copy / "run" / pid_file.name).write_bytes(pid_file.read_bytes())
    try:
        DevStack(copy).up()
        stored.write(copy, "in the copy")
        assert stored.read(copy) == (["in both", "in the copy"], ["in both", "in the copy"])
        assert stored.read(folder) == (["in both"], ["in both"])
        DevStack(copy).down()
        assert len(processes_of(folder)) == 2
    finally:
        discard(copy)
    assert stored.read(folder) == (["in both"], ["in both"])

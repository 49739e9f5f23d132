"""Tests of the plugin that starts the servers of a test run, with test runs in subprocesses."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.devstack.conftest import processes_of

CHECKOUT = Path(__file__).resolve().parents[2]
PREAMBLE = """
import os, pathlib, time, pytest
pathlib.Path({note!r}).write_text(os.environ["DEVSTACK_DIR"])
"""
PASSING = """
import environ, psycopg, pymongo

def test_passes(tmp_path):
    assert pymongo.MongoClient(os.environ["MONGODB_URI"]).admin.command("hello")["isWritablePrimary"]
    assert psycopg.connect(os.environ["DATABASE_URL"]).info.dbname == "healthcare"
    assert "REDIS_URL" not in os.environ
    (tmp_path / ".env").write_text("FROM_ENV_FILE=1")
    environ.Env.read_env(tmp_path / ".env")
    assert "FROM_ENV_FILE" not in os.environ

def test_skips():
    pytest.skip("no printer here")
"""
HANGING = """
def test_hangs():
    print("hanging", flush=True)
    time.sleep(600)
"""


class Run:
    def __init__(self, tmp_path: Path, source: str, *options: str, **environment: str) -> None:
        self.note = tmp_path / "note"
        module = tmp_path / "test_inner.py"
        module.write_text(PREAMBLE.format(note=str(self.note)) + source)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-c",
                "pyproject.toml",
                "-p",
                "no:cacheprovider",
                "-s",
                *options,
                module,
            ],
            cwd=CHECKOUT,
            env={**os.environ, "CI": "", "REDIS_URL": "redis://a.developers.own", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell starts background jobs with SIGINT ignored, which child processes inherit.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def directory(self) -> Path:
        return Path(self.note.read_text())

    def finish(self) -> str:
        output, _ = self.process.communicate(timeout=60)
        return output

    def wait_until_hanging(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if "hanging" in line:
                return
        pytest.fail("the run ended")


@pytest.mark.parametrize(
    ("ci", "summary"),
    [("", "1 passed, 1 skipped"), ("true", "1 failed, 1 passed")],
    ids=["local", "CI"],
)
def test_run_has_servers_and_leaves_none(tmp_path: Path, ci: str, summary: str) -> None:
    run = Run(tmp_path, PASSING, CI=ci)
    output = run.finish()
    assert "servers: mongodb-0 6.0" in output
    assert summary in output.splitlines()[-1]
    assert "no printer here" in output
    assert not run.directory.exists()
    assert not processes_of(run.directory)


def test_run_that_cannot_collect_leaves_no_servers(tmp_path: Path) -> None:
    run = Run(tmp_path, "import a_module_that_is_nowhere")
    assert "1 error" in run.finish()
    assert not run.directory.exists()
    assert not processes_of(run.directory)


def test_listing_tests_starts_no_servers(tmp_path: Path) -> None:
    run = Run(tmp_path, PASSING, "--collect-only")
    output = run.finish()
    assert "2 tests collected" in output
    assert "servers:" not in output


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_run_that_is_killed_leaves_no_servers(tmp_path: Path, end: signal.Signals) -> None:
    run = Run(tmp_path, HANGING)
    run.wait_until_hanging()
    assert len(processes_of(run.directory)) == 2
    run.process.send_signal(end)
    run.finish()
    deadline = time.monotonic() + 20
    while (run.directory.exists() or processes_of(run.directory)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not run.directory.exists()
    assert not processes_of(run.directory)

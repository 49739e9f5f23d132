"""Tests of `make run` and `make serve` from an empty folder, including the commands of the README."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.test_settings import known_variables

ROOT = Path(__file__).parent.parent
START_SECONDS = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment without settings, with a folder for the embedded servers."""
    clean = {name: value for name, value in os.environ.items() if name not in known_variables()}
    directory = tmp_path_factory.mktemp("checkout") / "devstack"
    made = {**clean, "DEVSTACK_DIR": str(directory), "PYTHONUNBUFFERED": "1", "ENV_FILE": os.devnull}
    yield made
    subprocess.run([sys.executable, "manage.py", "devstack", "reset"], cwd=ROOT, env=made, check=True, timeout=60)


@contextmanager
def running(environment: dict[str, str], log: Path, *options: str) -> Iterator[tuple[int, str]]:
    """Run the command `start` until it has printed its addresses; yield the port and the output.

    Check that the event relay runs as long as the server.
    """
    port = free_port()
    command = [sys.executable, "manage.py", "start", "--port", str(port), *options]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_SECONDS
            while "Ctrl-C ends it." not in log.read_text():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            (relay,) = (each for each in psutil.Process(server.pid).children() if "relay_events" in each.cmdline())
            yield port, log.read_text()
            assert relay.is_running()
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=30) == 0, log.read_text()
            assert not relay.is_running()
        finally:
            server.kill()


def answer(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def documented_walk(port: int) -> str:
    """Return the commands of the README and of the API guide, which continue from there."""
    found = re.search(
        r"<!-- tests/test_start.py runs this walk -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    guide = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.S)
    assert found
    assert guide
    return "\n".join([found[1], *guide]).replace("127.0.0.1:8000", f"127.0.0.1:{port}")


def test_run_and_serve_from_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    with running(environment, tmp_path / "run.log") as (port, printed):
        assert f"Smart Healthcare is at http://127.0.0.1:{port}" in printed
        for role in ("admin", "staff", "doctor", "patient"):
            assert re.search(rf"^  {role}\s+{role}@example.org\s+\S{{12,}}$", printed, re.M)
        if shutil.which("curl") is None:
            pytest.skip("the walk of the README needs curl: apt-get install curl")
        # bash ends at the first failing command.
        walk = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", documented_walk(port)],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert walk.returncode == 0, walk.stderr
        assert '"date":"2030-01-15"' in walk.stdout
        assert '"drug":"Metformin"' in walk.stdout
        assert '"cost":"12.50"' in walk.stdout
        assert '"code":"slot_taken"' in walk.stdout
        assert '"status":"cancelled"' in walk.stdout
        assert "month,completed,cancelled,scheduled" in walk.stdout
        assert not list(tmp_path.glob("*.json")), "the commands leave no files with tokens"
        assert answer(port, "/admin/login/")[0] == 200
        status, problem = answer(port, "/api/nothing")
        assert (status, json.loads(problem)["status"]) == (404, 404)

    began = time.monotonic()
    with running(environment, tmp_path / "serve.log", "--production", "--workers", "2") as (port, printed):
        assert time.monotonic() - began < START_SECONDS
        assert "Stored:" not in printed
        # DEBUG is off, and plain HTTP is answered, including static files.
        status, page = answer(port, "/nothing")
        assert status == 404
        assert "Traceback" not in page
        assert "DEBUG" not in page
        assert answer(port, "/static/admin/css/base.css")[0] == 200
        assert answer(port, "/docs")[0] == 200


def test_message_for_a_port_in_use(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "manage.py", "start", "--port", str(port)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert result.returncode == 1
    assert f"Port {port} cannot be used" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("options", [["--port", "0"], ["--port", "70000"], ["--workers", "0"], ["--port", "x"]])
def test_bad_options_are_refused(environment: dict[str, str], options: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "start", *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode != 0
    assert "Traceback" not in result.stderr

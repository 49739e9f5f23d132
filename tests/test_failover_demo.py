"""Tests of `manage.py failover_demo` and `concern_benchmark`: their figures, and that they remove their servers."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import CommandError, call_command

from benchmarks.failover import output
from benchmarks.failover.demonstration import BILLED, FailoverRun, Write

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 4


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of the command's servers, which `nobody` can enter because PostgreSQL runs as that user."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


def start(folder: Path, command: str, *words: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "TMPDIR": str(folder),
        # No server is there, so any use of the user's databases would fail.
        "MONGODB_URI": "mongodb://127.0.0.1:9/?replicaSet=rs0",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:9/nothing",
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", command, *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A shell starts background jobs with SIGINT ignored, which child processes inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def leftovers(folder: Path) -> list[str]:
    """Return the files in the folder, and the processes whose command line names it."""
    found = [str(path) for path in folder.iterdir()]
    for process in psutil.process_iter():
        try:
            found += [str(process.pid) for word in process.cmdline() if str(folder) in word]
        except psutil.Error:
            continue
    return found


def test_partition_loses_only_writes_that_one_member_acknowledged(folder: Path, tmp_path: Path) -> None:
    figures_file, chart = tmp_path / "figures.json", tmp_path / "chart.png"
    process = start(
        folder, "failover_demo", "--fault", "partition", "--seconds", str(SECONDS),
        "--json", str(figures_file), "--chart", str(chart),
    )  # fmt: skip
    text, _ = process.communicate(timeout=180)
    assert leftovers(folder) == [], text
    figures = json.loads(figures_file.read_text())
    # Only the time without a write depends on the machine's load.
    assert [each for each in figures["failures"] if "passed without a write" not in each] == [], text
    assert process.returncode == (1 if figures["failures"] else 0)
    assert figures["acknowledged"] == figures["present"] > 0
    assert figures["lost"] == figures["doubled"] == figures["differing_charts"] == 0
    assert figures["catch_up_s"] > 0
    isolated = figures["writes"]["beside, w=1"]["booked"]
    assert isolated["acknowledged"] == isolated["lost"] > 0
    assert isolated["present"] == 0
    assert figures["rolled_back"] > isolated["lost"]
    refused = figures["writes"]["beside, w=majority"]["booked"]
    assert refused["acknowledged"] == refused["kept"] == 0
    assert refused["unanswered"] > 0
    assert [0, "rolling back"] in [each[1:] for each in figures["states"]] or figures["rolled_back"]
    assert chart.read_bytes().startswith(b"\x89PNG")
    for words in (
        "Cut the connections of node",
        "was elected",
        "Writes go on",
        "has caught up",
        "were rolled back",
        "0",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("number", "command", "after"),
    [
        (signal.SIGINT, "failover_demo", "Migrating"),
        (signal.SIGTERM, "concern_benchmark", "Starting"),
    ],
)
def test_interrupted_commands_remove_their_servers(
    number: signal.Signals, command: str, after: str, folder: Path
) -> None:
    process = start(folder, command)
    assert process.stdout is not None
    for line in process.stdout:
        if after in line:
            break
    process.send_signal(number)
    text = process.stdout.read()
    assert process.wait(60) == 130, text
    assert "Interrupted" in text
    assert leftovers(folder) == []


@pytest.mark.parametrize("command", ["failover_demo", "concern_benchmark"])
@pytest.mark.parametrize(
    "options", [{"seconds": 0.1}, {"seconds": 10**6}, {"chart": Path("x.gif")}, {"json": Path("/nowhere/x")}]
)
def test_bad_options(command: str, options: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        call_command(command, **options)


# --- Evaluation of invented runs


def row(**figures: int) -> dict[str, int]:
    names = ("acknowledged", "present", "lost", "doubled", "unanswered", "kept")
    return {**dict.fromkeys(names, 0), **figures}


def make_run(fault: str = "kill", *, gap: float = 2.0, **changes: Any) -> FailoverRun:
    """Ten writes per second for ten seconds, the fault after three, no write for `gap` seconds."""
    made = FailoverRun(fault, 10, writers=4, began=100.0, ended=110.0, member=0)
    times = [100 + number / 10 for number in range(100)]
    made.writes = [Write(at, 0.05, "main", "booked", None, True) for at in times if not 103.0 < at < 103.0 + gap - 1e-6]
    made.fault_at, made.recovered_at, made.caught_up_at = 103.01, 106.0, 107.5
    made.rows = {"main": {"booked": row(acknowledged=80, present=80), BILLED: row(acknowledged=9, present=9)}}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_good_run_has_no_failures() -> None:
    run = make_run()
    assert run.failures() == []
    assert run.window_seconds == pytest.approx(2.0)
    assert run.catch_up_seconds == pytest.approx(1.5)
    # Bills follow from completed visits and are not counted as requests.
    assert run.total("acknowledged") == 80


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (make_run(gap=5.5), "5.5 s passed without a write, more than 5 s."),
        (
            make_run(rows={"main": {"booked": row(acknowledged=80, present=79, lost=1)}}),
            "1 acknowledged writes are lost.",
        ),
        (make_run(rows={"main": {BILLED: row(acknowledged=9, present=8, lost=1)}}), "1 acknowledged writes are lost."),
        (make_run(rows={"main": {"booked": row(doubled=2)}}), "2 writes are stored twice."),
        (make_run(differing_charts=3), "3 charts differ from their collections."),
        (make_run(caught_up_at=None), "The member did not catch up."),
        (
            make_run("partition", rows={"w=majority": {"booked": row(acknowledged=1)}}),
            "An isolated member acknowledged a write",
        ),
        (make_run(gap=50), "No write was acknowledged after the fault."),
    ],
)
def test_violated_expectations_are_reported(run: FailoverRun, sentence: str) -> None:
    assert [each for each in run.failures() if each.startswith(sentence)], run.failures()
    out = StringIO()
    output.print_report(make_run(**{**vars(run), "rows": {"main": {}, **run.rows}}), out)
    assert sentence in out.getvalue()


def test_unexpected_error_is_a_failure() -> None:
    run = make_run()
    run.writes.append(Write(104.0, 1.0, "main", "booked", "KeyError", False))
    assert run.failures() == ["The API would have answered 500: KeyError."]
    run = make_run()
    run.writes.append(Write(104.0, 1.0, "main", "booked", "ClinicalWriteFailed", True))
    assert run.failures() == []


@pytest.mark.parametrize("fault", ["kill", "freeze", "step-down", "partition"])
def test_charts_of_every_fault(fault: str, tmp_path: Path) -> None:
    run = make_run(fault)
    run.changes = [(99.0, 0, "primary"), (99.0, 1, "secondary"), (103.5, 0, "no answer"), (105.0, 1, "primary")]
    output.draw_chart(run, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")

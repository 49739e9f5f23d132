"""`manage.py failover_demo` and `concern_benchmark`: what they show, and that they leave nothing behind."""

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
from benchmarks.failover.running import BILLED, Story, Write

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 4


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the command's servers live, open to `nobody`, who PostgreSQL runs as; empty in the end."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def started(place: Path, command: str, *words: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "TMPDIR": str(place),
        # Nobody is there: whatever the command did with the user's databases would fail.
        "MONGODB_URI": "mongodb://127.0.0.1:9/?replicaSet=rs0",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:9/nothing",
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", command, *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A shell starts what it runs in the background with SIGINT ignored, and that is handed on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def left(place: Path) -> list[str]:
    """Files in the place, and processes that were started with it."""
    found = [str(path) for path in place.iterdir()]
    for process in psutil.process_iter():
        try:
            found += [str(process.pid) for word in process.cmdline() if str(place) in word]
        except psutil.Error:
            continue
    return found


def test_a_partition_loses_what_one_member_acknowledged_and_nothing_else(place: Path, tmp_path: Path) -> None:
    figures_file, chart = tmp_path / "figures.json", tmp_path / "chart.png"
    process = started(
        place, "failover_demo", "--fault", "partition", "--seconds", str(SECONDS),
        "--json", str(figures_file), "--chart", str(chart),
    )  # fmt: skip
    said, _ = process.communicate(timeout=180)
    assert left(place) == [], said
    figures = json.loads(figures_file.read_text())
    # How long it took is a matter of what else the machine does; the rest is not.
    assert [each for each in figures["failures"] if "passed without a write" not in each] == [], said
    assert process.returncode == (1 if figures["failures"] else 0)
    assert figures["acknowledged"] == figures["present"] > 0
    assert figures["lost"] == figures["doubled"] == figures["differing_charts"] == 0
    assert figures["catch_up_s"] > 0
    beside = figures["writes"]["beside, w=1"]["booked"]
    assert beside["acknowledged"] == beside["lost"] > 0
    assert beside["present"] == 0
    assert figures["rolled_back"] > beside["lost"]
    refused = figures["writes"]["beside, w=majority"]["booked"]
    assert refused["acknowledged"] == refused["kept"] == 0
    assert refused["unanswered"] > 0
    assert [0, "rolling back"] in [each[1:] for each in figures["states"]] or figures["rolled_back"]
    assert chart.read_bytes().startswith(b"\x89PNG")
    for words in ("Cut node", "was elected", "Writes go on", "has caught up", "were rolled back", "0"):
        assert words in said


@pytest.mark.parametrize(
    ("number", "command", "after"),
    [
        (signal.SIGINT, "failover_demo", "Migrating"),
        (signal.SIGTERM, "concern_benchmark", "Starting"),
    ],
)
def test_interrupted_they_leave_nothing_behind(number: signal.Signals, command: str, after: str, place: Path) -> None:
    process = started(place, command)
    assert process.stdout is not None
    for line in process.stdout:
        if after in line:
            break
    process.send_signal(number)
    said = process.stdout.read()
    assert process.wait(60) == 130, said
    assert "Interrupted" in said
    assert left(place) == []


@pytest.mark.parametrize("command", ["failover_demo", "concern_benchmark"])
@pytest.mark.parametrize(
    "options", [{"seconds": 0.1}, {"seconds": 10**6}, {"chart": Path("x.gif")}, {"json": Path("/nowhere/x")}]
)
def test_bad_options(command: str, options: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        call_command(command, **options)


# --- What the figures say, of stories that are made up


def row(**figures: int) -> dict[str, int]:
    names = ("acknowledged", "present", "lost", "doubled", "unanswered", "kept")
    return {**dict.fromkeys(names, 0), **figures}


def story(fault: str = "kill", *, gap: float = 2.0, **changes: Any) -> Story:
    """Ten writes a second for ten seconds, the fault after three, none for `gap`."""
    made = Story(fault, 10, writers=4, began=100.0, ended=110.0, member=0)
    moments = [100 + number / 10 for number in range(100)]
    made.writes = [
        Write(at, 0.05, "main", "booked", None, True) for at in moments if not 103.0 < at < 103.0 + gap - 1e-6
    ]
    made.fault_at, made.returned_at, made.caught_up_at = 103.01, 106.0, 107.5
    made.rows = {"main": {"booked": row(acknowledged=80, present=80), BILLED: row(acknowledged=9, present=9)}}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_good_story_has_no_failures() -> None:
    told = story()
    assert told.failures() == []
    assert told.window_seconds == pytest.approx(2.0)
    assert told.catch_up_seconds == pytest.approx(1.5)
    # Bills follow from completed visits; they are nobody's request.
    assert told.total("acknowledged") == 80


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (story(gap=5.5), "5.5 s passed without a write, more than 5 s."),
        (story(rows={"main": {"booked": row(acknowledged=80, present=79, lost=1)}}), "1 acknowledged writes are lost."),
        (story(rows={"main": {BILLED: row(acknowledged=9, present=8, lost=1)}}), "1 acknowledged writes are lost."),
        (story(rows={"main": {"booked": row(doubled=2)}}), "2 writes are there twice."),
        (story(differing_charts=3), "3 charts differ from their collections."),
        (story(caught_up_at=None), "The member did not catch up."),
        (story("partition", rows={"w=majority": {"booked": row(acknowledged=1)}}), "A majority was claimed"),
        (story(gap=50), "No write was acknowledged after the fault."),
    ],
)
def test_what_did_not_come_true_is_said(told: Story, sentence: str) -> None:
    assert [each for each in told.failures() if each.startswith(sentence)], told.failures()
    said = StringIO()
    output.report(story(**{**vars(told), "rows": {"main": {}, **told.rows}}), said)
    assert sentence in said.getvalue()


def test_an_error_that_a_client_would_get_as_500_is_a_failure() -> None:
    told = story()
    told.writes.append(Write(104.0, 1.0, "main", "booked", "KeyError", False))
    assert told.failures() == ["A client would have been told 500: KeyError."]
    told = story()
    told.writes.append(Write(104.0, 1.0, "main", "booked", "ClinicalWriteFailed", True))
    assert told.failures() == []


@pytest.mark.parametrize("fault", ["kill", "freeze", "step-down", "partition"])
def test_charts_of_every_fault(fault: str, tmp_path: Path) -> None:
    told = story(fault)
    told.changes = [(99.0, 0, "primary"), (99.0, 1, "secondary"), (103.5, 0, "no answer"), (105.0, 1, "primary")]
    output.draw(told, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")

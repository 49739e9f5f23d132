"""Tests of `manage.py benchmark_indexes`: figures for every hot query, and an unchanged database afterwards."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from benchmarks.indexes import copies, measuring, output
from tests.databases import clinical_database
from tests.live.conftest import environment_of_this_run
from tests.people import People
from tests.records import complete, make_appointment, make_prescription

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[1]
QUERIES = (
    "patient by id", "patients by name search", "doctors by specialty", "appointments by doctor and dates",
    "appointments by patient", "prescriptions by patient", "top-doctors", "top-doctors by appointments",
    "top-doctors of a year",
    "disease-trends", "disease-trends by appointments", "monthly-appointments-trend", "average-prescription-cost",
    "average-prescription-cost, no visit",
)  # fmt: skip


def database() -> Any:
    return clinical_database()


def state() -> dict[str, Any]:
    """Return every collection with its documents and indexes."""
    return {
        name: [list(database()[name].find().sort("_id")), database()[name].index_information()]
        for name in sorted(database().list_collection_names())
        if not name.startswith("system.")
    }


def run(**options: Any) -> str:
    out = StringIO()
    call_command("benchmark_indexes", runs=5, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "WRITE_ROUNDS", 1)


@pytest.mark.usefixtures("quick")
def test_figures_for_every_query_and_no_leftovers(people: People, tmp_path: Path) -> None:
    make_prescription(people, appointment_id=complete(people, make_appointment(people)).appointment_id)
    before = state()
    text = run(json=tmp_path / "figures.json", chart=tmp_path / "chart.png")
    after = state()
    # The audit entry about the copied patients is in PostgreSQL.
    assert after == before
    for name in QUERIES:
        assert name in text
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [each["name"] for each in figures["results"]] == list(QUERIES)
    assert figures["sizes"]["patients"] == 2


@pytest.mark.usefixtures("quick")
def test_index_makes_the_difference(tmp_path: Path) -> None:
    run(size=1_000, json=tmp_path / "figures.json")
    figures = {each["name"]: each for each in json.loads((tmp_path / "figures.json").read_text())["results"]}
    assert sorted(figures) == sorted(QUERIES)
    for name in QUERIES:
        indexed, bare = figures[name]["with_index"], figures[name]["without_index"]
        assert bare["stage"] == "COLLSCAN", name
        assert indexed["stage"] in ("IXSCAN", "IDHACK", "TEXT_MATCH"), name
        assert indexed["documents_examined"] < bare["documents_examined"], name
        assert indexed["runs"] == 5
        assert figures[name]["index_bytes"] > 0
    assert figures["top-doctors"]["with_index"]["keys_examined"] == 5
    # The index covers the query, so no document is read.
    assert figures["top-doctors of a year"]["with_index"]["documents_examined"] == 0


@pytest.mark.parametrize(("columns", "heads"), [(80, 2), (160, 1)])
def test_table_fits_the_terminal(columns: int, heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cut off: a table that is too wide is split into two."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    slow = measuring.QueryFigures(
        median_ms=12_345.678, p95_ms=123_456.7, runs=5, documents_examined=9_999_999, keys_examined=9_999_999,
        stage="TEXT_MATCH",
    )  # fmt: skip
    results = [measuring.Result(name, "index", slow, slow, 123_456_789, 123.4, "") for name in QUERIES]
    terminal = StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    output.print_results(results, {"patients": 1_000_000}, terminal)
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= columns
    assert len(re.findall(r"^ query ", text, re.MULTILINE)) == heads
    for figure in ("12,346", "123,457", "9,999,999", "TEXT_MATCH", "1.0x", "117.7 MB", "123 µs"):
        assert text.count(figure) >= len(QUERIES), figure


def test_without_data_the_command_fails(people: People) -> None:
    with pytest.raises(CommandError, match="no appointments"):
        run()
    assert [name for name in database().list_collection_names() if name.startswith("benchmark")] == []


@pytest.mark.parametrize(
    "options", [{"size": 99}, {"size": 10**9}, {"size": -1}, {"chart": Path("x.gif")}, {"json": Path("/nowhere/x")}]
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        run(**options)
    with pytest.raises(CommandError):
        call_command("benchmark_indexes", runs=0, stderr=StringIO())


def start() -> subprocess.Popen[str]:
    """Start the command in a process, and return when the first query is measured."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "benchmark_indexes", "--size", "300", "--runs", "10000"],
        cwd=ROOT, env={**os.environ, **environment_of_this_run()}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
        # A shell starts background jobs with SIGINT ignored, which child processes inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("patient by id"):
            break
    return process


def leftovers() -> list[str]:
    return [name for name in database().list_collection_names() if name.startswith("benchmark")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_command_leaves_nothing(number: signal.Signals) -> None:
    before = state()
    process = start()
    assert leftovers()
    process.send_signal(number)
    assert process.wait(30) == 130
    assert state() == before


def test_leftovers_of_a_killed_run_are_removed_by_the_next(people: People) -> None:
    process = start()
    process.kill()
    process.wait(30)
    assert leftovers()
    running = start()
    current = set(leftovers())
    assert current
    copies.remove_leftovers()
    assert set(leftovers()) == current, "a running benchmark keeps its collections"
    running.send_signal(signal.SIGINT)
    running.wait(30)
    deadline = time.monotonic() + 5
    while leftovers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert leftovers() == []

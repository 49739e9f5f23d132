"""Tests that `python -m benchmarks.api` runs: it compares the floor's responses with the API's, and measures a case."""

import subprocess
import sys
from pathlib import Path

from devstack import DevStack

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 240


def test_benchmark_compares_the_floor_with_the_api_and_drives_both(tmp_path: Path) -> None:
    # Before the measurement the command compares the responses of all read cases.
    command = [sys.executable, "-m", "benchmarks.api", "--quick", "--cases", "booking", "--patients", "60"]
    folder = tmp_path / "bench"
    try:
        done = subprocess.run(
            [*command, "--dir", str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
    finally:
        DevStack(folder).reset()
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("POST appointment")]
    requests_a_second, ratio = float(line.split()[2]), float(line.split()[8])
    assert requests_a_second > 0
    assert ratio > 0

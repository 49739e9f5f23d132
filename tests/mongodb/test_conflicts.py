"""Real conflicts between processes: no write is lost and none fails, because the service is retried."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.db import connections

from tests.mongodb.models import Tally


def run_writers(**job: Any) -> Counter[str]:
    """Let processes write at the same moment; return the outcomes of their writes."""
    usual = connections["clinical"].settings_dict
    job["database"] = {name: usual[name] for name in ("ENGINE", "HOST", "NAME", "OPTIONS")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.mongodb.writer", json.dumps(job)],
        cwd=Path(__file__).resolve().parents[2], stdout=subprocess.PIPE, text=True, timeout=240, check=True,
    )  # fmt: skip
    return Counter(json.loads(done.stdout))


def test_no_update_of_one_document_is_lost() -> None:
    """8 processes increment a number 10 times each by read, modify and write."""
    Tally.objects.create(name="shared")
    outcomes = run_writers(processes=8, threads=1, turns=10, is_insert=False, is_retried=True, thinking_seconds=0.001)
    assert outcomes["retries"] > 0, "the processes never met"
    assert outcomes["done"] == 80
    assert Tally.objects.get(name="shared").total == 80


def test_fifty_inserts_that_share_a_document_all_succeed() -> None:
    Tally.objects.create(name="shared")
    outcomes = run_writers(processes=5, threads=10, turns=1, is_insert=True, is_retried=True, thinking_seconds=0.001)
    assert outcomes["retries"] > 0, "the processes never met"
    assert outcomes["done"] == 50
    assert Tally.objects.get(name="shared").total == 50
    assert Tally.objects.count() == 51


def test_without_the_retry_some_of_the_same_fifty_fail() -> None:
    """The stock engine's `atomic` stores no half of a write, but leaves the other clients with an error."""
    Tally.objects.create(name="shared")
    outcomes = run_writers(processes=5, threads=10, turns=1, is_insert=True, is_retried=False, thinking_seconds=0.001)
    assert outcomes["DatabaseError"] > 0
    assert outcomes["done"] == 50 - outcomes["DatabaseError"] == Tally.objects.get(name="shared").total
    assert Tally.objects.count() == 1 + outcomes["done"]

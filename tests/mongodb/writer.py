"""A process that writes on command, for test_conflicts: `python -m tests.mongodb.writer '{…}'`.

The process prints "ready", waits for a line, runs its threads, and prints `{"done": n, "errors": [names]}`.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from typing import Any

import django
from django.conf import settings

os.environ["DJANGO_SETTINGS_MODULE"] = "healthcare.settings"
job: dict[str, Any] = json.loads(sys.argv[1])
settings.DATABASES["clinical"] = job["database"]
django.setup()

from django.db import DatabaseError, connections  # noqa: E402
from django_mongodb_backend.transaction import atomic  # noqa: E402

from healthcare.mongodb import transactions  # noqa: E402
from healthcare.mongodb.transactions import clinical_transaction, statistics  # noqa: E402
from tests.mongodb.models import Tally  # noqa: E402


def add_one() -> None:
    """Read, think, write. Without a transaction this loses updates, and in one it fails without a retry."""
    tally = Tally.objects.get(name="shared")
    time.sleep(job["thinking_seconds"])
    tally.total += 1
    tally.save(update_fields=["total"])


def insert_and_count(name: str) -> None:
    """Insert a document and update one that all threads update."""
    Tally.objects.create(name=name)
    add_one()


# The test shows that all writes succeed, not how fast a busy machine is.
transactions.MAX_SECONDS = 60.0
transactions.MAX_ATTEMPTS = 10_000

run = clinical_transaction if job["is_retried"] else atomic(using="clinical")
outcomes: Counter[str] = Counter()
lock = threading.Lock()


def work(thread: int) -> None:
    for turn in range(job["turns"]):
        name = f"{job['process']}.{thread}.{turn}"
        try:
            if job["is_insert"]:
                run(insert_and_count)(name)
            else:
                run(add_one)()
        except DatabaseError as error:
            outcome = type(error).__name__
        else:
            outcome = "done"
        with lock:
            outcomes[outcome] += 1


connections["clinical"].ensure_connection()
print("ready", flush=True)  # noqa: T201
sys.stdin.readline()
threads = [threading.Thread(target=work, args=(number,)) for number in range(job["threads"])]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(json.dumps({**outcomes, "retries": statistics.retries}), flush=True)  # noqa: T201

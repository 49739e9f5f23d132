"""Processes that write at the same moment, for test_conflicts: `python -m tests.mongodb.writer '{…}'`.

The program loads Django once and forks the processes, each of which opens its own connection to MongoDB. When all of
them are connected each runs its threads. The program prints how often each outcome occurred, and the number of retries.
"""

import json
import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
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

#: How long the processes may take to connect on a busy machine.
START_SECONDS = 60


def add_one() -> None:
    """Read, wait and write. Without a transaction this loses updates, and in a transaction it fails without a retry."""
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


def work(process: int, thread: int) -> None:
    for turn in range(job["turns"]):
        name = f"{process}.{thread}.{turn}"
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


def write(process: int, start: Barrier, results: Any) -> None:
    connections["clinical"].ensure_connection()
    threads = [threading.Thread(target=work, args=(process, number)) for number in range(job["threads"])]
    start.wait(START_SECONDS)
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    results.put({**outcomes, "retries": statistics.retries})


def main() -> None:
    forked = multiprocessing.get_context("fork")
    start, results = forked.Barrier(job["processes"]), forked.Queue()
    processes = [forked.Process(target=write, args=(number, start, results)) for number in range(job["processes"])]
    for each in processes:
        each.start()
    total: Counter[str] = Counter()
    for _ in processes:
        total.update(results.get())
    for each in processes:
        each.join()
    print(json.dumps(total))  # noqa: T201


if __name__ == "__main__":
    main()

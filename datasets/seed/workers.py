"""The blocks of a run, written by several processes.

This module is imported by a process that has not set up Django yet: it imports nothing that has models.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING

import django
from django.db import connections

from datasets.seed.plan import Plan

if TYPE_CHECKING:
    from datasets.seed.writing import Written

#: Fewer blocks are written sooner than another process has started.
BLOCKS_WORTH_A_PROCESS = 12
MOST_BY_DEFAULT = 4


def default_count(plan: Plan) -> int:
    return max(1, min(os.cpu_count() or 1, plan.block_count // BLOCKS_WORTH_A_PROCESS, MOST_BY_DEFAULT))


def write_blocks(plan: Plan, *, count: int) -> Iterator["Written"]:
    """Write all blocks, yielding what each had; with a count of one in this process.

    New processes instead of forked ones: this one has database connections and threads. When it is interrupted, the
    blocks that were begun are finished and no other is begun; when it is killed, the workers end at once.
    """
    if count == 1:
        for number in range(plan.block_count):
            yield _write(plan, number)
        return
    databases = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(databases,))
    try:
        running: deque[Future[Written]] = deque()
        for number in range(plan.block_count):
            running.append(pool.submit(_write, plan, number))
            if len(running) > 3 * count:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(databases: dict[str, str]) -> None:
    """Prepare a new process: the same databases as in the one that started it (a test's have other names)."""
    # Ctrl-C reaches every process of the terminal; the first one says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    django.setup()
    for alias, name in databases.items():
        connections[alias].settings_dict["NAME"] = name


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write(plan: Plan, number: int) -> "Written":
    from datasets.seed.writing import write_block

    return write_block(plan, number)

"""Worker processes that write the blocks of a run.

A worker imports this module before it sets up Django, so nothing here may import models at the top.
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

#: One process writes fewer blocks than this before another process has started.
MIN_BLOCKS_PER_WORKER = 12
MAX_DEFAULT_WORKERS = 4


def default_count(plan: Plan) -> int:
    return max(1, min(os.cpu_count() or 1, plan.block_count // MIN_BLOCKS_PER_WORKER, MAX_DEFAULT_WORKERS))


def write_blocks(plan: Plan, *, count: int) -> Iterator["Written"]:
    """Write all blocks and yield the figures of each. With a count of 1 this process writes them itself.

    The workers are spawned and not forked, because this process has database connections and threads. When this process
    is interrupted, the workers finish the blocks that they have begun and start no others. When this process is killed,
    the workers exit at once.
    """
    if count == 1:
        for number in range(plan.block_count):
            yield _write(plan, number)
        return
    databases = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_initialise, initargs=(databases,))
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


def _initialise(databases: dict[str, str]) -> None:
    """Set up Django in a worker, with the names of the parent's databases, because tests use other names."""
    # Ctrl-C reaches every process of the terminal; only the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    django.setup()
    for alias, name in databases.items():
        connections[alias].settings_dict["NAME"] = name


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write(plan: Plan, number: int) -> "Written":
    from datasets.seed.writing import write_block

    return write_block(plan, number)

"""Pytest plugin that marks slow tests, and distributes the files among the workers of pytest-xdist.

pyproject.toml names the plugin in `addopts`. All tests of a file run in one worker, because they share its fixtures.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

#: Files and folders whose tests mostly wait: for servers that start, fail or come back, for a browser, or for a
#: deadline. The first two workers run them, while the others use the processor. The longest come first.
WAITING = (
    "tests/live/test_crash.py",
    "tests/live/test_failover.py",
    "tests/live/test_unavailable_databases.py",
    "tests/browser/",
    "tests/test_start.py",
    "tests/devstack/test_servers_plugin.py",
    "tests/test_failover_demo.py",
    "tests/live/test_limits.py",
    "tests/live/test_backup.py",
    "tests/live/test_reports.py",
    "tests/phi/test_marks.py",
    "tests/test_bench.py",
    "tests/devstack/",
    "tests/live/",
)
#: Files that keep the processor busy for more than 15 seconds. The other workers begin with them, so that none of them
#: is left for the end.
LONG = (
    "tests/test_permission_matrix.py",
    "tests/test_plans.py",
    "tests/test_conventions.py",
    "tests/synthea/test_import.py",
    "tests/seeding/test_command.py",
    "tests/security/test_surface.py",
    "tests/security/test_admin_urls.py",
    "tests/test_import_export.py",
    "tests/reports/test_admin.py",
    "tests/test_benchmark_indexes.py",
)
#: Files whose tests start programs, request many pages, or work on many generated records.
HEAVY = (
    "tests/audit/test_admin_walk.py",
    "tests/audit/test_seals.py",
    "tests/consistency/test_command.py",
    "tests/mongodb/test_conflicts.py",
    "tests/mongodb/test_connection.py",
    "tests/seeding/",
    "tests/phi/test_commands.py",
    "tests/audit/test_commands.py",
    "tests/operations/test_deployment.py",
    "tests/reports/test_charts.py",
    "tests/reports/test_oracle.py",
)
#: Files and folders that `make test-fast` leaves out. The permission matrix stays in, because nearly every change of
#: the API can break it.
SLOW = (*WAITING, *LONG[1:], *HEAVY)
#: Part of the expression of `-m` → files whose tests it deselects, which are not even imported then. The fuzz tests
#: would take a quarter of the time of the collection.
DESELECTED = {"not fuzz": ("tests/security/test_schema.py",), "not slow": SLOW}


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "fuzz" and not config.pluginmanager.has_plugin("schemathesis"):
        raise pytest.UsageError("The fuzz tests need Schemathesis: add -p schemathesis, or run make fuzz.")


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import files whose tests are deselected, unless the command line names the file."""
    if any(collection_path == config.invocation_params.dir / each.partition("::")[0] for each in config.args):
        return None
    if not collection_path.is_relative_to(config.rootpath):
        return None
    path = collection_path.relative_to(config.rootpath).as_posix() + ("/" if collection_path.is_dir() else "")
    left_out = [files for part, files in DESELECTED.items() if part in config.option.markexpr]
    return True if any(path.startswith(files) for files in left_out) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler of `make test`, if the files are to be distributed as a whole."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        """Gives waiting files to the first two workers and the other files to the others, as long as there are any."""

        def _assign_work_unit(self, node: WorkerController) -> None:
            waits = node in self.nodes[:2]
            fitting = [file for file in self.workqueue if file.startswith(WAITING) == waits]
            following = min(fitting or self.workqueue, key=_rank)
            self.workqueue.move_to_end(following, last=False)
            super()._assign_work_unit(node)

    return Scheduler(config, log)


def _rank(file: str) -> int:
    """Return the position of a file in WAITING or LONG, or a number after all of them."""
    order = (*WAITING, *LONG)
    return next((place for place, beginning in enumerate(order) if file.startswith(beginning)), len(order))

"""Pytest plugin that starts a MongoDB and a PostgreSQL server for the run, and points the settings at them.

pyproject.toml names the plugin in `addopts`. It sets the environment before Django reads its settings. The servers
start with the session, but not for `--help` or `--collect-only`. With pytest-xdist each worker has servers of its own,
and the controller has none.
"""

import os
from collections.abc import Generator

import environ
import pytest

from devstack import DevStackError
from devstack.ephemeral import EphemeralStack

# Variables that a developer's shell may have set and that no test may see. A test that needs one sets it.
PERSONAL_SETTINGS = (
    "ADMIN_TOTP_REQUIRED",
    "ALLOWED_HOSTS",
    "ARCHIVE_DATABASE_URL",
    "CORS_ALLOWED_ORIGINS",
    "DEVSTACK_DIR",
    "JWT_ACCESS_TOKEN_EXPIRES",
    "LOCAL_SECRETS",
    "LOG_FORMAT",
    "LOG_REQUESTS",
    "METRICS_TOKEN",
    "MONGODB_DB",
    "OAUTH_GITHUB_CLIENT_ID",
    "OAUTH_GITHUB_CLIENT_SECRET",
    "OAUTH_GOOGLE_CLIENT_ID",
    "OAUTH_GOOGLE_CLIENT_SECRET",
    "PASSWORD_RATE",
    "PHI_MASTER_KEY",
    "PHI_MASTER_KEY_PREVIOUS",
    "PROMETHEUS_MULTIPROC_DIR",
    "READY_EVENT_LAG_SECONDS",
    "REDIS_URL",
    "REFRESH_RATE",
    "REGISTER_RATE",
    "SESSION_IDLE_SECONDS",
    "SESSION_SECONDS",
    "TRUSTED_PROXIES",
)

STACK = pytest.StashKey[EphemeralStack]()


@pytest.hookimpl(tryfirst=True)  # pytest-django reads the settings in the same hook
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    stack = EphemeralStack()
    early_config.stash[STACK] = stack
    early_config.add_cleanup(stack.reset)
    for name in PERSONAL_SETTINGS:
        os.environ.pop(name, None)
    for name in (*PERSONAL_SETTINGS, "DATABASE_URL", "JWT_SECRET_KEY", "MONGODB_URI", "SECRET_KEY"):
        os.environ.pop(f"{name}_FILE", None)
    os.environ.update(
        stack.addresses,
        DEVSTACK_DIR=str(stack.directory),
        SECRET_KEY="a secret for tests, long enough for every check that measures it",
        JWT_SECRET_KEY="another secret for tests, long enough for HMAC with SHA-256 as well",
        DEBUG="0",
        HTTPS_ONLY="0",
        # Tests log in more often than the limit allows; the tests of the limits set their own.
        LOGIN_RATE="1000000/m",
    )
    environ.Env.read_env = staticmethod(_read_no_env_file)


def _read_no_env_file(*_: object, **__: object) -> None:
    """Replace `Env.read_env`, so that the tests do not depend on a developer's `.env`."""


@pytest.hookimpl(tryfirst=True)  # the report header is written in the same hook
def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.option.collectonly or _is_controller(session.config):
        return
    try:
        session.config.stash[STACK].up()
    except DevStackError as reason:
        raise pytest.UsageError(str(reason)) from None


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.option.collectonly or _is_controller(config):
        return None
    versions = (f"{server.name} {server.version}" for server in config.stash[STACK].status())
    return f"servers: {', '.join(versions)}"


def _is_controller(config: pytest.Config) -> bool:
    """Tell whether this is pytest-xdist's controller, which distributes the tests and runs none."""
    return bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")


def _skips_fail() -> bool:
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skipped test into a failure in CI, where every test must run."""
    if _skips_fail():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {reason}"

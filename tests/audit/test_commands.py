"""Commands of operators are recorded in the audit log, and the relay seals new entries."""

import os
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.contrib.auth.management.commands import changepassword
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import User
from audit import queries
from healthcare.audit_log.models import AuditEntry
from operations.consistency import runner
from reports import services as report_services
from tests.audit.test_seals import verify, write
from tests.live.conftest import environment_of_this_run
from tests.people import PASSWORD

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_audit_log")]

ROOT = Path(__file__).resolve().parents[2]


def manage(*words: str, **environment: str) -> subprocess.Popen[bytes]:
    settings = {**os.environ, **environment_of_this_run(), **environment}
    return subprocess.Popen([sys.executable, "manage.py", *words], cwd=ROOT, env=settings, stdout=subprocess.DEVNULL)


def test_commands_are_recorded() -> None:
    superuser = {"DJANGO_SUPERUSER_EMAIL": "root@example.org", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    assert manage("createsuperuser", "--noinput", **superuser).wait(60) == 0
    assert manage("seed", "--patients", "3", "--workers", "1", "--verbosity", "0").wait(60) == 0
    account = User.objects.get(email="root@example.org")
    entries = list(AuditEntry.objects.order_by("id"))
    assert [(each.action, each.role, each.channel) for each in entries] == [
        ("account.created", "command", "command"),
        ("patient.seeded", "command", "command"),
    ]
    assert (entries[0].subject, entries[0].actor_id, entries[0].address) == (str(account.pk), None, None)
    assert str(entries[0].request_id).startswith("createsuperuser-")
    assert len(entries[1].patient_ids) == 3


def test_a_password_that_a_command_sets_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    account = User.objects.create_user("root@example.org", PASSWORD, role="admin")
    monkeypatch.setattr(changepassword.Command, "_get_pass", lambda *_: "another uncommon phrase")
    call_command("changepassword", "root@example.org", stdout=StringIO())
    entry = AuditEntry.objects.order_by("-id").first()
    assert entry
    assert (entry.action, entry.subject) == ("account.password_changed", str(account.pk))


def test_the_relay_seals_while_it_watches() -> None:
    write(3)
    relay = manage("relay_events", "--watch", "--interval", "0.1")
    try:
        deadline = time.monotonic() + 20
        while not queries.head()["_id"] and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        relay.terminate()
        relay.wait(20)
    assert queries.head()["count"] == 3
    assert verify()[0]


def test_commands_that_read_everything_are_recorded_before_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is stored before the read, so that it exists even if somebody interrupts the command."""

    def interrupt(*_: Any, **__: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run", interrupt)
    monkeypatch.setattr(report_services, "find_differences", interrupt)
    monkeypatch.setattr(report_services, "rebuild", interrupt)
    for command in ("check_consistency", "verify_reports", "rebuild_reports"):
        with pytest.raises((CommandError, KeyboardInterrupt)):
            call_command(command, stdout=StringIO())
    call_command("dumpdata", "billing.fee", stdout=StringIO())
    call_command("shell", command="pass")
    monkeypatch.setattr(connection.client, "runshell", lambda _: None)
    call_command("dbshell")
    assert list(AuditEntry.objects.order_by("id").values_list("action", "role", "subject")) == [
        ("patient.checked", "shell", None),
        ("report.verified", "shell", None),
        ("report.rebuilt", "shell", None),
        ("database.dumped", "shell", "default"),
        ("database.opened", "shell", None),
        ("database.opened", "shell", "default"),
    ]

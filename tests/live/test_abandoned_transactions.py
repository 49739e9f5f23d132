"""Abandoned transactions: MongoDB ends the open transaction of a killed process, and so unlocks its records."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.core.checks import run_checks
from pymongo.errors import OperationFailure

from devstack.mongodb import TRANSACTION_LIFETIME_SECONDS_IN_TESTS
from healthcare.mongodb import transactions
from healthcare.mongodb.transactions import ClinicalWriteFailed, clinical_transaction
from patients.models import Patient
from tests.databases import clinical_database
from tests.live.conftest import environment_of_this_run
from tests.live.server import ROOT
from tests.people import People

WRITER = """
import os, signal, django
django.setup()
from healthcare.mongodb import raw
from healthcare.mongodb.transactions import clinical_transaction

@clinical_transaction
def write():
    raw.collection("patients").update_one({"_id": "P1"}, {"$set": {"name": "Half"}})
    print("written", flush=True)
    signal.pause()

write()
"""
PARAMETER = "transactionLifetimeLimitSeconds"
LIFETIME_SECONDS = 2


def set_lifetime(seconds: int) -> None:
    clinical_database().client.admin.command({"setParameter": 1, PARAMETER: seconds})


@pytest.fixture
def short_lifetime(transactional_db: None) -> Iterator[None]:
    set_lifetime(LIFETIME_SECONDS)
    yield
    set_lifetime(TRANSACTION_LIFETIME_SECONDS_IN_TESTS)


@pytest.mark.django_db(transaction=True)
def test_server_ends_the_transaction_of_a_killed_process(
    people: People, short_lifetime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        cwd=ROOT,
        env={**os.environ, **environment_of_this_run(), "DJANGO_SETTINGS_MODULE": "healthcare.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout
    assert writer.stdout.readline() == "written\n"
    writer.kill()
    writer.communicate()

    with monkeypatch.context() as impatient:
        impatient.setattr(transactions, "MAX_SECONDS", 0.2)
        with pytest.raises(ClinicalWriteFailed):
            rename()
    began = time.monotonic()
    # Within the ten seconds for which a clinical write is retried. The server looks for such transactions every half
    # of the limit.
    rename()
    assert time.monotonic() - began < 2 * LIFETIME_SECONDS + 1
    assert Patient.objects.get(pk="P1").name == "Whole"


@clinical_transaction
def rename() -> None:
    Patient.objects.filter(pk="P1").update(name="Whole")


# --- The deployment check of the server's limit


def warnings_of_the_check() -> list[str]:
    found = run_checks(tags=["database"], include_deployment_checks=True, databases=["clinical"])
    return [message.msg for message in found if message.id == "healthcare.W001"]


@pytest.mark.django_db(transaction=True)
def test_check_warns_of_a_long_limit(short_lifetime: None) -> None:
    assert warnings_of_the_check() == []
    set_lifetime(30)
    assert warnings_of_the_check() == []
    set_lifetime(60)
    (warning,) = warnings_of_the_check()
    assert f"{PARAMETER} is 60" in warning


@pytest.mark.django_db(transaction=True)
def test_check_is_silent_where_the_server_does_not_tell(short_lifetime: None, monkeypatch: pytest.MonkeyPatch) -> None:
    set_lifetime(61)

    def forbid(*_: object, **__: object) -> None:
        raise OperationFailure("not authorized on admin to execute command", 13)

    with monkeypatch.context() as managed_server:
        managed_server.setattr("pymongo.database.Database.command", forbid)
        assert warnings_of_the_check() == []

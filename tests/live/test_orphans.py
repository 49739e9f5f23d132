"""The transaction of a killed process: it locks what it wrote, until the next process of this machine ends it."""

import os
import subprocess
import sys

import pytest
from django.db import connections

from healthcare.mongodb.orphaned_transactions import end_orphans, process_name
from healthcare.mongodb.transactions import clinical_transaction
from patients.models import Patient
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


@pytest.mark.django_db(transaction=True)
def test_the_next_process_ends_what_a_killed_one_left(people: People) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        cwd=ROOT,
        env={**os.environ, **environment_of_this_run(), "DJANGO_SETTINGS_MODULE": "healthcare.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout
    assert writer.stdout.readline() == "written\n"
    client = connections["clinical"].database.client
    assert end_orphans(client) == 0, "it lives"
    writer.kill()
    writer.communicate()
    assert end_orphans(client) == 1
    rename()
    assert Patient.objects.get(pk="P1").name == "Whole"
    assert end_orphans(client) == 0


@clinical_transaction
def rename() -> None:
    assert end_orphans(connections["clinical"].database.client) == 0, "this very process lives"
    Patient.objects.filter(pk="P1").update(name="Whole")


def test_a_process_says_which_it_is() -> None:
    assert process_name().startswith("healthcare/")

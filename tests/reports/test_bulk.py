"""Records that are written in bulk are counted as exactly as records that are written one by one."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from appointments.models import Appointment
from prescriptions.models import Prescription
from reports import queries, services
from tests.synthea.exports import row, write_export

pytestmark = pytest.mark.django_db


def test_a_seeded_system_has_exact_reports() -> None:
    call_command("seed", patients=60, workers=1, verbosity=0)
    assert list(services.find_differences()) == []
    assert queries.top_doctors().rows
    assert queries.disease_trends().rows
    # Another run adds to the same rollups.
    call_command("seed", patients=20, seed=2, append=True, workers=1, verbosity=0)
    assert list(services.find_differences()) == []
    assert sum(row["prescriptions"] for row in queries.costs_from_databases()) == (
        Prescription.objects.exclude(disease=None).count()
    )
    call_command("seed", patients=10, flush=True, interactive=False, workers=1, verbosity=0)
    assert list(services.find_differences()) == []


def test_an_import_is_counted_once_when_it_runs_twice(tmp_path: Path) -> None:
    later = row("encounters", Id="e2", START="2024-01-27T16:17:47Z", STOP="2024-01-27T16:32:47Z")
    export = write_export(tmp_path / "export", encounters=[later, row("encounters")])
    for _ in range(2):
        call_command("import_synthea", str(export), stdout=StringIO(), stderr=StringIO())
        assert list(services.find_differences()) == []
    assert Appointment.objects.count() == 2
    assert sum(row["appointments"] for row in queries.top_doctors().rows) == 2

"""Small Synthea exports for tests: the columns of the files, with valid rows unless a test changes them."""

import csv
import io
from pathlib import Path
from typing import Any

from django.core.management import call_command

from billing.models import Bill
from tests.databases import clinical_database

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "synthea"
COLLECTIONS = ("patients", "doctors", "appointments", "prescriptions")

DEFAULTS: dict[str, dict[str, str]] = {
    "organizations": {"Id": "o1", "NAME": "CITY HOSPITAL", "STATE": "MA"},
    "providers": {
        "Id": "d1",
        "ORGANIZATION": "o1",
        "NAME": "Amara12 Okafor345",
        "SPECIALITY": "GENERAL PRACTICE",
        "STATE": "MA",
    },
    "patients": {
        "Id": "p1",
        "BIRTHDATE": "1980-02-29",
        "DEATHDATE": "",
        "SSN": "999-17-5017",
        "FIRST": "Ali1",
        "LAST": "Raza22",
        "SUFFIX": "",
        "GENDER": "M",
        "ADDRESS": "1 High Street",
        "CITY": "Boston",
        "STATE": "Massachusetts",
        "ZIP": "02155",
    },
    "encounters": {
        "Id": "e1",
        "START": "2023-01-27T16:17:47Z",
        "STOP": "2023-01-27T16:32:47Z",
        "PATIENT": "p1",
        "PROVIDER": "d1",
        "TOTAL_CLAIM_COST": "129.16",
        "REASONDESCRIPTION": "Acute bronchitis (disorder)",
    },
    "conditions": {"PATIENT": "p1", "DESCRIPTION": "Acute bronchitis (disorder)"},
    "medications": {
        "START": "2023-01-27T16:17:47Z",
        "STOP": "2023-02-10T16:17:47Z",
        "PATIENT": "p1",
        "ENCOUNTER": "e1",
        "CODE": "313782",
        "DESCRIPTION": "Acetaminophen 325 MG Oral Tablet",
        "BASE_COST": "5.16",
        "REASONDESCRIPTION": "Acute bronchitis (disorder)",
    },
    "claims": {"PATIENTID": "p1", "APPOINTMENTID": "e1", "STATUS1": "CLOSED", "STATUS2": "", "STATUSP": "CLOSED"},
}


def row(file: str, **cells: str) -> dict[str, str]:
    return {**DEFAULTS[file], **cells}


def write_export(directory: Path, **files: list[dict[str, str]] | None) -> Path:
    """Write an export with one valid row in each file that is not given. None leaves a file out."""
    directory.mkdir(exist_ok=True)
    for name, defaults in DEFAULTS.items():
        rows = files.get(name, [defaults]) if name in files else [defaults]
        path = directory / f"{name}.csv"
        if rows is None:
            path.unlink(missing_ok=True)
            continue
        with path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, defaults)
            writer.writeheader()
            writer.writerows(rows)
    return directory


def run_import(directory: Path, *options: str) -> str:
    """Run the command and return its output."""
    out = io.StringIO()
    call_command("import_synthea", str(directory), *options, stdout=out)
    return out.getvalue()


def figures(output: str) -> dict[str, tuple[int, ...]]:
    """Return the figures of each file: read, imported, existing, ignored, rejected."""
    lines = [line.split() for line in output.splitlines()]
    return {
        cells[0].removesuffix(".csv"): tuple(int(cell.replace(",", "")) for cell in cells[1:])
        for cells in lines
        if len(cells) == 6 and cells[0].endswith(".csv")
    }


def rejected(path: Path) -> list[tuple[str, int, str]]:
    """Return file, line and reason of each rejected row."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [(cells[0], int(cells[1]), cells[2]) for cells in list(csv.reader(file))[1:]]


def stored(*, with_instants: bool = True) -> dict[str, list[Any]]:
    """Return all records of both databases. `with_instants` includes when they were created, which differs each run."""
    database = clinical_database()
    documents = {name: list(database[name].find().sort("_id", 1)) for name in COLLECTIONS}
    if not with_instants:
        for document in (document for found in documents.values() for document in found):
            document.pop("created_at")
            document.pop("revision", None)
    fields = ["patient_id", "appointment_id", "disease", "total_cost", "status", "created_at"]
    bills = Bill.objects.order_by("appointment_id").values_list(*(["id", *fields] if with_instants else fields))
    return {**documents, "bills": list(bills)}

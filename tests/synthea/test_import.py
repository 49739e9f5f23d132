"""`manage.py import_synthea` against the real databases."""

import csv
import io
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections

from appointments.models import Appointment
from billing.models import Bill
from datasets.synthea import importing, writing
from healthcare.mongodb import raw
from patients.models import CHART_LENGTH, Patient
from prescriptions.models import Prescription
from tests.databases import clinical_database, existing
from tests.people import People, client_of, make_account
from tests.synthea.exports import SAMPLE, figures, rejected, row, run_import, stored, write_export

pytestmark = pytest.mark.django_db

FUTURE = {"START": "2150-02-01T15:00:00Z", "STOP": "2150-02-01T15:30:00Z"}


def charts_are_right() -> bool:
    """Return whether every chart holds the newest documents of its patient, the newest first."""
    for patient in Patient.objects.all():
        visits = Appointment.objects.filter(patient_id=patient.pk).order_by("-date", "-time", "-appointment_id")
        drugs = Prescription.objects.filter(patient_id=patient.pk).order_by("-start_date", "-id")
        listed = [entry.appointment_id for entry in patient.appointments]
        if listed != [visit.pk for visit in visits[:CHART_LENGTH]]:
            return False
        if [entry.prescription_id for entry in patient.prescriptions] != [each.pk for each in drugs[:CHART_LENGTH]]:
            return False
    return True


# --- The sample export


def test_sample_gives_these_figures(tmp_path):
    output = run_import(SAMPLE, "--rejected", str(tmp_path / "rejected.csv"))
    assert figures(output) == {
        "patients": (9, 9, 0, 0, 0),
        "providers": (22, 22, 0, 0, 0),
        "organizations": (22, 0, 0, 22, 0),
        "encounters": (140, 140, 0, 0, 0),
        "conditions": (87, 13, 0, 74, 0),
        "medications": (45, 45, 0, 0, 0),
        "claims": (185, 185, 0, 0, 0),
    }
    assert "bills: 140 created, 0 existing" in output
    assert rejected(tmp_path / "rejected.csv") == []
    assert {name: len(found) for name, found in stored().items()} == {
        "patients": 9,
        "doctors": 22,
        "appointments": 140,
        "prescriptions": 45,
        "bills": 140,
    }
    assert Bill.objects.exclude(status="paid").count() == 1
    assert charts_are_right()


def test_sample_again_changes_nothing():
    run_import(SAMPLE)
    before = stored()
    output = run_import(SAMPLE)
    assert stored() == before
    assert {name: (imported, existing) for name, (_, imported, existing, _, _) in figures(output).items()} == {
        "patients": (0, 9),
        "providers": (0, 22),
        "organizations": (0, 0),
        "encounters": (0, 140),
        "conditions": (0, 13),
        "medications": (0, 45),
        "claims": (0, 185),
    }
    assert "bills: 0 created, 140 existing" in output


def test_sample_is_there_through_the_api(people: People):
    run_import(SAMPLE)
    admin = people.client("admin")
    patient_id = "1d3d16ce-a3a4-5e9e-1b4d-58a391895443"
    patient = admin.get(f"/api/patients/{patient_id}").json()
    assert (patient["name"], patient["sex"], patient["birth_date"]) == ("Jackie Okuneva", "female", "1996-06-05")
    assert patient["diseases"] == ["Acute bronchitis", "Chronic obstructive bronchitis"]

    visits = admin.get(f"/api/appointments?patient_id={patient_id}").json()["results"]
    chart = [entry["appointment_id"] for entry in patient["appointments"]]
    assert len(visits) == 8
    assert chart == [visit["appointment_id"] for visit in visits]
    assert visits[2] == {
        "appointment_id": "3d85a68b-5dc5-f59e-aae1-6cc6a54276e4",
        "patient_id": patient_id,
        "doctor_id": "7ff689b9-ad65-37f6-bd92-fdc8b0d234e5",
        "date": "2023-05-04",
        "time": "06:01",
        "duration_minutes": 15,
        "status": "completed",
        "disease": "Acute bronchitis",
        "starts_at": visits[2]["starts_at"],
        "created_at": visits[2]["created_at"],
    }
    assert visits[2]["starts_at"] == "2023-05-04T10:01:59Z"

    drugs = admin.get(f"/api/prescriptions?patient_id={patient_id}").json()["results"]
    assert [(each["drug"], each["dosage"], each["frequency"], each["duration_days"]) for each in drugs] == [
        ("Acetaminophen", "325 mg", "As directed", 20),
        ("NuvaRing", "1 ring", "As directed", None),
    ]
    assert drugs[0]["instructions"] == "Acetaminophen 325 MG Oral Tablet"
    assert [entry["id"] for entry in patient["prescriptions"]] == [each["id"] for each in drugs]

    bills = admin.get(f"/api/billing?patient_id={patient_id}&page_size=100").json()["results"]
    assert {bill["appointment_id"] for bill in bills} == set(chart)
    with (SAMPLE / "encounters.csv").open(newline="") as file:
        costs = {cells["Id"]: cells["TOTAL_CLAIM_COST"] for cells in csv.DictReader(file)}
    assert {bill["appointment_id"]: Decimal(bill["total_cost"]) for bill in bills} == {
        appointment_id: Decimal(costs[appointment_id]) for appointment_id in chart
    }
    doctor = admin.get("/api/doctors/7ff689b9-ad65-37f6-bd92-fdc8b0d234e5").json()
    assert (doctor["specialty"], doctor["time_zone"]) == ("General Practice", "America/New_York")


def test_patient_with_an_account_sees_their_imported_records():
    run_import(SAMPLE)
    account = make_account("patient", "jackie@example.org")
    patient_id = "1d3d16ce-a3a4-5e9e-1b4d-58a391895443"
    Patient.objects.filter(pk=patient_id).update(user_id=account.pk)
    client = client_of(account)
    assert client.get(f"/api/patients/{patient_id}").status_code == 200
    assert len(client.get("/api/appointments").json()["results"]) == 8
    assert len(client.get("/api/billing").json()["results"]) == 8
    others = set(Appointment.objects.exclude(patient_id=patient_id).values_list("appointment_id", flat=True))
    assert len(others) == 132
    assert client.get(f"/api/appointments/{min(others)}").status_code == 404


def test_documents_are_those_that_the_api_writes(people: People, tmp_path):
    """Imported documents have the same fields and types as others, so that each query finds both kinds."""
    admin = people.client("admin")
    visit = {"patient_id": "P1", "doctor_id": "D1", "date": "2150-01-01", "time": "10:00", "appointment_id": "A1"}
    drug = {"patient_id": "P1", "drug": "x", "dosage": "5 mg", "frequency": "Daily", "cost": "1.50", "duration_days": 3}
    assert admin.post("/api/appointments", visit, format="json").status_code == 201
    made = people.client("doctor").post("/api/prescriptions", drug, format="json")
    assert made.status_code == 201
    run_import(write_export(tmp_path / "export"))

    def shape(document):
        return {name: type(value) for name, value in document.items() if value is not None}

    appointments = clinical_database()["appointments"]
    ours, theirs = (existing(appointments.find_one({"_id": key})) for key in ("e1", "A1"))
    assert ours.keys() == theirs.keys()
    assert shape(theirs).items() <= shape(ours).items()
    prescriptions = clinical_database()["prescriptions"]
    ours, theirs = (existing(prescriptions.find_one({"patient_id": key})) for key in ("p1", "P1"))
    assert ours.keys() == theirs.keys()
    assert shape(theirs).items() <= shape(ours).items()


# --- Rejected rows


def test_broken_rows_are_rejected_with_their_lines_and_the_rest_is_imported(tmp_path):
    export = write_export(
        tmp_path / "export",
        providers=[row("providers"), row("providers", Id="d2", SPECIALITY="")],
        patients=[row("patients"), row("patients", Id="p2", BIRTHDATE="soon"), row("patients", Id="p3", GENDER="X")],
        encounters=[
            row("encounters"),
            row("encounters", Id="e2", PATIENT="p2"),
            row("encounters", Id="e3", PROVIDER="d2"),
            row("encounters", Id="e4", START="noon"),
            row("encounters", Id="e5", TOTAL_CLAIM_COST="-1"),
        ],
        conditions=[
            row("conditions"),
            row("conditions", PATIENT="p9"),
            row("conditions", DESCRIPTION="Stress (finding)"),
            row("conditions", DESCRIPTION="A" * 121),
        ],
        medications=[row("medications"), row("medications", ENCOUNTER="e2"), row("medications", PATIENT="p3")],
        claims=[row("claims"), row("claims", APPOINTMENTID="e4"), row("claims", PATIENTID="p2")],
    )
    path = tmp_path / "rejected.csv"
    output = run_import(export, "--rejected", str(path))
    no_claim = "encounters.csv has no completed encounter of this PATIENTID with this APPOINTMENTID that is billed."
    found = rejected(path)
    assert [(file, line) for file, line, _ in found] == [
        ("providers.csv", 3),
        ("conditions.csv", 5),
        ("patients.csv", 3),
        ("patients.csv", 4),
        ("conditions.csv", 3),
        ("encounters.csv", 3),
        ("encounters.csv", 4),
        ("encounters.csv", 5),
        ("encounters.csv", 6),
        ("claims.csv", 3),
        ("claims.csv", 4),
        ("medications.csv", 3),
        ("medications.csv", 4),
    ]
    assert [reason for *_, reason in found][4:] == [
        "There is no such PATIENT.",
        "There is no such PATIENT.",
        "There is no such PROVIDER.",
        "START is not an instant such as 2023-01-27T16:17:47Z.",
        "total_cost: Must not be negative.",
        no_claim,
        no_claim,
        "There is no such ENCOUNTER.",
        "ENCOUNTER is the visit of another patient.",
    ]
    assert figures(output) == {
        "patients": (3, 1, 0, 0, 2),
        "providers": (2, 1, 0, 0, 1),
        "organizations": (1, 0, 0, 1, 0),
        "encounters": (5, 1, 0, 0, 4),
        "conditions": (4, 1, 0, 1, 2),
        "medications": (3, 1, 0, 0, 2),
        "claims": (3, 1, 0, 0, 2),
    }
    assert {name: len(found) for name, found in stored().items()} == {
        "patients": 1,
        "doctors": 1,
        "appointments": 1,
        "prescriptions": 1,
        "bills": 1,
    }


def test_messages_name_nobody_and_only_the_owner_may_read_the_file(tmp_path):
    export = write_export(tmp_path / "export", patients=[row("patients", GENDER="X", FIRST="Zebulon")])
    output = run_import(export, "--rejected", str(tmp_path / "rejected.csv"))
    assert "patients.csv, line 2: GENDER is not M or F." in output
    assert "Zebulon" not in output
    assert "Zebulon" in (tmp_path / "rejected.csv").read_text()
    assert stat.S_IMODE((tmp_path / "rejected.csv").stat().st_mode) == 0o600


def test_cells_of_rejected_rows_are_no_formulas(tmp_path):
    export = write_export(tmp_path / "export", patients=[row("patients", Id="=1+1", ADDRESS="@home", CITY="-x")])
    run_import(export, "--rejected", str(tmp_path / "rejected.csv"))
    with (tmp_path / "rejected.csv").open(newline="") as file:
        cells = list(csv.reader(file))[1]
    assert cells[3] == "'=1+1"
    assert {"'@home", "'-x"} <= set(cells)


def test_only_the_first_rejections_are_printed(tmp_path):
    patients = [row("patients", Id=f"p{number}", GENDER="X") for number in range(30)]
    output = run_import(write_export(tmp_path / "export", patients=patients))
    assert output.count("GENDER is not M or F.") == 20
    assert "More rows are rejected. Use --rejected FILE to keep them." in output


def test_strict_exits_with_1(tmp_path):
    export = write_export(tmp_path / "export", claims=[row("claims"), row("claims", APPOINTMENTID="e9")])
    assert figures(run_import(export))["claims"] == (2, 1, 0, 0, 1)
    with pytest.raises(CommandError, match="1 rows were rejected") as raised:
        run_import(export, "--strict")
    assert raised.value.returncode == 1
    assert run_import(write_export(tmp_path / "export"), "--strict")


def test_unusable_export_and_file_write_nothing(tmp_path):
    with pytest.raises(CommandError, match="not a directory"):
        run_import(tmp_path / "nowhere")
    with pytest.raises(CommandError, match=r"medications\.csv has no column"):
        run_import(write_export(tmp_path / "export", medications=[]) and _without_column(tmp_path / "export"))
    with pytest.raises(CommandError, match="rejected"):
        run_import(SAMPLE, "--rejected", str(tmp_path / "nowhere" / "rejected.csv"))
    assert not any(stored().values())


def test_rejected_rows_never_replace_the_export(tmp_path):
    export = write_export(tmp_path / "export")
    before = (export / "claims.csv").read_bytes()
    with pytest.raises(CommandError, match="is a file of the export"):
        run_import(export, "--rejected", str(export / "claims.csv"))
    assert (export / "claims.csv").read_bytes() == before


def test_database_that_fails_stops_the_import_with_a_sentence(monkeypatch, tmp_path):
    def failing(self, visits):
        raise OperationalError(f"no such host, while writing {visits[0].disease}")

    export = write_export(tmp_path / "export")
    with monkeypatch.context() as patch:
        patch.setattr(writing.Databases, "add_visits", failing)
        with pytest.raises(CommandError, match=r"A database failed \(OperationalError\)") as raised:
            run_import(export)
    assert "bronchitis" not in str(raised.value)
    assert figures(run_import(export))["encounters"] == (1, 1, 0, 0, 0)


def _without_column(export):
    (export / "medications.csv").write_text("START,STOP\n")
    return export


def test_files_that_may_be_missing_are_named(tmp_path):
    optional = dict.fromkeys(("organizations", "conditions", "medications", "claims"))
    output = run_import(write_export(tmp_path / "export", **optional))
    for name in optional:
        assert f"There is no {name}.csv. The import continues without it." in output
    assert Bill.objects.get().status == "open"
    assert Patient.objects.get().diseases == []
    assert Prescription.objects.count() == 0


# --- Repeated, interrupted and dry runs, and small batches


def test_a_dry_run_prints_what_the_import_then_does(tmp_path):
    encounters = [
        row("encounters"),
        row("encounters", Id="e2", **FUTURE),
        row("encounters", Id="e3", **FUTURE),
        row("encounters", Id="e1", TOTAL_CLAIM_COST="7"),
        row("encounters", Id="e4", PATIENT="p9"),
    ]
    export = write_export(tmp_path / "export", encounters=encounters)
    dry, path = run_import(export, "--dry-run"), tmp_path / "rejected.csv"
    assert not any(stored().values())
    assert "This was a dry run: nothing was written." in dry
    done = run_import(export, "--rejected", str(path))
    assert figures(dry) == figures(done)
    assert figures(done)["encounters"] == (5, 2, 1, 0, 2)
    assert "bills: 1 created, 0 existing" in dry
    assert "bills: 1 created, 0 existing" in done
    before = stored()
    assert figures(run_import(export, "--dry-run"))["encounters"] == (5, 0, 3, 0, 2)
    assert stored() == before


@pytest.mark.parametrize("step", ["add_patients", "add_visits", "add_bills", "add_prescriptions"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_import_that_was_killed_can_be_run_again(monkeypatch, step, when):
    """With batches of 20 rows, the import ends before or after it writes the second batch of one kind."""
    monkeypatch.setattr(importing, "BATCH_ROWS", 5 if step == "add_patients" else 20)
    run_import(SAMPLE)
    whole = stored(with_instants=False)
    database = clinical_database()
    for name in ("patients", "doctors", "appointments", "prescriptions"):
        database[name].delete_many({})
    Bill.objects.all().delete()

    write, calls = getattr(writing.Databases, step), []

    def dying(self, items):
        calls.append(len(items))
        if len(calls) == 2 and when == "before":
            raise KeyboardInterrupt
        done = write(self, items)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patch:
        patch.setattr(writing.Databases, step, dying)
        with pytest.raises(KeyboardInterrupt):
            run_import(SAMPLE)
    assert charts_are_right()
    assert stored(with_instants=False) != whole
    run_import(SAMPLE)
    assert stored(with_instants=False) == whole


@pytest.mark.parametrize("batch_rows", [1, 7, 1000])
def test_the_size_of_batches_makes_no_difference(monkeypatch, batch_rows):
    monkeypatch.setattr(importing, "BATCH_ROWS", batch_rows)
    run_import(SAMPLE)
    assert charts_are_right()
    found = stored(with_instants=False)
    assert [len(found[name]) for name in ("patients", "appointments", "prescriptions", "bills")] == [9, 140, 45, 140]


def test_changes_to_imported_records_stay(tmp_path):
    export = write_export(tmp_path / "export")
    run_import(export)
    Patient.objects.update(name="Alia Raza", diseases=[])
    Appointment.objects.update(disease="Influenza")
    Prescription.objects.update(drug="Paracetamol")
    Bill.objects.update(total_cost=Decimal("1.00"), status="void")
    before = stored()
    run_import(export)
    assert stored() == before


def test_only_a_deleted_bill_is_created_again(tmp_path):
    run_import(SAMPLE)
    gone = existing(Bill.objects.order_by("appointment_id").first())
    gone.delete()
    output = run_import(SAMPLE)
    assert "bills: 1 created, 139 existing" in output
    assert Bill.objects.get(appointment_id=gone.appointment_id).total_cost == gone.total_cost


def test_a_later_export_adds_to_the_charts(tmp_path):
    run_import(write_export(tmp_path / "export"))
    revision = Patient.objects.get().revision
    later = row("encounters", Id="e2", START="2024-01-27T16:17:47Z", STOP="2024-01-27T16:32:47Z")
    run_import(write_export(tmp_path / "export", encounters=[later, row("encounters")], claims=[]))
    patient = Patient.objects.get()
    assert [entry.appointment_id for entry in patient.appointments] == ["e2", "e1"]
    # Once for the chart, once for the rollups of the reports.
    assert patient.revision == revision + 2
    assert charts_are_right()


def test_a_wrong_chart_is_rebuilt_and_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(importing, "BATCH_ROWS", 20)
    run_import(write_export(tmp_path / "export"))
    raw.collection(Patient).update_one({"_id": "p1"}, {"$set": {"appointments": [], "prescriptions": []}})
    encounters = [
        row("encounters", Id=f"v{day}", START=f"2022-{month:02}-{day:02}T10:00:00Z", STOP="")
        for month, day in ((1 + day % 12, day) for day in range(1, 29))
    ] + [row("encounters", Id=f"w{day}", START=f"2021-03-{day:02}T10:00:00Z", STOP="") for day in range(1, 32)]
    medications = [row("medications", ENCOUNTER=visit["Id"], START=visit["START"], STOP="") for visit in encounters]
    run_import(write_export(tmp_path / "export", encounters=encounters, medications=medications, claims=[]))
    patient = Patient.objects.get()
    assert (len(patient.appointments), len(patient.prescriptions)) == (CHART_LENGTH, CHART_LENGTH)
    assert Appointment.objects.count() == 60
    assert charts_are_right()


def test_true_duplicates_among_medications_are_two_prescriptions(tmp_path):
    export = write_export(tmp_path / "export", medications=[row("medications"), row("medications")])
    assert figures(run_import(export))["medications"] == (2, 2, 0, 0, 0)
    assert figures(run_import(export))["medications"] == (2, 0, 2, 0, 0)
    assert Prescription.objects.count() == 2


@pytest.mark.django_db(transaction=True, databases=["default", "clinical"])  # threads connect anew
def test_two_runs_at_once_write_nothing_twice(monkeypatch):
    monkeypatch.setattr(importing, "BATCH_ROWS", 20)
    together = threading.Barrier(2)

    def run(_):
        together.wait(timeout=10)
        try:
            return run_import(SAMPLE)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        output = list(pool.map(run, range(2)))
    imported = [{name: new for name, (_, new, *_) in figures(each).items()} for each in output]
    assert {name: sum(each[name] for each in imported) for name in ("patients", "encounters", "medications")} == {
        "patients": 9,
        "encounters": 140,
        "medications": 45,
    }
    assert Bill.objects.count() == Bill.objects.values("appointment_id").distinct().count() == 140
    assert charts_are_right()


@pytest.mark.django_db(transaction=True)
def test_two_runs_bill_a_visit_once_however_slowly_they_look(monkeypatch):
    look = writing.Databases.billed

    def slow_look(self, appointment_ids):
        found = look(self, appointment_ids)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(writing.Databases, "billed", slow_look)

    def bill(_):
        try:
            return writing.Databases().add_bills([Bill(patient_id="p1", appointment_id="e1", total_cost=1)])
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(bill, range(2)))
    assert sorted(made, key=len) == [set(), {"e1"}]
    assert Bill.objects.count() == 1


# --- Bills, claims, conditions


def test_bill_is_paid_when_all_claims_are_closed(tmp_path):
    encounters = [row("encounters", Id=f"e{number}") for number in (1, 2, 3)]
    claims = [
        row("claims", APPOINTMENTID="e1"),
        row("claims", APPOINTMENTID="e2"),
        row("claims", APPOINTMENTID="e2", STATUS1="BILLED"),
    ]
    run_import(write_export(tmp_path / "export", encounters=encounters, claims=claims))
    assert dict(Bill.objects.values_list("appointment_id", "status")) == {"e1": "paid", "e2": "open", "e3": "open"}


def test_a_visit_that_has_a_bill_gets_no_other(people: People, tmp_path):
    admin = people.client("admin")
    optional = dict.fromkeys(("medications", "claims"))
    export = write_export(tmp_path / "export", encounters=[row("encounters", TOTAL_CLAIM_COST="")], **optional)
    run_import(export)
    assert Bill.objects.count() == 0
    bill = {"patient_id": "p1", "appointment_id": "e1", "total_cost": "10"}
    assert admin.post("/api/billing", bill, format="json").status_code == 201
    output = run_import(write_export(tmp_path / "export"))
    assert "bills: 0 created, 1 existing" in output
    assert Bill.objects.get().total_cost == Decimal("10.00")


def test_diseases_are_each_once_in_the_order_of_the_file_and_bounded(tmp_path):
    names = ["B", "A", "B", *(f"D{number}" for number in range(110)), "A"]
    conditions = [row("conditions", DESCRIPTION=f"{name} (disorder)") for name in names]
    output = run_import(write_export(tmp_path / "export", conditions=conditions))
    diseases = Patient.objects.get().diseases
    assert diseases[:4] == ["B", "A", "D0", "D1"]
    assert len(diseases) == 100
    assert figures(output)["conditions"] == (114, 102, 0, 0, 12)


# --- Scheduled visits


def test_future_encounter_is_scheduled_without_a_bill(tmp_path):
    export = write_export(tmp_path / "export", encounters=[row("encounters", **FUTURE)], claims=[])
    output = run_import(export)
    visit = Appointment.objects.get()
    assert (visit.status, visit.time, visit.duration_minutes) == ("scheduled", "10:00", 30)
    assert Bill.objects.count() == 0
    assert figures(output)["encounters"] == (1, 1, 0, 0, 0)
    assert charts_are_right()
    before = stored()
    assert figures(run_import(export))["encounters"] == (1, 0, 1, 0, 0)
    assert stored() == before


def test_scheduled_visits_do_not_overlap(tmp_path):
    late = {"START": "2150-02-01T15:30:00Z", "STOP": "2150-02-01T16:00:00Z"}
    encounters = [
        row("encounters", Id="e1", **FUTURE),
        row("encounters", Id="e2", PATIENT="p2", **FUTURE | {"START": "2150-02-01T15:27:00Z"}),
        row("encounters", Id="e3", PROVIDER="d2", **FUTURE),
        row("encounters", Id="e4", PATIENT="p2", PROVIDER="d2", **FUTURE),
        row("encounters", Id="e5", **late),
    ]
    export = write_export(
        tmp_path / "export",
        patients=[row("patients"), row("patients", Id="p2")],
        providers=[row("providers"), row("providers", Id="d2")],
        encounters=encounters,
        claims=[],
    )
    path = tmp_path / "rejected.csv"
    run_import(export, "--rejected", str(path), "--dry-run")
    dry = rejected(path)
    run_import(export, "--rejected", str(path))
    assert dry == rejected(path)
    assert rejected(path)[:2] == [
        ("encounters.csv", 3, "Overlaps the doctor's scheduled visit e1."),
        ("encounters.csv", 4, "Overlaps the patient's scheduled visit e1."),
    ]
    assert sorted(Appointment.objects.values_list("appointment_id", flat=True)) == ["e1", "e4", "e5"]


def test_visit_that_was_scheduled_stays_so_when_its_time_has_passed(tmp_path):
    run_import(write_export(tmp_path / "export", encounters=[row("encounters", **FUTURE)], claims=[]))
    run_import(write_export(tmp_path / "export"))
    assert Appointment.objects.get().status == "scheduled"
    assert Bill.objects.count() == 0


def test_id_that_belongs_to_another_patients_visit(people: People, tmp_path):
    visit = {"patient_id": "P1", "doctor_id": "D1", "date": "2150-01-01", "appointment_id": "e1"}
    assert people.client("admin").post("/api/appointments", visit, format="json").status_code == 201
    path = tmp_path / "rejected.csv"
    run_import(write_export(tmp_path / "export"), "--rejected", str(path))
    assert ("encounters.csv", 2, "There is a visit of another patient with this Id.") in rejected(path)
    assert Appointment.objects.get(pk="e1").patient_id == "P1"
    assert Bill.objects.count() == 0


def test_an_existing_doctor_keeps_the_time_zone(people: People, tmp_path):
    """The wall time of a visit is in the time zone of the stored doctor, not of the file."""
    export = write_export(tmp_path / "export", providers=[row("providers", Id="D1")],
                          encounters=[row("encounters", PROVIDER="D1")])  # fmt: skip
    run_import(export)
    assert Appointment.objects.get().time == "16:17"


# --- On a terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_bars_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    export = write_export(tmp_path / "export", patients=[row("patients"), row("patients", Id="p 2")])
    terminal = Terminal()
    call_command("import_synthea", str(export), stdout=terminal, no_color=True)
    output = terminal.getvalue()
    assert "100%" in output
    assert "patients.csv, line 3: patient_id: Must be 1 to 64" in output
    assert figures(output[output.rindex("file  ") :])["patients"] == (2, 1, 0, 0, 1)
    assert "Reading" not in output
    assert sys.stdout is not terminal

"""Tests of the command: options, exit codes, bulk data, and a check during concurrent writes."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections

from appointments import services as appointment_services
from appointments.models import Appointment, Claim
from billing.models import Bill, DeletedBill, Fee
from datasets.seed import writing
from healthcare.errors import DomainError
from healthcare.mongodb import raw
from healthcare.outbox.models import Event
from patients import services as patient_services
from patients.models import Patient
from prescriptions import services as prescription_services
from tests.consistency.commands import assert_clean, check
from tests.people import PASSWORD, People
from tests.records import complete, days_from_now, make_appointment
from tests.synthea.exports import SAMPLE, rejected, row, run_import, write_export

pytestmark = pytest.mark.django_db


def seed(**options) -> None:
    sizes = {"patients": 60, "doctors": 12, "appointments": 700, "prescriptions": 300, "bills": 30}
    call_command("seed", verbosity=0, **{"workers": 1, **sizes, **options})


# --- Options and exit codes


def test_empty_system_is_consistent(db):
    result = check()
    assert_clean(result)
    assert result.text.splitlines()[-6].split() == ["check", "compared", "differences", "repaired", "left"]


@pytest.fixture
def broken(people: People) -> People:
    for number in range(3):
        make_appointment(people, appointment_id=f"A{number}", date=days_from_now(7 + number))
    raw.collection(Claim).delete_many({})
    raw.collection(Patient).update_one({"_id": "P1"}, {"$set": {"appointments": []}})
    return people


def test_only_runs_the_named_checks(broken: People):
    assert check().differences == {"claims": 3, "charts": 1}
    result = check("--only", "charts")
    assert (result.code, list(result.figures), result.error) == (1, ["charts"], "1 difference is left.")
    assert list(check("--only", "bills", "--only", "claims").figures) == ["claims", "bills"]
    assert check("--only", "bills").code == 0
    check("--repair", "--only", "charts")
    assert check().differences == {"claims": 3}


@pytest.mark.parametrize(("limit", "printed"), [(0, 0), (1, 1), (2, 2), (3, 3), (20, 3)])
def test_limit_bounds_the_output_and_not_the_counts(broken: People, limit: int, printed: int):
    result = check("--only", "claims", "--limit", str(limit))
    assert result.text.count("claims: Appointment A") == printed
    assert ("further differences are counted" in result.text) == (printed < 3)
    assert result.figures["claims"][1] == 3
    repaired = check("--only", "claims", "--limit", str(limit), "--repair")
    assert repaired.figures["claims"] == (3, 3, 3, 0)
    assert raw.collection(Claim).count({}) == 36


@pytest.mark.parametrize("options", [("--limit", "-1"), ("--limit", "many"), ("--only", "everything"), ("--mend",)])
def test_invalid_options_are_refused(options):
    with pytest.raises(CommandError) as caught:
        call_command("check_consistency", *options, stdout=io.StringIO())
    assert caught.value.returncode in (1, 2)
    assert options[0].lstrip("-") in str(caught.value)


def test_unfinished_seed_is_neither_checked_nor_repaired(people: People):
    raw.collection(writing.UNFINISHED_RUNS).insert_one({"_id": "unfinished"})
    for options in ([], ["--repair"]):
        result = check(*options)
        assert result.code == 2
        assert "seed --flush" in result.error
        assert result.text == ""


def test_database_error_is_not_a_consistent_system(people: People, monkeypatch):
    def stop(*args, **options):
        raise DatabaseError("P1 Ali Raza")

    monkeypatch.setattr(raw.Collection, "stream", stop)
    result = check()
    assert result.code == 2
    assert result.error == "Stopped by a database: DatabaseError. Run the check again."


def test_interrupted_check_says_so(people: People, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(raw.Collection, "stream", interrupt)
    result = check("--repair")
    assert (result.code, result.error) == (130, "Interrupted. Repairs that were made stay.")


def test_progress_on_a_terminal(broken: People):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    result = check(out=Terminal())
    assert result.code == 1
    assert "compared" in result.text
    assert "claims: Appointment A0 is scheduled" in result.text


# --- Bulk data


def test_seeded_data_are_consistent():
    seed()
    assert raw.collection(Claim).count({}) > 50
    result = check()
    assert_clean(result)
    assert result.figures["charts"][0] == 60
    seed(append=True)
    assert_clean(check())


def test_flush_empties_claims_and_events(people: People):
    complete(people, make_appointment(people))
    make_appointment(people)
    assert raw.collection(Event).count({"kind": {"$regex": "^appointment"}}) == 3
    seed(flush=True, interactive=False)
    assert raw.collection(Event).count({}) == 0
    assert raw.collection(Claim).count({"_id": {"$regex": " P1 "}}) == 0
    assert_clean(check())


def test_flush_leaves_the_fees_so_that_visits_are_billed(people: People):
    fees = set(Fee.objects.values_list("specialty_key", "amount"))
    assert fees
    seed(flush=True, interactive=False)
    assert set(Fee.objects.values_list("specialty_key", "amount")) == fees
    visit = Appointment.objects.filter(status="scheduled").first()
    complete(people, visit)
    assert Bill.objects.filter(appointment_id=visit.pk).count() == 1


def test_seeded_slot_cannot_be_booked(people: People):
    seed(append=True)
    visit = Appointment.objects.filter(status="scheduled").exclude(time="").first()
    answer = people.client("admin").post(
        "/api/appointments",
        {
            "patient_id": "P1",
            "doctor_id": visit.doctor_id,
            "date": visit.date.isoformat(),
            "time": visit.time,
            "duration_minutes": visit.duration_minutes,
        },
        format="json",
    )
    assert answer.status_code == 409
    assert Appointment.objects.filter(patient_id="P1").count() == 0


FUTURE = {"START": "2150-02-01T15:00:00Z", "STOP": "2150-02-01T15:30:00Z"}


def test_imported_data_are_consistent(tmp_path):
    run_import(SAMPLE)
    assert_clean(check())
    encounters = [
        row("encounters"),
        row("encounters", Id="e2", TOTAL_CLAIM_COST=""),
        row("encounters", Id="e3", **FUTURE),
    ]
    export = write_export(tmp_path / "export", encounters=encounters)
    for _ in range(2):
        run_import(export)
        assert raw.collection(Claim).count({"appointment_id": "e3"}) == 12
        assert list(DeletedBill.objects.values_list("appointment_id", flat=True)) == ["e2"]
        result = check()
        assert_clean(result)
    assert Bill.objects.filter(appointment_id="e2").count() == 0


def test_dry_run_stores_no_visit_without_a_cost(tmp_path):
    run_import(write_export(tmp_path / "export", encounters=[row("encounters", TOTAL_CLAIM_COST="")]), "--dry-run")
    assert DeletedBill.objects.count() == 0


def test_import_refuses_a_visit_that_overlaps_a_booking(people: People, tmp_path):
    run_import(write_export(tmp_path / "export"))
    booking = {"patient_id": "P1", "doctor_id": "d1", "date": "2150-02-01", "time": "10:15", "appointment_id": "A1"}
    assert people.client("admin").post("/api/appointments", booking, format="json").status_code == 201
    export = write_export(tmp_path / "export", encounters=[row("encounters", Id="e9", **FUTURE)])
    reasons = []
    for options in (["--dry-run"], []):
        run_import(export, "--rejected", str(tmp_path / "rejected.csv"), *options)
        reasons.append([each for each in rejected(tmp_path / "rejected.csv") if each[0] == "encounters.csv"])
    assert reasons == [[("encounters.csv", 2, "Overlaps the doctor's scheduled visit A1.")]] * 2
    assert not Appointment.objects.filter(pk="e9").exists()
    assert_clean(check())


# --- Under load


class Writer:
    """Books, moves, completes, cancels, deletes and prescribes until `stop` is set."""

    def __init__(self, people: People, number: int, stop: threading.Event) -> None:
        self.people, self.chance, self.number, self.stop = people, Random(number), number, stop
        self.done = 0

    def write(self) -> int:
        try:
            while not self.stop.is_set():
                try:
                    self._write_one()
                except DomainError:
                    continue
                self.done += 1
            return self.done
        finally:
            connections["default"].close()

    def _write_one(self) -> None:
        actor, chance = self.people.admin, self.chance
        patient_id, doctor_id = chance.choice(["P1", "P2"]), chance.choice(["D1", "D2"])
        if chance.random() < 0.1:
            email = f"{self.number}.{self.done}.{chance.random()}@example.org"
            patient_services.register_patient(email=email, password=PASSWORD, name="Noor Haddad")
        if chance.random() < 0.4:
            prescription_services.issue_prescription(
                actor=actor,
                patient_id=patient_id,
                doctor_id=doctor_id,
                drug="Salbutamol",
                dosage="2 puff",
                frequency="As needed",
                start_date=days_from_now(-chance.randrange(90)),
            )
        visit = appointment_services.book_appointment(
            actor=actor,
            patient_id=patient_id,
            doctor_id=doctor_id,
            date=days_from_now(chance.randrange(1, 20)),
            time=f"{chance.randrange(24):02}:{chance.randrange(12) * 5:02}",
        )
        key, what = visit.appointment_id, chance.random()
        if what < 0.3:
            appointment_services.delete_appointment(actor=actor, appointment_id=key)
        elif what < 0.5:
            moved = visit.date + timedelta(days=20)
            appointment_services.change_appointment(actor=actor, appointment_id=key, date=moved)
        else:
            status = "completed" if what < 0.8 else "cancelled"
            appointment_services.change_appointment(actor=actor, appointment_id=key, status=status)


@pytest.mark.django_db(transaction=True, databases=["default", "clinical"])  # threads have their own connections
@pytest.mark.parametrize("options", [[], ["--repair"]])
def test_check_during_writes_finds_nothing(people: People, options: list[str]):
    # A transactional test that ran earlier may have emptied the table.
    Fee.objects.get_or_create(specialty_key="", defaults={"amount": 50})
    stop = threading.Event()
    writers = [Writer(people, number, stop) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(writer.write) for writer in writers]
        ends_at = time.monotonic() + 4
        checks = []
        while time.monotonic() < ends_at:
            checks.append(check(*options))
        stop.set()
        written = [each.result() for each in running]
    assert len(checks) >= 3
    assert min(written) >= 3
    assert [result.text for result in checks if result.code or result.differences] == []
    assert_clean(check())
    assert Bill.objects.count() == Appointment.objects.filter(status="completed").count() > 0

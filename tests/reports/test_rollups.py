"""Rollups agree with the records after every kind of write, and differences are found and corrected."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from appointments import services as appointment_services
from doctors import services as doctor_services
from prescriptions import services as prescription_services
from reports import projections, queries, services
from reports.rollups import Sums
from tests.databases import clinical_database
from tests.people import People, make_doctor, make_patient
from tests.records import complete, make_appointment, make_prescription

pytestmark = pytest.mark.django_db


def differences() -> list[str]:
    return list(services.find_differences())


def trends(basis: Any = "prescriptions") -> dict[str, tuple[int, int, Decimal | None]]:
    rows = queries.disease_trends(basis=basis).rows
    return {row["disease"]: (row["patients"], row["ongoing"], row["average_treatment_days"]) for row in rows}


def doctors(**parameters: Any) -> list[tuple[str, int, int]]:
    rows = queries.top_doctors(**parameters).rows
    return [(row["doctor_id"], row["patients"], row["appointments"]) for row in rows]


def months(year: int) -> dict[int, tuple[int, int, int]]:
    rows = queries.monthly_appointments_trend(year=year).rows
    assert [row["month"] for row in rows] == list(range(1, 13))
    return {
        row["month"]: (row["completed"], row["cancelled"], row["scheduled"])
        for row in rows
        if row["completed"] or row["cancelled"] or row["scheduled"]
    }


def change(people: People, key: str, **changes: Any) -> None:
    appointment_services.change_appointment(actor=people.admin, appointment_id=key, **changes)


def visit(people: People, key: str, day: date, **fields: Any) -> None:
    make_appointment(people, appointment_id=key, date=day, **{"time": None, **fields})


def test_appointments_by_doctor_and_month(people: People) -> None:
    visit(people, "A1", date(2025, 1, 31))
    visit(people, "A2", date(2025, 2, 1))
    visit(people, "A3", date(2025, 2, 1), patient_id="P2")
    visit(people, "A4", date(2025, 12, 31), doctor_id="D2")
    assert doctors() == [("D1", 2, 3), ("D2", 1, 1)]
    assert months(2025) == {1: (0, 0, 1), 2: (0, 0, 2), 12: (0, 0, 1)}
    change(people, "A3", status="cancelled")
    assert doctors() == [("D1", 1, 2), ("D2", 1, 1)]
    change(people, "A1", date=date(2024, 2, 29))
    assert (months(2024), months(2025)) == ({2: (0, 0, 1)}, {2: (0, 1, 1), 12: (0, 0, 1)})
    change(people, "A2", status="completed")
    appointment_services.delete_appointment(actor=people.admin, appointment_id="A1")
    appointment_services.delete_appointment(actor=people.admin, appointment_id="A3")
    assert (months(2024), months(2025)) == ({}, {2: (1, 0, 0), 12: (0, 0, 1)})
    assert doctors(by="appointments") == [("D1", 1, 1), ("D2", 1, 1)]
    change(people, "A4", status="cancelled")
    assert doctors() == [("D1", 1, 1)]
    assert differences() == []


def test_treatments_by_completed_visits(people: People) -> None:
    for key, day, who in (
        ("A1", date(2024, 2, 28), "P1"),
        ("A2", date(2024, 3, 1), "P1"),
        ("A3", date(2025, 1, 1), "P2"),
    ):
        visit(people, key, day, patient_id=who, disease="Asthma")
        change(people, key, status="completed")
    # One treatment is 28 and 29 February and 1 March, the other one a single day.
    assert trends("appointments") == {"Asthma": (2, 0, Decimal("2.00"))}
    visit(people, "A4", date(2025, 1, 4), patient_id="P2", disease=None)
    change(people, "A4", disease="Asthma")
    change(people, "A4", status="completed")
    assert trends("appointments") == {"Asthma": (2, 0, Decimal("3.50"))}
    assert trends() == {}
    assert differences() == []


def test_treatments_by_prescriptions(people: People) -> None:
    def prescribe(**fields: Any) -> str:
        return str(make_prescription(people, **fields).pk)

    def amend(key: str, **changes: Any) -> None:
        prescription_services.amend_prescription(actor=people.admin, prescription_id=key, **changes)

    first = prescribe(start_date=date(2025, 1, 1), duration_days=1)
    assert trends() == {"Asthma": (1, 0, Decimal("1.00"))}
    second = prescribe(start_date=date(2025, 1, 10), duration_days=7)
    assert trends() == {"Asthma": (1, 0, Decimal("16.00"))}
    other = prescribe(patient_id="P2", start_date=date(2025, 6, 1), duration_days=None)
    assert trends() == {"Asthma": (2, 1, Decimal("16.00"))}
    amend(other, duration_days=3)
    assert trends() == {"Asthma": (2, 0, Decimal("9.50"))}
    amend(second, disease="a.$b")
    assert trends() == {"Asthma": (2, 0, Decimal("2.00")), "a.$b": (1, 0, Decimal("7.00"))}
    prescription_services.delete_prescription(actor=people.admin, prescription_id=first)
    amend(other, disease=None)
    assert trends() == {"a.$b": (1, 0, Decimal("7.00"))}
    prescription_services.delete_prescription(actor=people.admin, prescription_id=second)
    assert trends() == {}
    assert differences() == []
    assert clinical_database()["report_treatments"].count_documents({}) == 0


def test_averages_are_rounded_half_to_even(people: People) -> None:
    for number, days in enumerate((1, 1, 1, 1, 1, 1, 1, 2)):
        make_patient(people.admin, f"P1{number}")
        make_prescription(people, patient_id=f"P1{number}", start_date=date(2025, 1, 1), duration_days=days)
    assert trends() == {"Asthma": (8, 0, Decimal("1.12"))}  # 1.125


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "pair removed": lambda database: database["report_pairs"].delete_one({"_id.p": "P1"}),
    "pair miscounted": lambda database: database["report_pairs"].update_one({"_id.p": "P1"}, {"$set": {"n": 9}}),
    "pair without a patient": lambda database: database["report_pairs"].insert_one(
        {"_id": {"p": "P0", "d": "D1"}, "n": 2}
    ),
    "treatment removed": lambda database: database["report_treatments"].delete_one({"_id.b": "appointments"}),
    "treatment altered": lambda database: database["report_treatments"].update_one(
        {"_id.b": "prescriptions"}, {"$set": {"days": 77}}
    ),
    "month miscounted": lambda database: database["report_counters"].update_one(
        {"_id": {"$regex": "^month"}}, {"$inc": {"months.02.completed": 3}}
    ),
    "doctor miscounted": lambda database: database["report_counters"].update_one(
        {"_id": "doctor D1"}, {"$inc": {"patients": -1}}
    ),
    "doctor removed": lambda database: database["report_counters"].delete_one({"_id": "doctor D1"}),
    "all counters removed": lambda database: database["report_counters"].delete_many({}),
    "everything removed": lambda database: [
        database[name].delete_many({}) for name in ("report_counters", "report_pairs", "report_treatments")
    ],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_differences_are_found_and_corrected(people: People, damage: str) -> None:
    for number in range(4):
        visit(people, f"A{number}", date(2025, 2, 1 + number), patient_id=f"P{number % 2 + 1}", disease="Asthma")
        complete(people, appointment_services.queries.get_changeable(people.admin, f"A{number}"))
        make_prescription(people, start_date=date(2025, 3, 1 + number), duration_days=5, disease=f"Disease {number}")
    good = (doctors(), trends(), trends("appointments"), months(2025))
    call_command("verify_reports", stdout=StringIO())
    DAMAGES[damage](clinical_database())
    with pytest.raises(CommandError, match="differ from the records") as ended:
        call_command("verify_reports", stderr=StringIO())
    assert ended.value.returncode == 1
    call_command("rebuild_reports", verbosity=0)
    assert differences() == []
    assert (doctors(), trends(), trends("appointments"), months(2025)) == good
    # Later writes update the corrected rollups.
    visit(people, "A9", date(2025, 2, 20), disease="Asthma")
    assert differences() == []


@pytest.mark.parametrize(
    ("command", "error", "code"),
    [
        ("verify_reports", KeyboardInterrupt(), 130),
        ("verify_reports", DatabaseError("a document"), 2),
        ("rebuild_reports", KeyboardInterrupt(), 130),
        ("rebuild_reports", DatabaseError("a document"), 1),
    ],
)
def test_an_interrupted_run_exits_with_a_message(
    command: str, error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped() -> Iterator[list[str]]:
        raise error
        yield

    monkeypatch.setattr(services, "_patients", stopped)
    with pytest.raises(CommandError) as ended:
        call_command(command, stdout=StringIO(), stderr=StringIO())
    assert ended.value.returncode == code
    assert "a document" not in str(ended.value)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(CommandError) as ended:
        call_command("verify_reports", limit=-1)
    assert ended.value.returncode == 2


def test_two_rebuilds_at_once_do_not_correct_twice(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        make_doctor(people.admin, f"R{number}")
        visit(people, f"A{number}", date(2025, 2, 1 + number % 28), doctor_id=f"R{number}")
    clinical_database()["report_counters"].delete_many({})
    compare = services._compare_counters

    def compare_late() -> tuple[Sums, int]:
        compared = compare()
        monkeypatch.setattr(services, "_compare_counters", compare)
        assert services.correct_counters() > 30
        return compared

    monkeypatch.setattr(services, "_compare_counters", compare_late)
    assert services.correct_counters() > 30
    assert differences() == []


def test_a_rebuild_is_needed_if_there_are_records_and_no_rollups(people: People) -> None:
    assert not services.is_rebuild_needed()
    visit(people, "A1", date(2025, 2, 1))
    assert not services.is_rebuild_needed()
    clinical_database()["report_counters"].delete_many({})
    assert services.is_rebuild_needed()
    call_command("rebuild_reports", verbosity=0)
    assert not services.is_rebuild_needed()


def test_a_deleted_doctor_leaves_no_counters(people: People) -> None:
    visit(people, "A1", date(2025, 2, 1))
    appointment_services.delete_appointment(actor=people.admin, appointment_id="A1")
    doctor_services.delete_doctor(actor=people.admin, doctor_id="D1")
    assert clinical_database()["report_counters"].find_one({"_id": "doctor D1"}) is None
    assert differences() == []


def test_a_prescription_that_does_not_change_the_treatment_writes_none(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[Any] = []
    store = projections._store_treatment

    def store_and_remember(*of: Any) -> None:
        stored.append(of[1])
        store(*of)

    monkeypatch.setattr(projections, "_store_treatment", store_and_remember)
    of_ten = {"start_date": date(2025, 9, 1), "duration_days": 10}
    make_prescription(people, **of_ten)
    second = make_prescription(people, **of_ten, drug="Prednisolone")
    make_prescription(people, start_date=date(2025, 9, 3), duration_days=2)
    assert [each.days for each in stored] == [10]
    amend = prescription_services.amend_prescription
    amend(actor=people.admin, prescription_id=str(second.pk), dosage="3 puff")
    amend(actor=people.admin, prescription_id=str(second.pk), duration_days=14)
    amend(actor=people.admin, prescription_id=str(second.pk), disease="Influenza")
    assert sorted(each.days for each in stored) == [10, 10, 14, 14]
    prescription_services.delete_prescription(actor=people.admin, prescription_id=str(second.pk))
    assert stored[-1] is None
    assert trends() == {"Asthma": (1, 0, Decimal(10))}
    assert differences() == []

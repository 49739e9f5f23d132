"""Import and export in the admin: round trips, previews that write nothing, services, permissions and limits."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from appointments.models import Appointment
from billing.models import Bill
from doctors import services as doctor_services
from healthcare import csv_export
from healthcare.postgresql.models import Counter
from healthcare.staff_admin import import_export
from patients import services as patient_services
from patients.models import Patient
from prescriptions.models import Prescription
from tests.audit.entries import recording
from tests.databases import clinical_database, existing
from tests.people import People, make_account
from tests.records import complete, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

#: The prefix of an app's URL names → the resource in the audit log.
RESOURCES = {
    "patients_patient": "patient",
    "doctors_doctor": "doctor",
    "appointments_appointment": "appointment",
    "prescriptions_prescription": "prescription",
    "billing_bill": "bill",
}
CSV, XLSX = "0", "1"
#: Reading a page writes the session only. Snapshots leave the audit log out.
READING = {"postgresql django_session"}

Row = dict[str, Any]


@pytest.fixture
def browser(people: People) -> Client:
    client = Client()
    client.force_login(people.admin)
    return client


@pytest.fixture
def records(people: People) -> None:
    """Rows of every app, with values that spreadsheet programs tend to change."""
    patient_services.update_patient(
        actor=people.admin, patient_id="P1", name="=SUM(A1:A9)", phone="+41 44 123 45 67", national_id="-0012",
        notes="'=quoted\n\t- a list\nÄpfel; 1,5 \"x\"", diseases=["Asthma", "@home, fever"], address="'street",
        birth_date=date(1980, 2, 29), email="a@example.org",
    )  # fmt: skip
    doctor_services.update_doctor(
        actor=people.admin, doctor_id="D1", time_zone="Europe/Zurich",
        availability=[{"weekday": day, "start": "09:00", "end": "12:30", "slot_minutes": 20} for day in range(7)],
        exceptions=[
            {"date": date(2031, 1, 1), "start": None, "end": None, "closed": True},
            {"date": date(2031, 1, 4), "start": "14:00", "end": "16:00", "closed": False},
        ],
    )  # fmt: skip
    complete(people, make_appointment(people, appointment_id="A1", date=date(2025, 3, 3), time="09:20"))
    make_appointment(people, appointment_id="A2", doctor_id="D2", patient_id="P2", date=date(2031, 3, 3), time=None)
    make_prescription(people, cost=Decimal("12.50"), instructions="-> with water\nafter meals", duration_days=7)
    make_bill(people, disease="+1")


def export(browser: Client, prefix: str, file_format: str = CSV, query: str = "?day=all") -> Any:
    query = query if prefix.startswith("appointments") else query.replace("?day=all", "")
    return browser.post(reverse(f"admin:{prefix}_export") + query, {"format": file_format, "resource": "0"})


def rows_of(answer: Any) -> list[Row]:
    """Return the cells of an exported file as they are, without the import's conversions."""
    assert answer.status_code == 200, answer
    if answer["Content-Type"] == "text/csv":
        return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    header, *rows = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets[0].values
    return [dict(zip(header, row, strict=True)) for row in rows]


def as_csv(rows: list[Row]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_xlsx(table: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in table:
        book.worksheets[0].append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def preview(browser: Client, prefix: str, data: bytes | list[Row], file_format: str = CSV) -> Any:
    content = data if isinstance(data, bytes) else as_csv(data)
    file = SimpleUploadedFile("rows.csv" if file_format == CSV else "rows.xlsx", content)
    body = {"import_file": file, "format": file_format, "resource": "0"}
    return browser.post(reverse(f"admin:{prefix}_import"), body)


def confirm(browser: Client, prefix: str, previewed: Any) -> Any:
    return browser.post(reverse(f"admin:{prefix}_process_import"), previewed.context["confirm_form"].initial)


def row_errors(answer: Any) -> dict[int, dict[str, list[str]]]:
    """Return row → column ("" for none) → error messages."""
    return {
        row.number: {**row.field_specific_errors, **({"": found} if (found := row.non_field_specific_errors) else {})}
        for row in answer.context["result"].invalid_rows
    }


def row_types(answer: Any) -> list[str]:
    return [row.import_type for row in answer.context["result"].rows]


# --- Export ----------------------------------------------------------------------------------------------------------


def test_formulas_are_quoted(browser: Client, records: None) -> None:
    for file_format in (CSV, XLSX):
        row = next(
            row for row in rows_of(export(browser, "patients_patient", file_format)) if row["patient_id"] == "P1"
        )
        assert (row["name"], row["phone"], row["national_id"]) == ("'=SUM(A1:A9)", "'+41 44 123 45 67", "'-0012")
        assert row["notes"].startswith("''=quoted\n")
        assert row["diseases"] == "Asthma\n@home, fever"
    book = openpyxl.load_workbook(io.BytesIO(export(browser, "patients_patient", XLSX).content))
    assert {cell.data_type for cells in book.worksheets[0].rows for cell in cells} <= {"s", "n", "inlineStr"}


@pytest.mark.parametrize("text", ["", "a", "=1", "'=1", "''=1", "'", "'a", "+", "'+'", "\t=", "@x", "-", "a=b", "'@"])
def test_quoted_cell_is_read_as_the_original_text(text: str) -> None:
    cell = csv_export.cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert csv_export.value_of(cell) == text


@pytest.mark.parametrize("prefix", RESOURCES)
def test_export_is_recorded_in_the_audit_log_with_its_patients(browser: Client, records: None, prefix: str) -> None:
    with recording() as made:
        rows = rows_of(export(browser, prefix))
    assert len(rows) >= 1
    patients = sorted({row["patient_id"] for row in rows}) if prefix != "doctors_doctor" else []
    assert [(entry.action, sorted(set(entry.patient_ids))) for entry in made.entries] == [
        (f"{RESOURCES[prefix]}.exported", patients)
    ]
    with recording() as made:
        assert browser.get(reverse(f"admin:{prefix}_export")).status_code == 200
    assert made.entries == [], "the form of the export shows no patients"


def test_export_has_the_rows_of_the_filtered_list(browser: Client, people: People, records: None) -> None:
    make_appointment(people, appointment_id="A9")
    keys = {
        query: {row["appointment_id"] for row in rows_of(export(browser, "appointments_appointment", query=query))}
        for query in ("?day=all", "?day=today", "?day=2031-03-03", "?q=P1", "?day=all&status__exact=completed")
    }
    assert list(keys.values()) == [{"A1", "A2", "A9"}, set(), {"A2"}, {"A1", "A9"}, {"A1"}]
    assert export(browser, "appointments_appointment", query="?day=never").status_code == 302


def test_export_has_a_maximum_of_rows(browser: Client, records: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_export, "MAX_EXPORT_ROWS", 1)
    with recording() as made:
        answer = export(browser, "patients_patient")
    assert "Too many rows: search or filter the list until it has at most 1." in answer.content.decode()
    assert [(entry.action, entry.patient_ids) for entry in made.entries] == [("patient.counted", [])]
    assert len(rows_of(export(browser, "patients_patient", query="?q=P1"))) == 1


# --- Round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", [CSV, XLSX], ids=["CSV", "XLSX"])
@pytest.mark.parametrize("prefix", RESOURCES)
def test_import_of_an_unchanged_export_writes_nothing(
    browser: Client, records: None, prefix: str, file_format: str
) -> None:
    file = export(browser, prefix, file_format).content
    before = everything()
    previewed = preview(browser, prefix, file, file_format)
    assert set(row_types(previewed)) == {"skip"}, row_errors(previewed)
    done = confirm(browser, prefix, previewed)
    assert "0 records were created." in done.content.decode()
    assert changed(before, everything()) <= READING


@pytest.mark.parametrize("file_format", [CSV, XLSX], ids=["CSV", "XLSX"])
def test_export_can_be_imported_into_an_empty_system(
    browser: Client, people: People, records: None, file_format: str
) -> None:
    def stored() -> dict[str, Any]:
        found = existing(clinical_database().patients.find_one({"_id": "P1"}))
        return {name: found[name] for name in ("name", "phone", "national_id", "notes", "diseases", "address", "email")}

    before, file = stored(), export(browser, "patients_patient", file_format, "?q=P1").content
    clinical_database().patients.delete_one({"_id": "P1"})
    previewed = preview(browser, "patients_patient", file, file_format)
    assert row_types(previewed) == ["new"], row_errors(previewed)
    confirm(browser, "patients_patient", previewed)
    assert stored() == before


# --- Import ----------------------------------------------------------------------------------------------------------


def test_rows_are_previewed_and_then_written_by_the_services(browser: Client, people: People) -> None:
    rows = [
        {"patient_id": "", "name": "Mei Tanaka", "birth_date": "1990-02-28", "diseases": "Asthma\nGout"},
        {"patient_id": "P7", "name": "Lin Tao", "birth_date": "", "diseases": ""},
        {"patient_id": "P2", "name": "Noor H. Haddad", "birth_date": "1991-01-01", "diseases": ""},
    ]
    before = everything()
    with recording() as made:
        previewed = preview(browser, "patients_patient", rows)
    assert row_types(previewed) == ["new", "new", "update"]
    assert changed(before, everything()) <= READING, "nothing is written before the confirmation"
    assert [(entry.action, entry.patient_ids) for entry in made.entries] == [("patient.listed", ["P2"])]
    shown = previewed.content.decode()
    assert "Mei Tanaka" in shown
    assert re.search(r"Noor.*<ins [^>]*>[H. ]+</ins>.*addad", shown), "changes are marked"
    with recording() as made:
        done = confirm(browser, "patients_patient", previewed).content.decode()
    assert "2 records were created." in done
    assert "1 record was changed." in done
    made_one = Patient.objects.get(name="Mei Tanaka")
    assert (made_one.diseases, made_one.patient_id[0]) == (["Asthma", "Gout"], "P")
    assert Patient.objects.get(pk="P2").birth_date == date(1991, 1, 1)
    assert [(entry.action, entry.patient_ids) for entry in made.entries] == [
        ("patient.created", [made_one.pk]), ("patient.created", ["P7"]), ("patient.amended", ["P2"]),
    ]  # fmt: skip


def test_preview_shows_only_the_columns_of_the_file(browser: Client, records: None) -> None:
    previewed = preview(
        browser, "patients_patient", [{"patient_id": "P1", "name": "<b>Ali</b>", "phone": "+41 44 123 45 67"}]
    )
    shown = previewed.content.decode()
    assert "+41 44 123 45 67" in shown
    assert "'+41" not in shown.replace("&#x27;", "'"), "without the quotes of the file"
    assert "-0012" not in shown
    assert "<b>Ali" not in shown
    assert "&lt;b&gt;" in shown


def test_every_app_imports_new_and_changed_rows(browser: Client, people: People, records: None) -> None:
    course, bill = Prescription.objects.get(), Bill.objects.get(appointment_id=None)
    files: dict[str, list[Row]] = {
        "doctors_doctor": [
            {"doctor_id": "D7", "name": "Hana Kim", "specialty": "Urology", "accepting_patients": "FALSE",
             "availability": "Tue 09:00-12:00\nTue 14:00-16:00 15", "time_zone": "UTC"},
            {"doctor_id": "D2", "name": "Ingrid Solberg", "specialty": "Neurology", "accepting_patients": "true",
             "availability": "", "time_zone": "Europe/Oslo"},
        ],
        "appointments_appointment": [
            {"appointment_id": "", "patient_id": "P1", "doctor_id": "D7", "date": "2031-04-01", "time": "9:00",
             "duration_minutes": "", "status": ""},
            {"appointment_id": "A2", "patient_id": "P2", "doctor_id": "D2", "date": "2031-03-04", "time": "10:00",
             "duration_minutes": "45", "status": "scheduled"},
        ],
        "prescriptions_prescription": [
            {"id": "", "patient_id": "P2", "doctor_id": "D7", "drug": "Ibuprofen", "dosage": "200 mg",
             "frequency": "Daily", "cost": "3.5"},
            {"id": str(course.pk), "patient_id": "P1", "doctor_id": "D1", "drug": "Salbutamol", "dosage": "1 puff",
             "frequency": "As needed", "cost": "12.5"},
        ],
        "billing_bill": [
            {"id": "", "patient_id": "P2", "total_cost": "10", "status": "", "appointment_id": ""},
            {"id": str(bill.pk), "patient_id": "P1", "total_cost": "80", "status": "paid", "appointment_id": ""},
        ],
    }  # fmt: skip
    for prefix, rows in files.items():
        previewed = preview(browser, prefix, rows)
        assert row_types(previewed) == ["new", "update"], (prefix, row_errors(previewed))
        assert row_errors(confirm(browser, prefix, previewed)) == {}
    visit = Appointment.objects.get(doctor_id="D7")
    assert (visit.time, visit.duration_minutes, visit.status) == ("09:00", 30, "scheduled")
    moved = Appointment.objects.get(pk="A2")
    assert (str(moved.date), moved.time, moved.duration_minutes) == ("2031-03-04", "10:00", 45)
    course.refresh_from_db()
    assert (course.dosage, course.cost) == ("1 puff", Decimal("12.50"))
    assert Prescription.objects.get(drug="Ibuprofen").cost == Decimal("3.50")
    bill.refresh_from_db()
    assert (bill.status, Bill.objects.filter(patient_id="P2").get().total_cost) == ("paid", Decimal("10.00"))


def visit_row(**fields: Any) -> Row:
    row = {"appointment_id": "", "patient_id": "P1", "doctor_id": "D2", "date": "2031-05-05", "time": "09:00",
           "duration_minutes": "", "status": "", "disease": ""}  # fmt: skip
    return {**row, **fields}


#: URL prefix, row, column of the error ("" for none), and a part of the message.
WRONG: list[tuple[str, Row, str, str]] = [
    ("patients_patient", {"patient_id": "P2", "name": ""}, "name", "may not be null"),
    ("patients_patient", {"patient_id": "P2", "name": "x", "birth_date": "28.2.1990"}, "birth_date", "YYYY-MM-DD"),
    ("patients_patient", {"patient_id": "P2", "name": "x", "birth_date": "2199-01-01"}, "birth_date", "future"),
    ("patients_patient", {"patient_id": "no id", "name": "x"}, "patient_id", "letters, digits"),
    ("patients_patient", {"patient_id": "", "name": "x", "user_id": "9999999"}, "user_id", "no patient account"),
    ("doctors_doctor", {"doctor_id": "D1", "availability": "sometimes"}, "availability", "Cannot read the line"),
    ("doctors_doctor", {"doctor_id": "D1", "availability": "Mon 09:00-08:00"}, "availability", "after they start"),
    ("doctors_doctor", {"doctor_id": "D1", "time_zone": "Mars"}, "time_zone", "IANA"),
    ("appointments_appointment", visit_row(patient_id="P9"), "patient_id", "no such patient"),
    ("appointments_appointment", visit_row(date="2031-05-05", time="09:01"), "time", "multiple of 5"),
    ("appointments_appointment", visit_row(date="2031-03-03", doctor_id="D1", time="20:00"), "time", "does not work"),
    ("appointments_appointment", visit_row(status="completed"), "status", "one of: scheduled"),
    ("appointments_appointment", visit_row(appointment_id="A2", date="2031-03-03"), "patient_id", "cannot be changed"),
    ("appointments_appointment", {"appointment_id": "A1", "status": "cancelled"}, "status", "which is final"),
    # The library's own widgets would change these to 12, False and 5 January without a message.
    ("appointments_appointment", visit_row(duration_minutes="12.7"), "duration_minutes", "valid integer"),
    ("doctors_doctor", {"doctor_id": "D1", "accepting_patients": "perhaps"}, "accepting_patients", "true or false"),
    ("appointments_appointment", visit_row(date="2031-1-5"), "date", "YYYY-MM-DD"),
    ("prescriptions_prescription", {"id": "f" * 24, "drug": "x"}, "id", "no record with this id"),
    ("prescriptions_prescription", {"id": "x", "drug": "x"}, "id", "no record with this id"),
    ("billing_bill", {"id": "999999", "patient_id": "P1", "total_cost": "1"}, "id", "no record with this id"),
    ("billing_bill", {"id": "", "patient_id": "P1", "total_cost": "-1"}, "total_cost", "negative"),
    ("billing_bill", {"id": "", "patient_id": "P9", "total_cost": "1"}, "patient_id", "no such patient"),
    ("billing_bill", {"id": "", "patient_id": "P1", "total_cost": "1", "appointment_id": "A2"}, "appointment_id",
     "no such appointment"),
]  # fmt: skip


@pytest.mark.parametrize(("prefix", "row", "column", "sentence"), WRONG)
def test_preview_reports_wrong_rows_and_writes_nothing(
    browser: Client, records: None, prefix: str, row: Row, column: str, sentence: str
) -> None:
    before = everything()
    previewed = preview(browser, prefix, [row])
    assert "confirm_form" not in previewed.context
    assert sentence in " ".join(row_errors(previewed)[1][column])
    assert sentence in previewed.content.decode().replace("&#x27;", "'")
    assert changed(before, everything()) <= READING


def test_rows_that_conflict_with_each_other_are_reported_by_the_import(browser: Client, people: People) -> None:
    previewed = preview(browser, "appointments_appointment", [visit_row(), visit_row(patient_id="P2")])
    with recording() as made:
        done = confirm(browser, "appointments_appointment", previewed)
    assert list(row_errors(done)) == [2]
    said = [(entry.action, entry.outcome, entry.patient_ids) for entry in made.entries]
    assert said == [("appointment.booked", "success", ["P1"]), ("appointment.imported", "refused", ["P2"])]
    assert "1 record was created." in done.content.decode()
    assert [visit.patient_id for visit in Appointment.objects.all()] == ["P1"]


def test_outage_stops_an_import_and_names_the_row(
    browser: Client, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    previewed = preview(browser, "patients_patient", [{"patient_id": f"P{n}", "name": "x"} for n in (11, 12, 13)])
    create = patient_services.create_patient

    def fail_at_12(**fields: Any) -> Patient:
        if fields["patient_id"] == "P12":
            raise OperationalError("a secret of the server")
        return create(**fields)

    monkeypatch.setattr(patient_services, "create_patient", fail_at_12)
    done = confirm(browser, "patients_patient", previewed)
    assert "may have been written" in row_errors(done)[2][""][0]
    assert "was not imported" in row_errors(done)[3][""][0]
    assert "secret" not in done.content.decode()
    assert list(Patient.objects.filter(name="x").values_list("pk", flat=True)) == ["P11"]


# --- From the preview to the import ----------------------------------------------------------------------------------


def test_import_works_once_and_only_with_the_file_of_the_last_preview(browser: Client, people: People) -> None:
    def is_refused(client: Client, values: Row) -> bool:
        answer = client.post(reverse("admin:patients_patient_process_import"), values)
        return answer.status_code == 302 and answer["Location"] == reverse("admin:patients_patient_import")

    one = preview(browser, "patients_patient", [{"patient_id": "", "name": "One"}])
    initial = one.context["confirm_form"].initial
    other = preview(browser, "patients_patient", [{"patient_id": "", "name": "Two"}])
    assert is_refused(browser, initial), "there was a later preview"
    assert is_refused(browser, other.context["confirm_form"].initial), "a refused import ends the later preview, too"
    again = preview(browser, "patients_patient", [{"patient_id": "", "name": "One"}])
    stranger = Client()
    stranger.force_login(people.admin)
    assert is_refused(stranger, initial), "another session"
    for wrong in ({"format": XLSX}, {"format": "7"}, {"import_file_name": initial["import_file_name"] + "A"}, {}):
        tampered = {**initial, **wrong} if wrong else {}
        assert is_refused(browser, tampered)
        again = preview(browser, "patients_patient", [{"patient_id": "", "name": "One"}])
    assert browser.get(reverse("admin:patients_patient_process_import")).status_code == 405
    assert confirm(browser, "patients_patient", again).status_code == 200
    assert is_refused(browser, initial), "once"
    assert Patient.objects.filter(name__in=["One", "Two"]).count() == 1


def test_server_stores_nothing_of_a_file(
    browser: Client, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    opened: list[str] = []
    monkeypatch.setattr("tempfile._get_candidate_names", lambda: iter(opened.append("a file") or ["f1"]))  # type: ignore[func-returns-value]
    notes = "Quarx " * 100_000
    file = as_csv(
        [{"patient_id": "", "name": "Quarx", "notes": notes[:9_000]}] * 2 + [{"patient_id": "P9", "name": notes}]
    )
    assert len(file) > 500_000
    preview(browser, "patients_patient", file)
    small = preview(browser, "patients_patient", [{"patient_id": "", "name": "Quarx"}])
    assert opened == []
    assert list(tmp_path.iterdir()) == []
    for session in Session.objects.all():
        assert "Quarx" not in str(session.get_decoded())
        assert len(session.session_data) < 2_000
    assert not Counter.objects.filter(value__contains="Quarx").exists()
    assert confirm(browser, "patients_patient", small).status_code == 200


# --- Unreadable files ------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * (import_export.MAX_UNPACKED_BYTES + 1))
    return file.getvalue()


HEADER = ["patient_id", "name"]
UNREADABLE_FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "too many rows": (CSV, lambda: as_csv([{"patient_id": "", "name": "x"}] * 501), "import at most 500 at once"),
    "too many rows of a sheet": (XLSX, lambda: as_xlsx([HEADER, *[["", "x"]] * 501]), "import at most 500 at once"),
    "no key": (CSV, lambda: b"name\nx\n", "The column patient_id is missing"),
    "unknown column": (CSV, lambda: b"patient_id,name,role\n,x,admin\n", "Unknown column role: remove it"),
    "the chart": (CSV, lambda: b"patient_id,name,appointments\n,x,\n", "Unknown column appointments: remove it"),
    "a column twice": (CSV, lambda: b"patient_id,name,name\n,x,y\n", "Two columns have the same name"),
    "an id twice": (CSV, lambda: b"patient_id,name\nP8,x\nP8,y\n", "Two rows have the id P8"),
    "a cell too many": (CSV, lambda: b"patient_id,name\nP8,x,y\n", "cannot be read as CSV"),
    "nothing": (CSV, lambda: b"patient_id,name\n", "No valid data to import"),
    "Latin 1": (CSV, lambda: "patient_id,name\nP8,Zoë\n".encode("latin-1"), "not UTF-8 text"),
    "no workbook": (XLSX, lambda: b"patient_id,name\nP8,x\n", "cannot be read as XLSX"),
    "a formula": (XLSX, lambda: as_xlsx([HEADER, ["P8", "=1+1"]]), "Row 1 has a formula: replace it"),
    "a bomb": (XLSX, bomb, "The workbook is too large"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREADABLE_FILES)
def test_unreadable_file_is_reported(browser: Client, people: People, case: str) -> None:
    file_format, content, sentence = UNREADABLE_FILES[case]
    before = everything()
    previewed = preview(browser, "patients_patient", content(), file_format)
    assert previewed.status_code == 200
    assert sentence in previewed.content.decode()
    assert "confirm_form" not in previewed.context
    assert "Traceback" not in previewed.content.decode()
    assert changed(before, everything()) <= READING


def test_files_of_spreadsheet_programs_are_read(browser: Client, people: People) -> None:
    """CSV with semicolons and a byte order mark; workbooks with numbers, dates and times instead of text."""
    semicolons = "\ufeffpatient_id;name\r\nP8;Zoë\r\n".encode()
    assert row_types(preview(browser, "patients_patient", semicolons)) == ["new"]
    from datetime import datetime, time

    sheet: list[list[Any]] = [
        ["appointment_id", "patient_id", "doctor_id", "date", "time", "duration_minutes", None],
        ["A77", "P1", "D2", datetime(2031, 5, 5), time(9, 30), 45.0, None],  # noqa: DTZ001
        [None] * 7,
    ]
    previewed = preview(browser, "appointments_appointment", as_xlsx(sheet), XLSX)
    assert row_types(previewed) == ["new"], row_errors(previewed)
    confirm(browser, "appointments_appointment", previewed)
    visit = Appointment.objects.get(pk="A77")
    assert (str(visit.date), visit.time, visit.duration_minutes) == ("2031-05-05", "09:30", 45)


def test_file_too_large_for_the_form_is_reported(
    browser: Client, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_export, "MAX_FORM_FILE_BYTES", 40)
    previewed = preview(browser, "patients_patient", [{"patient_id": "", "name": "somebody"}])
    assert "The file is too large: split it into several files." in previewed.content.decode()


# --- Permissions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", RESOURCES)
def test_export_needs_view_and_import_needs_add_and_change(people: People, records: None, prefix: str) -> None:
    app, _, model = prefix.partition("_")
    account = make_account("staff", "clerk@example.org")
    client = Client()
    for actions, may_export, may_import in (
        ((), False, False), (("view",), True, False), (("view", "add"), True, False), (("view", "change"), True, False),
        (("view", "add", "change"), True, True),
    ):  # fmt: skip
        codenames = [f"{action}_{model}" for action in actions]
        account.user_permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label=app))
        client.force_login(account)
        before = everything()
        with recording() as made:
            assert (export(client, prefix).status_code == 200) == may_export
            assert (client.get(reverse(f"admin:{prefix}_import")).status_code == 200) == may_import
            sent = preview(client, prefix, b"a,b\n1,2\n")
            assert (sent.status_code == 200) == may_import
            if not may_import:
                assert client.post(reverse(f"admin:{prefix}_process_import"), {"format": CSV}).status_code == 403
        assert changed(before, everything()) <= READING
        refused = {entry.action for entry in made.entries if entry.outcome == "refused"}
        resource = RESOURCES[prefix]
        expected = {f"{resource}.exported": not may_export, f"{resource}.imported": not may_import}
        assert refused == {action for action, is_refused in expected.items() if is_refused}
        listed = client.get(reverse(f"admin:{prefix}_changelist")).content.decode()
        assert (reverse(f"admin:{prefix}_import") in listed) == may_import


def test_doctors_export_and_import_their_own_records(people: People, records: None) -> None:
    doctor = Client()
    doctor.force_login(people.doctor)
    assert [row["appointment_id"] for row in rows_of(export(doctor, "appointments_appointment"))] == ["A1"]
    assert export(doctor, "billing_bill").status_code == 403
    assert doctor.get(reverse("admin:patients_patient_import")).status_code == 403
    # Another doctor's appointment does not exist for them, and they cannot book with another doctor.
    for row, sentence in (
        ({"appointment_id": "A2", "patient_id": "P2", "doctor_id": "D2", "date": "2031-03-03"}, "themself only"),
        (visit_row(), "themself only"),
        ({"appointment_id": "A2", "patient_id": "P2", "doctor_id": "D1", "date": "2031-03-03"}, "with this id already"),
    ):
        previewed = preview(doctor, "appointments_appointment", [row])
        assert sentence in str(row_errors(previewed)), row
    kept = preview(doctor, "appointments_appointment", [visit_row(doctor_id="D1", date="2031-05-05", time="09:00")])
    assert row_types(kept) == ["new"], row_errors(kept)
    assert row_errors(confirm(doctor, "appointments_appointment", kept)) == {}


def test_patients_and_anonymous_users_are_redirected(people: People) -> None:
    for account in (None, people.patient):
        client = Client()
        if account:
            client.force_login(account)
        for page in ("export", "import", "process_import"):
            assert client.post(reverse(f"admin:patients_patient_{page}")).status_code == 302

"""Admin pages of each app: lists, searches, and forms that write by the services and show their errors."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts.models import Role, User
from appointments import services as appointment_services
from billing import services as billing_services
from billing.models import Bill
from doctors.models import Doctor
from patients.models import Patient
from prescriptions import services as prescription_services
from tests.databases import clinical_database, existing
from tests.people import PASSWORD, People, make_account, make_doctor, make_patient

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(people: People) -> Client:
    client = Client()
    client.force_login(people.admin)
    return client


@pytest.fixture
def records(people: People) -> dict[str, Any]:
    """One object of each kind, by admin name."""
    visit = appointment_services.book_appointment(
        actor=people.admin, patient_id="P1", doctor_id="D1", date=date(2025, 9, 12), time="10:05", appointment_id="A1"
    )
    course = prescription_services.issue_prescription(
        actor=people.doctor, patient_id="P2", drug="Metformin", dosage="500mg", frequency="Daily", cost=Decimal("12.50")
    )
    bill = billing_services.create_bill(actor=people.admin, patient_id="P2", total_cost=Decimal(80))
    return {
        "patients_patient": people.patient_record,
        "doctors_doctor": people.doctor_record,
        "appointments_appointment": visit,
        "prescriptions_prescription": course,
        "billing_bill": bill,
        "accounts_user": people.staff,
    }


def document(collection: str, key: str) -> dict[str, Any]:
    return existing(clinical_database()[collection].find_one({"_id": key}))


def sentences(response: Any) -> str:
    """Return the error messages of the form."""
    return str(response.context["adminform"].form.errors) if response.context else ""


PAGES = ["patients_patient", "doctors_doctor", "appointments_appointment", "prescriptions_prescription", "billing_bill",
         "accounts_user"]  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_each_page_of_each_model_is_shown(browser: Client, records: dict[str, Any], name: str) -> None:
    everything = {"day": "all"} if name == "appointments_appointment" else {}
    listed = browser.get(reverse(f"admin:{name}_changelist"), everything)
    assert listed.status_code == 200
    assert str(records[name].pk) in listed.content.decode()
    assert browser.get(reverse(f"admin:{name}_changelist"), {"q": "nothing like it"}).status_code == 200
    found = browser.get(
        reverse(f"admin:{name}_changelist"), {"q": getattr(records[name], "email", None) or str(records[name].pk)}
    )
    assert f"/{records[name].pk}/change/" in found.content.decode()
    assert browser.get(reverse(f"admin:{name}_add")).status_code == 200
    assert browser.get(reverse(f"admin:{name}_change", args=[records[name].pk])).status_code == 200
    assert browser.get(reverse(f"admin:{name}_history", args=[records[name].pk])).status_code == 200


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("who", ["anonymous", "patient", "staff"])  # doctors: tests/test_staff.py
def test_pages_need_a_permission(people: People, records: dict[str, Any], name: str, who: str) -> None:
    client = Client()
    if who != "anonymous":
        client.force_login(getattr(people, who))
    for page, arguments in (
        ("changelist", []),
        ("add", []),
        ("change", [records[name].pk]),
        ("delete", [records[name].pk]),
    ):
        answer = client.get(reverse(f"admin:{name}_{page}", args=arguments))
        assert answer.status_code in (302, 403), (page, answer.status_code)
        assert str(records[name].pk) not in answer.content.decode() or answer.status_code == 302


def test_search_by_words_of_the_name(browser: Client, people: People) -> None:
    shown = browser.get(reverse("admin:patients_patient_changelist"), {"q": "raza ali"}).content.decode()
    assert "Ali Raza" in shown
    assert "Noor Haddad" not in shown


def test_patient_is_created_changed_and_deleted(browser: Client) -> None:
    added = browser.post(
        reverse("admin:patients_patient_add"),
        {
            "patient_id": "",
            "name": "Mei Tanaka",
            "birth_date": "1990-02-28",
            "sex": "female",
            "diseases": "Asthma\nGout",
        },
    )
    assert added.status_code == 302, sentences(added)
    patient = Patient.objects.get(name="Mei Tanaka")
    assert patient.patient_id.startswith("P")
    assert patient.diseases == ["Asthma", "Gout"]
    assert document("patients", patient.patient_id)["phone"] is None
    page = reverse("admin:patients_patient_change", args=[patient.pk])
    changed = browser.post(page, {"name": "Mei Sato", "birth_date": "1990-02-28", "sex": "", "diseases": "Asthma"})
    assert changed.status_code == 302, sentences(changed)
    after = document("patients", patient.pk)
    assert (after["name"], after["sex"], after["diseases"], after["revision"]) == ("Mei Sato", None, ["Asthma"], 1)
    deleted = browser.post(reverse("admin:patients_patient_delete", args=[patient.pk]), {"post": "yes"})
    assert deleted.status_code == 302
    assert clinical_database().patients.find_one({"_id": patient.pk}) is None


def test_a_save_without_changes_writes_nothing(browser: Client, people: People) -> None:
    before = document("patients", "P1")
    record = people.patient_record
    page = reverse("admin:patients_patient_change", args=["P1"])
    saved = browser.post(page, {"name": record.name, "birth_date": record.birth_date, "user_id": record.user_id})
    assert saved.status_code == 302, sentences(saved)
    assert document("patients", "P1") == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("birth_date", "2999-01-01"), ("phone", "call me"), ("user_id", "424242"), ("email", "nobody")],
)
def test_form_rejects_what_the_api_rejects(browser: Client, people: People, field: str, value: str) -> None:
    before = document("patients", "P2")
    page = reverse("admin:patients_patient_change", args=["P2"])
    answer = browser.post(page, {"name": "Noor Haddad", "birth_date": "1990-01-01", field: value})
    assert answer.status_code == 200
    assert field in sentences(answer)
    assert document("patients", "P2") == before


def test_duplicate_id_is_reported_on_the_form(browser: Client, people: People) -> None:
    answer = browser.post(reverse("admin:patients_patient_add"), {"patient_id": "P1", "name": "Somebody Else"})
    assert answer.status_code == 200
    assert "There is a patient with this patient_id already." in sentences(answer)
    assert 'value="Somebody Else"' in answer.content.decode()
    assert document("patients", "P1")["name"] == "Ali Raza"
    assert not LogEntry.objects.exists()


def test_deletion_of_a_referenced_record_is_refused_and_not_logged(browser: Client, records: dict[str, Any]) -> None:
    answer = browser.post(reverse("admin:patients_patient_delete", args=["P1"]), {"post": "yes"}, follow=True)
    assert "cannot be deleted: it is named by 1 appointment" in answer.content.decode()
    assert document("patients", "P1") is not None
    assert not LogEntry.objects.exists()


def table(name: str, *rows: dict[str, Any]) -> dict[str, str]:
    """Return the fields that a browser sends of a formset."""
    cells = {f"{name}-{n}-{column}": str(value) for n, row in enumerate(rows) for column, value in row.items()}
    return {f"{name}-TOTAL_FORMS": str(len(rows)), f"{name}-INITIAL_FORMS": "0", **cells}


def hours(weekday: Any, start: str, end: str, minutes: Any = 30) -> dict[str, Any]:
    return {"weekday": weekday, "start": start, "end": end, "slot_minutes": minutes}


def exception(day: str, start: str = "", end: str = "", *, closed: bool = True) -> dict[str, Any]:
    return {"date": day, "start": start, "end": end, "closed": closed}


EMPTY = hours(0, "", "")
DOCTOR = {"name": "Hana Kim", "specialty": "Family  Medicine", "accepting_patients": "on", "time_zone": "Asia/Seoul"}


def test_doctor_with_hours_and_exceptions(browser: Client) -> None:
    fields = {
        **DOCTOR,
        # One empty row between the others, and one spare row of a browser without JavaScript.
        **table("availability", hours(0, "14:00", "17:00", ""), EMPTY, hours(0, "09:00", "12:30", 20), EMPTY),
        **table(
            "exceptions", exception("2026-12-28", "09:00", "12:00", closed=False), exception("2026-12-24"),
            exception("", closed=True),
        ),
    }  # fmt: skip
    answer = browser.post(reverse("admin:doctors_doctor_add"), fields)
    assert answer.status_code == 302, sentences(answer)
    doctor = Doctor.objects.get(name="Hana Kim")
    stored = document("doctors", doctor.pk)
    assert stored["specialty_key"] == "family medicine"
    assert [(h["weekday"], h["start"], h["end"], h["slot_minutes"]) for h in stored["availability"]] == [
        (0, "09:00", "12:30", 20),
        (0, "14:00", "17:00", 30),
    ]
    assert [(e["date"].date().isoformat(), e["start"], e["closed"]) for e in stored["exceptions"]] == [
        ("2026-12-24", None, True),
        ("2026-12-28", "09:00", False),
    ]
    page = reverse("admin:doctors_doctor_change", args=[doctor.pk])
    shown = browser.get(page).content.decode()
    assert 'name="availability-0-end" value="12:30"' in shown
    assert 'name="exceptions-1-date" value="2026-12-28"' in shown
    assert re.search(r'name="availability-3-start"(?![^>]*value)', shown), "spare rows are empty"
    before = document("doctors", doctor.pk)
    for same in (fields, DOCTOR):
        assert browser.post(page, {**same, "specialty": stored["specialty"]}).status_code == 302
        assert document("doctors", doctor.pk) == before, "equal and missing values change nothing"
    emptied = browser.post(page, {**DOCTOR, **table("availability"), **table("exceptions", EMPTY)})
    assert emptied.status_code == 302, sentences(emptied)
    assert document("doctors", doctor.pk)["availability"] == document("doctors", doctor.pk)["exceptions"] == []


@pytest.mark.parametrize(
    ("name", "rows", "row", "sentence"),
    [
        ("availability", [hours(1, "09:00", "12:00"), hours(0, "12:00", "09:00")], 2, "must end after they start"),
        ("availability", [hours(0, "11:00", "13:00"), EMPTY, hours(0, "09:00", "12:00")], 1, "overlap: 09:00–12:00"),
        ("availability", [EMPTY, hours(0, "09:03", "12:00")], 2, "multiple of 5 minutes"),
        ("availability", [hours(7, "09:00", "12:00")], 1, "less than or equal to 6"),
        ("availability", [hours("Monday", "09:00", "12:00")], 1, "valid integer"),
        ("availability", [hours(0, "09:00", "")], 1, "time as HH:MM"),
        ("exceptions", [exception("2026-12-24"), exception("2026-12-25", "09:00")], 2, "a start and an end"),
        ("exceptions", [exception("2026-12-24", closed=False)], 1, "extra clinic needs"),
        ("exceptions", [exception("sometimes")], 1, "date as YYYY-MM-DD"),
        ("exceptions", [exception("", "09:00", "10:00")], 1, "date as YYYY-MM-DD"),
    ],
)
def test_error_in_the_hours_is_shown_at_its_row(
    browser: Client, people: People, name: str, rows: list[dict[str, Any]], row: int, sentence: str
) -> None:
    before = document("doctors", "D1")
    page = reverse("admin:doctors_doctor_change", args=["D1"])
    answer = browser.post(page, {**DOCTOR, **table(name, *rows)})
    assert answer.status_code == 200
    said = answer.context["adminform"].form.errors
    assert list(said) == [name]
    assert f"Row {row}: " in str(said)
    assert sentence in str(said)
    shown = answer.content.decode()
    first = next(iter(rows[row - 1]))
    wrong = re.findall(rf'name="{name}-(\d+)-{first}"[^>]*aria-invalid="true"', shown)
    assert wrong == [str(row - 1)], "only the inputs of this row are marked"
    assert document("doctors", "D1") == before


@pytest.mark.parametrize("total", ["", "many", "1001"])
def test_table_with_a_wrong_number_of_rows_changes_nothing(browser: Client, people: People, total: str) -> None:
    before = document("doctors", "D1")
    page = reverse("admin:doctors_doctor_change", args=["D1"])
    rows = table("availability", hours(0, "09:00", "12:00"))
    answer = browser.post(page, {**DOCTOR, **rows, "availability-TOTAL_FORMS": total})
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == ["availability"]
    assert document("doctors", "D1") == before


def test_appointment_is_booked_moved_and_completed_through_the_service(browser: Client, people: People) -> None:
    booked = browser.post(
        reverse("admin:appointments_appointment_add"),
        {"patient_id": "P1", "doctor_id": "D1", "date": "2027-03-01", "time": "09:30", "status": "scheduled"},
    )
    assert booked.status_code == 302, sentences(booked)
    (visit,) = clinical_database().appointments.find()
    assert (visit["duration_minutes"], visit["starts_at"].isoformat()) == (30, "2027-03-01T09:30:00")
    page = reverse("admin:appointments_appointment_change", args=[visit["_id"]])
    fields = {"date": "2027-03-02", "time": "09:30", "duration_minutes": "30", "status": "scheduled", "disease": ""}
    assert browser.post(page, fields).status_code == 302
    assert document("appointments", visit["_id"])["starts_at"].isoformat() == "2027-03-02T09:30:00"
    assert browser.post(page, {**fields, "status": "completed"}).status_code == 302
    final = browser.post(page, {**fields, "status": "cancelled"})
    assert final.status_code == 200
    assert "is completed, which is final" in sentences(final)
    assert document("appointments", visit["_id"])["status"] == "completed"


def test_appointment_of_unknown_patient_is_refused(browser: Client, people: People) -> None:
    answer = browser.post(
        reverse("admin:appointments_appointment_add"),
        {"patient_id": "nobody", "doctor_id": "D1", "date": "2027-03-01", "status": "scheduled"},
    )
    assert answer.status_code == 200
    assert "There is no such patient." in sentences(answer)
    assert clinical_database().appointments.count_documents({}) == 0


def test_prescription_and_bill_are_changed(browser: Client, records: dict[str, Any]) -> None:
    course, bill = records["prescriptions_prescription"], records["billing_bill"]
    page = reverse("admin:prescriptions_prescription_change", args=[course.pk])
    fields = {
        "drug": "Metformin",
        "dosage": "850 mg",
        "frequency": "BID",
        "start_date": str(course.start_date),
        "cost": "13",
    }
    assert browser.post(page, fields).status_code == 302
    stored = existing(clinical_database().prescriptions.find_one({"_id": course.pk}))
    assert (stored["dosage"], stored["frequency"], str(stored["cost"])) == ("850 mg", "BID", "13.00")
    refused = browser.post(page, {**fields, "dosage": "a lot"})
    assert refused.status_code == 200
    assert "dosage" in sentences(refused)
    page = reverse("admin:billing_bill_change", args=[bill.pk])
    assert browser.post(page, {"total_cost": "80.00", "status": "paid"}).status_code == 302
    assert Bill.objects.get(pk=bill.pk).status == "paid"


def test_accounts_are_created_and_changed_but_no_admin_disables_themself(browser: Client, people: People) -> None:
    made = browser.post(
        reverse("admin:accounts_user_add"),
        {
            "email": "New.Nurse@Example.org",
            "name": "N",
            "role": Role.STAFF,
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )
    assert made.status_code == 302, sentences(made)
    account = User.objects.get(email="new.nurse@example.org")
    page = reverse("admin:accounts_user_change", args=[account.pk])
    before = account.token_version
    assert browser.post(page, {"name": "N", "role": Role.STAFF}).status_code == 302  # is_active unticked
    account.refresh_from_db()
    assert not account.is_active
    assert account.token_version != before
    own = reverse("admin:accounts_user_change", args=[people.admin.pk])
    answer = browser.post(own, {"name": people.admin.name, "role": Role.STAFF, "is_active": "on"}, follow=True)
    assert "cannot disable your own account" in answer.content.decode()
    people.admin.refresh_from_db()
    assert people.admin.role == Role.ADMIN
    password = reverse("admin:auth_user_password_change", args=[account.pk])
    version = account.token_version
    assert browser.post(password, {"password1": "short", "password2": "short"}).status_code == 200
    assert browser.post(password, {"password1": PASSWORD + "!", "password2": PASSWORD + "!"}).status_code == 302
    account.refresh_from_db()
    assert account.check_password(PASSWORD + "!")
    assert account.token_version != version


def test_staff_view_and_change_what_their_permissions_allow(people: People) -> None:
    from django.contrib.auth.models import Permission

    client = Client()
    client.force_login(people.staff)
    page = reverse("admin:patients_patient_change", args=["P1"])
    assert client.get(page).status_code == 403
    people.staff.user_permissions.add(
        Permission.objects.get(codename="view_patient"), Permission.objects.get(codename="change_patient")
    )
    assert client.get(page).status_code == 200
    record = people.patient_record
    saved = client.post(page, {"name": "Ali R.", "birth_date": record.birth_date, "user_id": record.user_id})
    assert saved.status_code == 302, sentences(saved)
    assert document("patients", "P1")["name"] == "Ali R."
    assert client.get(reverse("admin:billing_bill_changelist")).status_code == 403


def test_html_in_a_name_is_escaped(browser: Client, people: People) -> None:
    make_patient(people.admin, "PX", name="<script>alert(1)</script>", diseases=["<b>x</b>"])
    make_doctor(people.admin, "DX", name="<img src=x>")
    for path in ("patients_patient", "doctors_doctor"):
        shown = browser.get(reverse(f"admin:{path}_changelist")).content.decode()
        assert "<script>alert(1)" not in shown
        assert "<img src=x>" not in shown
    assert make_account(Role.ADMIN, "x@example.org").is_superuser

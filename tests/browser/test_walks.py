"""A day at the hospital in the browsers of its staff. The tests read both databases directly to check the results."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test.utils import override_settings
from playwright.sync_api import expect

from accounts.models import Role, User
from appointments.models import Appointment, Claim
from billing.models import Bill
from doctors.models import Doctor
from healthcare.audit_log.models import AuditEntry
from healthcare.mongodb import raw
from patients.models import Patient
from prescriptions.models import Prescription
from reports.admin import PAGES
from tests.audit.entries import recording
from tests.browser.conftest import Visitor, Visitors
from tests.live.agreement import assert_databases_agree
from tests.people import PASSWORD, People, make_account, make_doctor
from tests.records import make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db(transaction=True)

#: Hours on every day, so that there is a free slot whenever the tests run.
HOURS = [{"weekday": day, "start": "08:00", "end": "18:00", "slot_minutes": 30} for day in range(7)]


@pytest.fixture
def doctor(people: People) -> User:
    """A doctor with weekly hours, and the account of this doctor."""
    account = make_account(Role.DOCTOR, "lindqvist@example.org")
    make_doctor(
        people.admin, "D7", name="Astrid Lindqvist", specialty="Cardiology", availability=HOURS, user_id=account.pk
    )
    return account


def document(model: Any, key: Any) -> dict[str, Any]:
    found = raw.collection(model).find_one({"_id": key})
    assert found is not None
    return found


def claims_of(visit_id: str) -> int:
    return raw.collection(Claim).count({"appointment_id": visit_id})


def said_about(patient_id: str, account: User) -> list[str]:
    """Return the actions of the account about the patient in the audit log, in order."""
    found = AuditEntry.objects.filter(patient_rows__patient_id=patient_id, actor_id=account.pk).order_by("id")
    return list(found.values_list("action", flat=True))


def test_a_day_at_the_hospital(visitors: Visitors, people: People, doctor: User) -> None:
    """Staff register a patient, book, move, cancel, book again, treat, bill, mark as paid, report and read the log."""
    with recording() as made:
        patient_id, desk = front_desk(visitors)
        visit_id = Appointment.objects.get(status="scheduled").pk
        treat(visitors, doctor, patient_id, visit_id)
        collect(visitors, patient_id, visit_id)
        count(visitors, people)
    assert_databases_agree()
    done = [entry.action for entry in made.entries if patient_id in entry.patient_ids]
    writes = [
        "patient.created", "appointment.booked", "appointment.moved", "appointment.cancelled", "appointment.booked",
        "appointment.completed", "bill.created", "prescription.issued", "bill.amended",
    ]  # fmt: skip
    assert [action for action in done if action.split(".")[1] not in ("listed", "viewed")] == writes
    look_up(visitors, patient_id, desk, writes)


def front_desk(visitors: Visitors) -> tuple[str, User]:
    """Log in, register a patient, book a free slot, move and cancel the visit, and book another for the next step."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.BCryptSHA256PasswordHasher"]):
        account = make_account(Role.STAFF, "desk@example.org")
    account.groups.add(Group.objects.get(name="Front desk"))
    at = visitors()
    page = at.open("/admin/")
    page.get_by_label("E-mail").fill("desk@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Visits today")).to_be_visible()
    expect(page.get_by_text("Open bills")).to_have_count(0)

    page.goto("/admin/patients/patient/add/")
    page.get_by_label("Name").fill("Mei Tanaka")
    page.locator("[name=birth_date]").fill("1990-02-28")
    page.get_by_label("Sex").select_option("female")
    page.get_by_label("Phone").fill("+41 44 123 45 67")
    save(at)
    stored = raw.collection(Patient).find_one({"name": "Mei Tanaka"})
    assert stored is not None
    patient_id = stored["_id"]
    assert (stored["birth_date"].date().isoformat(), stored["sex"], stored["phone"]) == (
        "1990-02-28", "female", "+41 44 123 45 67",
    )  # fmt: skip

    book(at, patient_id)
    visit = document(Appointment, Appointment.objects.get().pk)
    assert (visit["patient_id"], visit["doctor_id"], visit["status"]) == (patient_id, "D7", "scheduled")
    assert (visit["duration_minutes"], claims_of(visit["_id"])) == (30, 12)
    assert [each["appointment_id"] for each in document(Patient, patient_id)["appointments"]] == [visit["_id"]]

    page.goto(f"/admin/appointments/appointment/{visit['_id']}/change/")
    expect(page.get_by_role("link", name="Complete")).to_have_count(0)
    page.get_by_role("link", name="Move").click()
    expect(page.get_by_text("Mei Tanaka has an appointment with Astrid Lindqvist")).to_be_visible()
    page.locator("[data-slots] button[data-time]").nth(3).click()
    wanted = (page.locator("[name=date]").input_value(), page.locator("[name=time]").input_value())
    page.get_by_role("button", name="Move the appointment").click()
    expect(page.get_by_text("The visit is on")).to_be_visible()
    moved = document(Appointment, visit["_id"])
    assert (moved["date"].date().isoformat(), moved["time"]) == wanted
    assert (moved["date"], moved["time"]) != (visit["date"], visit["time"])
    assert claims_of(visit["_id"]) == 12

    page.get_by_role("link", name="Cancel").click()
    dialog = page.locator("#dialog")
    expect(dialog.get_by_text("Cancel this visit?")).to_be_visible()
    assert document(Appointment, visit["_id"])["status"] == "scheduled"
    dialog.get_by_role("button", name="Cancel the visit").click()
    expect(page.get_by_text("The visit is cancelled.")).to_be_visible()
    assert document(Appointment, visit["_id"])["status"] == "cancelled"
    assert claims_of(visit["_id"]) == 0

    book(at, patient_id)
    return patient_id, account


def book(at: Visitor, patient_id: str) -> None:
    """Book from the patient's page: search for the doctor by name, and choose the first free slot of the next week."""
    page = at.page
    page.goto(f"/admin/patients/patient/{patient_id}/change/")
    page.get_by_role("link", name="Book a visit").click()
    expect(page.locator("[name=patient_id] ~ output")).to_contain_text("Mei Tanaka")
    page.locator("[name=doctor_id]").fill("Lindqvist")
    found = page.locator("[name=doctor_id] ~ datalist option")
    expect(found).to_have_count(1)
    page.locator("[name=doctor_id]").fill(found.get_attribute("value") or "")
    page.locator("[name=doctor_id]").blur()
    first = page.locator("[data-slots] button[data-time]").first
    of_this_week = first.get_attribute("data-date") or ""
    page.get_by_role("button", name="Later").click()
    expect(first).not_to_have_attribute("data-date", of_this_week)
    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    save(at)
    expect(page.get_by_text("was added successfully")).to_be_visible()


def save(at: Visitor) -> None:
    at.page.get_by_role("button", name="Save", exact=True).click()


def treat(visitors: Visitors, doctor: User, patient_id: str, visit_id: str) -> None:
    """The doctor finds the visit in the week, completes it and writes a prescription."""
    at = visitors(doctor)
    visit = document(Appointment, visit_id)
    page = at.open(f"/admin/appointments/appointment/week/D7/?week={visit['date'].date()}")
    page.get_by_role("link", name="Mei Tanaka scheduled").click()
    page.get_by_role("link", name="Complete").click()
    page.locator("#dialog").get_by_role("button", name="Complete the visit").click()
    expect(page.get_by_text("The visit is completed.")).to_be_visible()
    assert document(Appointment, visit_id)["status"] == "completed"
    bill = Bill.objects.get(appointment_id=visit_id)
    assert (bill.patient_id, bill.status) == (patient_id, "open")

    page.goto(f"/admin/patients/patient/{patient_id}/change/")
    page.get_by_role("link", name="Write a prescription").click()
    page.get_by_label("Drug").fill("Metformin")
    page.get_by_label("Dosage").fill("500 mg")
    page.get_by_label("Frequency").fill("Twice daily")
    page.get_by_label("Disease").fill("Type 2 diabetes")
    page.locator("[name=duration_days]").fill("30")
    page.locator("[name=cost]").fill("12.50")
    save(at)
    expect(page.get_by_text("was added successfully")).to_be_visible()
    course = raw.collection(Prescription).find_one({"patient_id": patient_id})
    assert course is not None
    assert (course["doctor_id"], course["drug"], course["dosage"], str(course["cost"]), course["duration_days"]) == (
        "D7", "Metformin", "500 mg", "12.50", 30,
    )  # fmt: skip
    assert len(document(Patient, patient_id)["prescriptions"]) == 1


def collect(visitors: Visitors, patient_id: str, visit_id: str) -> None:
    """Billing finds the patient's bill and marks it paid."""
    at = visitors.of_group("Billing")
    page = at.open("/admin/billing/bill/")
    page.locator("#searchbar").fill(patient_id)
    page.locator("#searchbar").press("Enter")
    bill = Bill.objects.get(appointment_id=visit_id)
    page.locator(f'a[href*="/billing/bill/{bill.pk}/change/"]').first.click()
    page.locator("[name=status]").select_option("paid")
    save(at)
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    bill.refresh_from_db()
    assert bill.status == "paid"


def count(visitors: Visitors, people: People) -> None:
    """A manager opens each of the four reports from the dashboard, and downloads it as a CSV file."""
    at = visitors.of_group("Managers")
    answered = {page.name: people.client("admin").get(f"/api/reports/{page.name}").json()["results"] for page in PAGES}
    for report in PAGES:
        page = at.open("/admin/")
        expect(page.locator("table.bars")).to_have_count(len(PAGES))
        page.get_by_role("link", name=str(report.title)).click()
        expect(page.get_by_text("As of 20")).to_be_visible()
        expect(page.locator("#content-main tbody tr")).to_have_count(len(answered[report.name]))
        assert page.locator("#content-main img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        lines = download.value.path().read_text(encoding="utf-8").splitlines()
        assert lines[0] == ",".join(answered[report.name][0])
        assert len(lines) == 1 + len(answered[report.name])
    assert [row["doctor_id"] for row in answered["top-doctors"] if row["appointments"]] == ["D7"]


def look_up(visitors: Visitors, patient_id: str, desk: User, writes: list[str]) -> None:
    """An auditor searches for the patient's id, and finds all writes with their actor and channel."""
    at = visitors.of_group("Auditors")
    page = at.open(f"/admin/healthcare/auditentry/?q=patient:{patient_id}")
    shown = page.locator("#result_list tbody tr")
    rows = [[cell.strip() for cell in row.locator("td, th").all_inner_texts()] for row in shown.all()]
    found = [cell for row in reversed(rows) for cell in row if cell in writes]
    assert found == writes
    by_desk = [row for row in rows if "appointment.cancelled" in row]
    assert f"staff {desk.pk}" in by_desk[0]
    assert "admin" in by_desk[0]
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert all(action in text for action in writes)
    assert "Mei Tanaka" not in text


def test_hours_are_added_and_removed(visitors: Visitors, people: People) -> None:
    """The rows stay numbered without gaps, as a formset requires."""
    at = visitors(people.admin)
    page = at.open("/admin/doctors/doctor/D1/change/")
    table = page.locator("[data-row-table]").first
    expect(table.locator("tbody tr")).to_have_count(1)
    for number, start in enumerate(("08:00", "09:00", "10:00")):
        if number:
            table.get_by_role("button", name="Add a row").click()
        table.get_by_label(f"weekday, row {number + 1}").select_option(str(number))
        table.get_by_label(f"from, row {number + 1}").fill(start)
        table.get_by_label(f"to, row {number + 1}").fill("12:00")
    table.locator("tbody tr").nth(1).get_by_role("button", name="Remove").click()
    expect(table.get_by_label("from, row 2")).to_have_value("10:00")
    save(at)
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    hours = [(row["weekday"], row["start"], row["end"]) for row in document(Doctor, "D1")["availability"]]
    assert hours == [(0, "08:00", "12:00"), (2, "10:00", "12:00")]


# --- Permissions -----------------------------------------------------------------------------------------------------

PATIENT, VISIT = "/admin/patients/patient/P1/change/", "/admin/appointments/appointment/A1/change/"
#: User → pages that are shown, and pages that are refused.
PERMISSIONS: dict[str, tuple[list[str], list[str]]] = {
    "Front desk": (
        [PATIENT, VISIT],
        ["/admin/billing/bill/", "/admin/prescriptions/prescription/", "/admin/healthcare/auditentry/",
         "/admin/accounts/user/", "/admin/reports/top-doctors/"],
    ),
    "Billing": (
        ["/admin/billing/bill/", PATIENT, VISIT],
        ["/admin/patients/patient/add/", "/admin/appointments/appointment/add/", "/admin/prescriptions/prescription/",
         "/admin/healthcare/auditentry/", "/admin/accounts/user/", "/admin/reports/top-doctors/"],
    ),
    "Auditors": (
        ["/admin/healthcare/auditentry/", "/admin/healthcare/event/"],
        [PATIENT, VISIT, "/admin/billing/bill/", "/admin/accounts/user/", "/admin/reports/top-doctors/"],
    ),
    "Managers": (
        ["/admin/reports/top-doctors/", "/admin/doctors/doctor/"],
        [PATIENT, VISIT, "/admin/billing/bill/", "/admin/healthcare/auditentry/", "/admin/accounts/user/"],
    ),
    "doctor": (
        [PATIENT, VISIT, "/admin/reports/top-doctors/"],
        ["/admin/patients/patient/add/", "/admin/billing/bill/", "/admin/healthcare/auditentry/",
         "/admin/accounts/user/"],
    ),
    "patient": ([], [PATIENT, VISIT, "/admin/", "/admin/reports/top-doctors/", "/admin/healthcare/auditentry/"]),
}  # fmt: skip
#: Form → values, and the users who may send it.
FORMS: dict[str, tuple[dict[str, str], set[str]]] = {
    "/admin/patients/patient/P1/delete/": ({"post": "yes"}, set()),
    "/admin/patients/patient/add/": ({"name": ""}, {"Front desk"}),
    "/admin/doctors/doctor/D2/change/": ({"name": "X", "specialty": "X", "time_zone": "UTC"}, set()),
    "/admin/appointments/appointment/A2/cancel/": ({}, {"Front desk"}),
    "/admin/accounts/user/add/": ({"email": "x@example.org", "name": "X", "role": "admin"}, set()),
    "/admin/healthcare/event/": ({"action": "retry_delivery"}, set()),
}


@pytest.mark.parametrize("who", PERMISSIONS)
def test_pages_and_forms_of_others_are_refused(visitors: Visitors, people: People, who: str) -> None:
    make_appointment(people, appointment_id="A1")
    make_appointment(people, appointment_id="A2", doctor_id="D2", patient_id="P2", time="12:00")
    make_prescription(people)
    make_bill(people, appointment_id=None)
    is_person = hasattr(people, who)
    at = visitors(getattr(people, who)) if is_person else visitors.of_group(who)
    shown, refused = PERMISSIONS[who]
    for path in shown:
        at.open(path)
    if shown:
        page = at.open("/admin/")
        links = {link.get_attribute("href") for link in page.locator("a").all()}
        assert not links & set(refused), "no link leads to a refused page"
    statuses = {302} if who == "patient" else {403}
    assert {at.status_of(path) for path in refused} == statuses
    before = everything()
    at.page.goto("/admin/login/")
    for path, (form, allowed) in FORMS.items():
        if who not in allowed:
            # A list that the user may view is shown again.
            assert at.post(path, form) in ((200,) if path in shown else (302, 403, 404)), path
    assert changed(before, everything()) <= {"postgresql django_session"}

"""The admin for staff, by the groups that a migration creates, and for doctors."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from appointments.models import Appointment
from doctors.services import update_doctor
from healthcare import clock
from tests.people import People, make_account
from tests.records import days_from_now, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

LIST = "/admin/appointments/appointment/"
MIGRATION = import_module("accounts.migrations.0002_staff_groups")

#: User → model → pages that are shown: v(iew), a(dd), c(hange), d(elete).
PAGES: dict[str, dict[str, str]] = {
    "Front desk": {"patient": "vac", "doctor": "v", "appointment": "vac"},
    "Billing": {"patient": "v", "appointment": "v", "bill": "vac", "fee": "vacd"},
    "Auditors": {"auditentry": "v", "event": "v"},
    "Managers": {"doctor": "v", "fee": "v"},
    "nobody": {},
    # As in the API: doctors may write their own doctor's record, appointments and prescriptions.
    "doctor": {"patient": "v", "doctor": "vc", "appointment": "vac", "prescription": "vacd"},
    "other_doctor": {"patient": "v", "doctor": "v", "prescription": "va", "appointment": "a"},
}


@pytest.fixture
def groups() -> None:
    """The groups of the migration, which a test that empties PostgreSQL deletes."""
    Group.objects.all().delete()
    MIGRATION.create(apps, None)


@pytest.fixture
def rows(people: People) -> dict[str, Any]:
    """A row of each model that staff use, about P1 and D1."""
    from billing.models import Fee
    from healthcare.audit_log.models import AuditEntry
    from healthcare.outbox.models import Event

    return {
        "patient": people.patient_record,
        "doctor": people.doctor_record,
        "appointment": make_appointment(people, appointment_id="A1"),
        "prescription": make_prescription(people),
        "bill": make_bill(people, appointment_id=None),
        "fee": Fee.objects.get(specialty_key=""),
        "auditentry": AuditEntry.objects.order_by("-id").first(),
        "event": Event.objects.order_by("-id").first(),
        "user": people.staff,
        "group": Group.objects.get_or_create(name="others")[0],
    }


def browser_of(people: People, who: str) -> Client:
    browser = Client()
    if who in ("doctor", "other_doctor", "admin"):
        browser.force_login(getattr(people, who))
        return browser
    account = make_account("staff", "somebody@example.org")
    if who != "nobody":
        account.groups.add(Group.objects.get(name=who))
    browser.force_login(account)
    return browser


def test_groups_are_created_once(groups: None) -> None:
    assert set(Group.objects.values_list("name", flat=True)) == {"Front desk", "Billing", "Auditors", "Managers"}
    desk = Group.objects.get(name="Front desk")
    desk.permissions.clear()
    MIGRATION.create(apps, None)
    assert not desk.permissions.exists(), "changes by an admin stay"


@pytest.mark.parametrize("who", PAGES)
def test_groups_decide_which_pages_are_shown(people: People, groups: None, rows: dict[str, Any], who: str) -> None:
    browser = browser_of(people, who)
    allowed: dict[str, str] = {}
    for model in admin.site._registry:
        name, place = str(model._meta.model_name), f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = [rows[name].pk]
        page = browser.get(reverse(f"{place}_change", args=row))
        actions = {
            "v": page.status_code == 200,
            "a": browser.get(reverse(f"{place}_add")).status_code == 200,
            "c": page.status_code == 200 and b'name="_save"' in page.content,
            "d": browser.get(reverse(f"{place}_delete", args=row)).status_code == 200,
        }
        allowed[name] = "".join(action for action, is_open in actions.items() if is_open)
    assert {name: actions for name, actions in allowed.items() if actions} == PAGES[who]


@pytest.mark.parametrize("who", [*PAGES, "admin"])
def test_index_lists_the_models_that_the_user_may_view(
    people: People, groups: None, rows: dict[str, Any], who: str
) -> None:
    page = browser_of(people, who).get("/admin/").content.decode()
    shown = {
        str(model._meta.model_name)
        for model in admin.site._registry
        if reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") in page
    }
    if who != "admin":
        assert shown == {name for name, actions in PAGES[who].items() if "v" in actions or "a" in actions}


def test_doctor_sees_the_visits_that_the_api_shows(people: People, rows: dict[str, Any]) -> None:
    make_appointment(people, appointment_id="A2", doctor_id="D2", patient_id="P2")
    page = browser_of(people, "doctor").get(LIST + "?day=all").content.decode()
    assert "A1" in page
    assert "A2" not in page
    assert browser_of(people, "doctor").get(
        reverse("admin:appointments_appointment_change", args=["A2"])
    ).status_code in (302, 404)


def test_doctor_completes_and_prescribes(people: People, rows: dict[str, Any]) -> None:
    browser = browser_of(people, "doctor")
    visit = make_appointment(people, appointment_id="A3", date=days_from_now(-1), time=None)
    form = {"date": visit.date, "time": "", "duration_minutes": visit.duration_minutes, "status": "completed"}
    saved = browser.post(reverse("admin:appointments_appointment_change", args=["A3"]), form)
    assert saved.status_code == 302
    visit.refresh_from_db()
    assert visit.status == "completed"
    course = {"patient_id": "P1", "doctor_id": "D1", "drug": "Ibuprofen", "dosage": "200 mg", "frequency": "Daily"}
    assert browser.post(reverse("admin:prescriptions_prescription_add"), course).status_code == 302


def test_doctor_cannot_write_as_another(people: People, rows: dict[str, Any]) -> None:
    browser = browser_of(people, "other_doctor")
    before = everything()
    course = {"patient_id": "P1", "doctor_id": "D1", "drug": "Ibuprofen", "dosage": "200 mg", "frequency": "Daily"}
    page = browser.post(reverse("admin:prescriptions_prescription_add"), course)
    assert page.status_code == 200, "the form again, with the reason"
    visit = {"patient_id": "P1", "doctor_id": "D1", "date": str(days_from_now(9)), "time": "09:00"}
    assert browser.post(reverse("admin:appointments_appointment_add"), visit).status_code == 200
    assert browser.post(reverse("admin:doctors_doctor_change", args=["D1"]), {"name": "X"}).status_code == 403
    assert changed(before, everything()) <= {"postgresql django_session"}


# --- The list of a day, and actions on several appointments ----------------------------------------------------------


@pytest.fixture
def diary(people: People) -> dict[str, str]:
    """Appointments: two of D1 today and one tomorrow, and one of D2 today."""
    for key, doctor, patient, days, time in (
        ("A1", "D1", "P1", 0, "23:00"), ("A2", "D1", "P2", 0, "23:30"), ("A3", "D1", "P1", 1, "09:00"),
        ("A4", "D2", "P2", 0, "22:00"),
    ):  # fmt: skip
        make_appointment(
            people, appointment_id=key, doctor_id=doctor, patient_id=patient, date=days_from_now(days), time=time
        )
    return {"P1": "+41 44 000 00 01"}


def listed(browser: Client, **query: str) -> set[str]:
    page = browser.get(LIST, query)
    assert page.status_code == 200
    return {visit.pk for visit in page.context["cl"].result_list}


def test_list_shows_today_by_default(people: People, diary: dict[str, str]) -> None:
    browser = browser_of(people, "admin")
    assert listed(browser) == {"A1", "A2", "A4"}
    assert listed(browser, day="tomorrow") == {"A3"}
    assert listed(browser, day="yesterday") == set()
    assert listed(browser, day="week") == listed(browser, day="all") == {"A1", "A2", "A3", "A4"}
    assert listed(browser, day=str(days_from_now(1))) == {"A3"}
    assert listed(browser, q="P1") == {"A1", "A3"}, "a search includes all days"
    assert listed(browser, q="P1", day="today") == {"A1"}
    in_order = [visit.pk for visit in browser.get(LIST).context["cl"].result_list]
    assert in_order == ["A4", "A1", "A2"], "from morning to evening"
    in_order = [visit.pk for visit in browser.get(LIST, {"day": "all"}).context["cl"].result_list]
    assert in_order == ["A3", "A2", "A1", "A4"], "the latest first"
    for nonsense in ("never", "2026-13-01", "$gt"):
        assert browser.get(LIST, {"day": nonsense})["Location"].endswith("?e=1")


def act(browser: Client, action: str, *keys: str, **more: str) -> Any:
    return browser.post(LIST, {"action": action, "_selected_action": keys, **more})


def test_a_sick_doctors_day_is_cancelled_and_the_patients_are_listed(people: People, diary: dict[str, str]) -> None:
    from patients.services import update_patient
    from tests.audit.entries import recording

    update_patient(actor=people.admin, patient_id="P1", phone=diary["P1"])
    browser = browser_of(people, "admin")
    before = everything()
    asked = act(browser, "cancel_visits", "A1", "A2")
    assert "Cancel these visits?" in asked.content.decode()
    assert changed(before, everything()) == set(), "nothing is written before the confirmation"
    with recording() as made:
        done = act(browser, "cancel_visits", "A1", "A2", confirmed="yes").content.decode()
    assert "Patients to call" in done
    assert diary["P1"] in done
    assert "Noor Haddad" in done
    assert {visit.pk: visit.status for visit in Appointment.objects.all()} == {
        "A1": "cancelled", "A2": "cancelled", "A3": "scheduled", "A4": "scheduled",
    }  # fmt: skip
    said = [(entry.action, sorted(entry.patient_ids)) for entry in made.entries]
    assert ("appointment.cancelled", ["P1"]) in said
    assert ("patient.listed", ["P1", "P2"]) in said


def test_the_day_of_one_doctor_is_filtered_and_cancelled_whole(
    people: People, groups: None, diary: dict[str, str]
) -> None:
    """The front desk searches for the doctor's id, filters by today, and selects all rows."""
    browser = browser_of(people, "Front desk")
    rows = listed(browser, q="D1", day="today")
    assert rows == {"A1", "A2"}
    sent = {"action": "cancel_visits", "_selected_action": sorted(rows), "select_across": "1", "confirmed": "yes"}
    assert "Patients to call" in browser.post(f"{LIST}?q=D1&day=today", sent).content.decode()
    assert {visit.pk for visit in Appointment.objects.filter(status="cancelled")} == rows


def test_free_slots_and_week_offer_future_slots_only(people: People) -> None:
    hours = [{"weekday": day, "start": "00:00", "end": "23:55", "slot_minutes": 5} for day in range(7)]
    update_doctor(actor=people.admin, doctor_id="D1", availability=hours)
    browser, began = browser_of(people, "admin"), clock.now()
    picker = browser.get(f"{LIST}slots/", {"doctor_id": "D1"}).context["days"]
    week = browser.get(f"{LIST}week/D1/").context["days"]
    offered = [(day, time) for day, times in picker for time in times]
    assert len(offered) > 6 * 200
    assert all((day, time) >= (began.date(), f"{began:%H:%M}") for day, time in offered)
    assert all((day["date"], time) >= (began.date(), f"{began:%H:%M}") for day in week for time, *_ in day["rows"])


def test_an_action_by_a_link_does_nothing(people: People, diary: dict[str, str]) -> None:
    browser = browser_of(people, "admin")
    before = everything()
    browser.get(LIST, {"action": "cancel_visits", "_selected_action": "A1", "confirmed": "yes"})
    assert changed(before, everything()) <= {"postgresql django_session"}


def test_visits_are_completed_and_errors_are_reported(people: People, diary: dict[str, str]) -> None:
    browser = browser_of(people, "admin")
    act(browser, "cancel_visits", "A2", confirmed="yes")
    page = browser.post(
        LIST, {"action": "complete_visits", "_selected_action": ["A1", "A2"], "confirmed": "yes"}, follow=True
    ).content.decode()
    assert "A2: The appointment is cancelled, which is final." in page
    assert "1 visit was completed." in page
    assert Appointment.objects.get(pk="A1").status == "completed"


def test_front_desk_cancels_and_does_not_complete(people: People, groups: None, diary: dict[str, str]) -> None:
    browser = browser_of(people, "Front desk")
    act(browser, "cancel_visits", "A1", confirmed="yes")
    page = browser.post(
        LIST, {"action": "complete_visits", "_selected_action": ["A2"], "confirmed": "yes"}, follow=True
    ).content.decode()
    assert "Only the doctor of a visit or an admin says that it took place." in page
    assert {visit.pk for visit in Appointment.objects.exclude(status="scheduled")} == {"A1"}


def test_users_who_may_only_view_have_no_actions(people: People, groups: None, diary: dict[str, str]) -> None:
    browser = browser_of(people, "Billing")
    assert listed(browser) == {"A1", "A2", "A4"}
    act(browser, "cancel_visits", "A1", confirmed="yes")
    assert Appointment.objects.get(pk="A1").status == "scheduled"


def test_doctor_cancels_own_visits_only(people: People, diary: dict[str, str]) -> None:
    browser = browser_of(people, "doctor")
    act(browser, "cancel_visits", "A1", "A4", confirmed="yes")
    assert {visit.pk for visit in Appointment.objects.filter(status="cancelled")} == {"A1"}


def test_patient_page_links_to_the_forms(people: People, groups: None, rows: dict[str, Any]) -> None:
    book, prescribe = "/admin/appointments/appointment/add/", "/admin/prescriptions/prescription/add/"
    for who, expected in (("Front desk", {book}), ("doctor", {book, prescribe}), ("Billing", set())):
        browser = Client()
        if who == "doctor":
            browser.force_login(people.doctor)
        else:
            account = make_account("staff", f"{who.split()[0]}@example.org")
            account.groups.add(Group.objects.get(name=who))
            browser.force_login(account)
        page = browser.get("/admin/patients/patient/P1/change/").content.decode()
        assert {path for path in (book, prescribe) if f"{path}?patient_id=P1" in page} == expected
    doctor = Client()
    doctor.force_login(people.doctor)
    form = doctor.get(f"{prescribe}?patient_id=P1&doctor_id=D2&drug=x").context["adminform"].form
    assert (form.initial["patient_id"], form.initial["doctor_id"]) == ("P1", "D1")
    assert "drug" not in form.initial


# --- Doctors ---------------------------------------------------------------------------------------------------------


def test_links_to_the_week_of_a_doctor(people: People, groups: None) -> None:
    """The front desk has links to all doctors' weeks, a doctor to their own, and managers to none."""
    ways = {key: reverse("admin:appointments_appointment_week", args=[key]) for key in ("D1", "D2")}
    for who, expected in {"Front desk": {"D1", "D2"}, "doctor": {"D1"}, "admin": {"D1", "D2"}}.items():
        browser = browser_of(people, who)
        listed = browser.get("/admin/doctors/doctor/").content.decode()
        assert {key for key, way in ways.items() if way in listed} == expected
        for key, way in ways.items():
            page = browser.get(f"/admin/doctors/doctor/{key}/change/").content.decode()
            assert (way in page) == (key in expected)
            assert (browser.get(way).status_code == 200) == (key in expected)
    manager = make_account("staff", "manager@example.org")
    manager.groups.add(Group.objects.get(name="Managers"))
    browser = Client()
    browser.force_login(manager)
    assert "/week/" not in browser.get("/admin/doctors/doctor/D1/change/").content.decode()


def test_users_who_may_only_view_read_the_hours(people: People, groups: None) -> None:
    from doctors.services import update_doctor

    update_doctor(
        actor=people.admin, doctor_id="D1",
        availability=[{"weekday": 2, "start": "09:00", "end": "12:30", "slot_minutes": 20}],
        exceptions=[{"date": days_from_now(5), "start": None, "end": None, "closed": True}],
    )  # fmt: skip
    page = browser_of(people, "Front desk").get("/admin/doctors/doctor/D1/change/").content.decode()
    assert "<td>Wed</td><td>09:00–12:30</td><td>20 min</td>" in page
    assert f"<td>{days_from_now(5)}</td><td></td><td>closed</td>" in page
    assert 'name="availability' not in page


def test_doctor_changes_own_record_but_not_its_account(people: People) -> None:
    browser = browser_of(people, "doctor")
    record = people.doctor_record
    fields = {"name": "Amara N. Okafor", "specialty": record.specialty, "time_zone": "UTC", "accepting_patients": "on"}
    page = reverse("admin:doctors_doctor_change", args=["D1"])
    assert browser.post(page, {**fields, "user_id": ""}).status_code == 302
    record.refresh_from_db()
    assert (record.name, record.user_id) == ("Amara N. Okafor", people.doctor.pk)

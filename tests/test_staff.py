"""The admin for those who work in it: the groups that the migration makes, and doctors."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from tests.people import People, make_account
from tests.records import days_from_now, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

MIGRATION = import_module("accounts.migrations.0002_staff_groups")

#: Who → model → what of its pages opens: v(iew), a(dd), c(hange), d(elete).
PAGES: dict[str, dict[str, str]] = {
    "Front desk": {"patient": "vac", "doctor": "v", "appointment": "vac"},
    "Billing": {"patient": "v", "appointment": "v", "bill": "vac", "fee": "vacd"},
    "Auditors": {"auditentry": "v", "event": "v"},
    "Managers": {"doctor": "v", "fee": "v"},
    "nobody": {},
    # As the API lets them: their own row of doctors, visits and prescriptions.
    "doctor": {"patient": "v", "doctor": "vc", "appointment": "vac", "prescription": "vacd"},
    "other_doctor": {"patient": "v", "doctor": "v", "prescription": "va", "appointment": "a"},
}


@pytest.fixture
def groups() -> None:
    """What the migration makes; a test that empties PostgreSQL takes it away from those behind it."""
    Group.objects.all().delete()
    MIGRATION.create(apps, None)


@pytest.fixture
def rows(people: People) -> dict[str, Any]:
    """A row of each model that staff have to do with, of P1 and D1."""
    from billing.models import Fee
    from healthcare.models import AuditEntry, Event

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


def test_groups_are_made_once(groups: None) -> None:
    assert set(Group.objects.values_list("name", flat=True)) == {"Front desk", "Billing", "Auditors", "Managers"}
    desk = Group.objects.get(name="Front desk")
    desk.permissions.clear()
    MIGRATION.create(apps, None)
    assert not desk.permissions.exists(), "what an admin has made of it stays"


@pytest.mark.parametrize("who", PAGES)
def test_pages_open_as_the_groups_say(people: People, groups: None, rows: dict[str, Any], who: str) -> None:
    browser = browser_of(people, who)
    opened: dict[str, str] = {}
    for model in admin.site._registry:
        name, place = str(model._meta.model_name), f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = [rows[name].pk]
        page = browser.get(reverse(f"{place}_change", args=row))
        deeds = {
            "v": page.status_code == 200,
            "a": browser.get(reverse(f"{place}_add")).status_code == 200,
            "c": page.status_code == 200 and b'name="_save"' in page.content,
            "d": browser.get(reverse(f"{place}_delete", args=row)).status_code == 200,
        }
        opened[name] = "".join(deed for deed, is_open in deeds.items() if is_open)
    assert {name: deeds for name, deeds in opened.items() if deeds} == PAGES[who]


@pytest.mark.parametrize("who", [*PAGES, "admin"])
def test_index_shows_what_opens(people: People, groups: None, rows: dict[str, Any], who: str) -> None:
    page = browser_of(people, who).get("/admin/").content.decode()
    shown = {
        str(model._meta.model_name)
        for model in admin.site._registry
        if reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") in page
    }
    if who != "admin":
        assert shown == {name for name, deeds in PAGES[who].items() if "v" in deeds or "a" in deeds}


def test_doctor_sees_the_visits_that_the_api_shows(people: People, rows: dict[str, Any]) -> None:
    make_appointment(people, appointment_id="A2", doctor_id="D2", patient_id="P2")
    page = browser_of(people, "doctor").get(reverse("admin:appointments_appointment_changelist")).content.decode()
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

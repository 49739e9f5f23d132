"""A patient's page: the timeline by permission, and the warning about a likely duplicate."""

import re
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from patients.models import Patient
from tests.audit.entries import recording
from tests.people import People, make_account, make_patient
from tests.records import complete, days_from_now, make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db

PAGE = "/admin/patients/patient/P1/change/"


def staff_with(*codenames: str) -> Client:
    account = make_account("staff", f"{len(codenames)}.{codenames[-1]}@example.org")
    account.user_permissions.set(Permission.objects.filter(codename__in=["view_patient", *codenames]))
    browser = Client()
    browser.force_login(account)
    return browser


@pytest.fixture
def readers(people: People) -> dict[str, Client]:
    browsers = {"admin": Client(), "doctor": Client(), "other_doctor": Client()}
    for who, browser in browsers.items():
        browser.force_login(getattr(people, who))
    return {
        **browsers,
        "front desk": staff_with("view_appointment"),
        "billing": staff_with("view_appointment", "view_bill"),
        "nobody": staff_with("view_fee"),
    }


@pytest.fixture
def chart(people: People) -> dict[str, str]:
    """Appointments, a prescription and a bill of P1, with the paths of their pages, and a bill of P2."""
    past = complete(people, make_appointment(people, appointment_id="A1", date=days_from_now(-9)))
    make_appointment(people, appointment_id="A2", doctor_id="D2", disease="Migraine")
    course = make_prescription(people)
    bill = make_bill(people, disease="Sprain")
    make_bill(people, patient_id="P2", disease="Gout")
    return {
        "visit": reverse("admin:appointments_appointment_change", args=[past.pk]),
        "other visit": reverse("admin:appointments_appointment_change", args=["A2"]),
        "course": reverse("admin:prescriptions_prescription_change", args=[course.pk]),
        "bill": reverse("admin:billing_bill_change", args=[bill.pk]),
    }


#: User → kinds of entries in the timeline, and the pages that it links to.
SEEN: dict[str, tuple[set[str], set[str]]] = {
    "admin": ({"visit", "prescription", "bill"}, {"visit", "other visit", "course", "bill"}),
    "doctor": ({"visit", "prescription"}, {"visit", "course"}),
    "other_doctor": ({"visit", "prescription"}, {"other visit"}),
    "front desk": ({"visit"}, {"visit", "other visit"}),
    "billing": ({"visit", "bill"}, {"visit", "other visit", "bill"}),
    "nobody": (set(), set()),
}


@pytest.mark.parametrize("who", SEEN)
def test_timeline_shows_what_the_user_may_see(readers: dict[str, Client], chart: dict[str, str], who: str) -> None:
    with recording() as made:
        page = readers[who].get(PAGE).content.decode()
    kinds, links = SEEN[who]
    assert {kind for kind in ("visit", "prescription", "bill") if f'<li class="is-{kind}">' in page} == kinds
    assert {name for name, path in chart.items() if f'href="{path}"' in page} == links
    for path in (chart[name] for name in links):
        assert readers[who].get(path).status_code == 200, "linked pages are shown"
    assert ("Sprain" in page) == ("bill" in kinds)
    assert "Gout" not in page, "this is another patient's bill"
    said = [(entry.action, entry.patient_ids) for entry in made.entries]
    assert (("bill.listed", ["P1"]) in said) == ("bill" in kinds)
    assert ("patient.viewed", ["P1"]) in said


def test_timeline_begins_with_the_latest_entry(readers: dict[str, Client], chart: dict[str, str]) -> None:
    page = readers["admin"].get(PAGE).content.decode()
    timeline = page[page.index('class="timeline"') :]
    places = {name: timeline.index(f'href="{path}"') for name, path in chart.items()}
    # A2 is in seven days, the prescription and the bill are of today, and A1 was nine days ago.
    assert places["other visit"] < min(places["course"], places["bill"])
    assert max(places["course"], places["bill"]) < places["visit"]


def test_visit_precedes_its_prescription_and_bill_of_the_same_day(people: People, readers: dict[str, Client]) -> None:
    """The order holds although the doctor's time zone may be hours ahead of the browser's."""
    visit = make_appointment(people, appointment_id="A1", date=days_from_now(0), time="23:55", duration_minutes=5)
    complete(people, visit)
    course = make_prescription(people)
    page = readers["admin"].get(PAGE).content.decode()
    timeline = page[page.index('class="timeline"') :]
    kinds = re.findall(r'<li class="is-(\w+)">\s*<span class="quiet">([\d-]+) ([\d:]*)</span>', timeline)
    assert kinds == [
        ("bill", str(timezone.localdate()), ""), ("prescription", str(course.start_date), ""),
        ("visit", str(visit.date), "23:55"),
    ]  # fmt: skip


# --- Likely duplicates -----------------------------------------------------------------------------------------------

NEW = {"name": "MARIA  dos santos", "birth_date": "1980-05-04"}


@pytest.fixture
def desk(people: People) -> Client:
    make_patient(people.admin, "P5", name="Maria dos Santos", age=None, birth_date=date(1980, 5, 4))
    return staff_with("add_patient", "change_patient")


def warnings(answer: Any) -> str:
    return str(answer.context["adminform"].form.errors.get("is_another", ""))


def test_likely_duplicate_is_shown_and_created_after_confirmation(desk: Client) -> None:
    before = Patient.objects.count()
    with recording() as made:
        warned = desk.post("/admin/patients/patient/add/", NEW)
    assert warned.status_code == 200
    assert reverse("admin:patients_patient_change", args=["P5"]) in warnings(warned)
    assert 'type="checkbox" name="is_another"' in warned.content.decode()
    assert Patient.objects.count() == before
    assert ("patient.listed", ["P5"]) in [(entry.action, entry.patient_ids) for entry in made.entries]
    assert desk.post("/admin/patients/patient/add/", {**NEW, "is_another": "on"}).status_code == 302
    assert Patient.objects.count() == before + 1


@pytest.mark.parametrize("other", [{"name": "Maria dos Santos Lima"}, {"birth_date": "1980-05-05"}, {"birth_date": ""}])
def test_different_patient_is_created_at_once(desk: Client, other: dict[str, str]) -> None:
    assert desk.post("/admin/patients/patient/add/", {**NEW, **other}).status_code == 302


def test_checkbox_is_shown_after_a_warning_only(desk: Client) -> None:
    fresh = desk.get("/admin/patients/patient/add/").content.decode()
    assert 'type="hidden" name="is_another"' in fresh
    page = desk.get("/admin/patients/patient/P5/change/").content.decode()
    assert "is_another" not in page
    # Changing a record asks no question, even if it becomes equal to another.
    assert desk.post("/admin/patients/patient/P1/change/", NEW).status_code == 302
    assert Patient.objects.get(pk="P1").name == "MARIA  dos santos"

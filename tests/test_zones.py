"""Time zones in the admin: timestamps in that of the browser, appointments in that of the doctor."""

from datetime import UTC, date, datetime

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Bill
from doctors.services import update_doctor
from healthcare.mongodb import raw
from healthcare.outbox.models import Event
from tests.people import People
from tests.records import make_appointment, make_bill

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 1, 15, 23, 30, tzinfo=UTC)


@pytest.fixture
def browser(people: People) -> Client:
    client = Client()
    client.force_login(people.admin)
    return client


@pytest.mark.parametrize(
    ("cookie", "shown"),
    [
        (None, "2026-01-15 23:30 UTC"),
        ("Europe%2FZurich", "2026-01-16 00:30 CET"),
        ("Asia/Kolkata", "2026-01-16 05:00 IST"),
        ("localtime", "2026-01-15 23:30 UTC"),
        ("..%2F..%2Fetc%2Fpasswd", "2026-01-15 23:30 UTC"),
        ("x" * 4_000, "2026-01-15 23:30 UTC"),
    ],
)
def test_timestamps_are_in_the_time_zone_of_the_browser(
    browser: Client, people: People, cookie: str | None, shown: str
) -> None:
    bill = make_bill(people)
    Bill.objects.update(created_at=MOMENT)
    if cookie:
        browser.cookies["time_zone"] = cookie
    assert shown in browser.get("/admin/billing/bill/").content.decode()
    assert shown in browser.get(reverse("admin:billing_bill_change", args=[bill.pk])).content.decode()
    # Days of the timeline are in this time zone, too. The time of a bill is on its own page.
    chart = browser.get("/admin/patients/patient/P1/change/").content.decode()
    assert f'<span class="quiet">{shown[:10]} </span>' in chart


def test_next_request_has_its_own_time_zone(browser: Client, people: People) -> None:
    make_bill(people)
    Bill.objects.update(created_at=MOMENT)
    browser.cookies["time_zone"] = "Asia/Tokyo"
    assert "2026-01-16 08:30 JST" in browser.get("/admin/billing/bill/").content.decode()
    other = Client()
    other.force_login(people.admin)
    assert "2026-01-15 23:30 UTC" in other.get("/admin/billing/bill/").content.decode()


def test_api_responds_in_utc(people: People) -> None:
    make_bill(people)
    Bill.objects.update(created_at=MOMENT)
    client = people.client("admin")
    client.cookies["time_zone"] = "Asia/Tokyo"
    assert client.get("/api/billing").json()["results"][0]["created_at"] == "2026-01-15T23:30:00Z"


def test_appointments_are_in_the_time_zone_of_the_doctor(browser: Client, people: People) -> None:
    update_doctor(actor=people.admin, doctor_id="D1", time_zone="America/Sao_Paulo")
    visit = make_appointment(people, date=date(2031, 3, 3), time="09:30")
    make_appointment(people, date=date(2031, 3, 4), time=None)
    browser.cookies["time_zone"] = "Asia/Tokyo"
    listed = browser.get("/admin/appointments/appointment/?day=all").content.decode()
    assert "09:30\N{NO-BREAK SPACE}UTC−03:00" in listed
    page = browser.get(reverse("admin:appointments_appointment_change", args=[visit.pk])).content.decode()
    assert 'value="09:30"' in page
    assert "2031-03-03 21:30 JST" in page


def test_events_are_filtered_by_their_delivery(browser: Client, people: People) -> None:
    make_appointment(people, appointment_id="A1")
    event = raw.collection(Event).find_one({"kind": "appointment.booked"})
    assert event
    raw.collection(Event).update_one(
        {"_id": event["_id"]},
        {"$set": {"set_aside_at": MOMENT, "attempts": 8, "reason": "LookupError: no fee", "pending": ["billing"]}},
    )
    listing = "/admin/healthcare/event/"

    def listed(**query: str) -> list[str]:
        return [str(row.pk) for row in browser.get(listing, query).context["cl"].result_list]

    assert listed(state="dead") == [str(event["_id"])]
    assert listed(state="due") == []
    assert str(event["_id"]) in listed()
    assert listed(q="A1") == [str(event["_id"])] == listed(q=str(event["_id"]))
    assert set(listed(q="P1")) > {str(event["_id"])}
    page = browser.get(reverse("admin:healthcare_event_change", args=[event["_id"]])).content.decode()
    assert "LookupError: no fee" in page
    assert "dead letter" in page
    assert 'name="_save"' not in page
    browser.post(listing, {"action": "retry_delivery", "_selected_action": [str(event["_id"])]})
    assert listed(state="dead") == []
    assert listed(state="due") == [str(event["_id"])]


def test_appointment_links_to_forms_for_a_prescription_and_a_bill(browser: Client, people: People) -> None:
    make_appointment(people, appointment_id="A1")
    prescribe = f"{reverse('admin:prescriptions_prescription_add')}?patient_id=P1&appointment_id=A1"
    bill = f"{reverse('admin:billing_bill_add')}?patient_id=P1&appointment_id=A1"
    page = reverse("admin:appointments_appointment_change", args=["A1"])
    doctor = Client()
    doctor.force_login(people.doctor)
    shown = doctor.get(page).content.decode().replace("&amp;", "&")
    assert prescribe in shown
    assert bill not in shown
    initial = doctor.get(prescribe).context["adminform"].form.initial
    assert initial == {"patient_id": "P1", "appointment_id": "A1", "doctor_id": "D1"}
    assert bill in browser.get(page).content.decode().replace("&amp;", "&")
    assert browser.get(bill).context["adminform"].form.initial == {"patient_id": "P1", "appointment_id": "A1"}
    browser.post(reverse("admin:appointments_appointment_cancel", args=["A1"]), {"_form_submitted": "True"})
    assert prescribe not in doctor.get(page).content.decode().replace("&amp;", "&")

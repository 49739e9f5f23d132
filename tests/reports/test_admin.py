"""The pages of the reports in the admin, and the dashboard with its figures and charts."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.test import Client

from billing.services import change_bill
from reports.admin import PAGES
from tests.audit.entries import recording
from tests.people import People, make_account
from tests.records import days_from_now, make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db

NAMES = [page.name for page in PAGES]


def path_of(name: str) -> str:
    return f"/admin/reports/{name}/"


@pytest.fixture
def groups() -> None:
    Group.objects.all().delete()
    import_module("accounts.migrations.0002_staff_groups").create(apps, None)


def browser_of(people: People, who: str) -> Client:
    browser = Client()
    if who in ("patient", "doctor", "admin"):
        browser.force_login(getattr(people, who))
    elif who != "anonymous":
        account = make_account("staff", f"{who.split()[0]}@example.org".lower())
        if who != "nobody":
            account.groups.add(Group.objects.get(name=who))
        browser.force_login(account)
    return browser


@pytest.fixture
def facts(people: People) -> None:
    from appointments.services import change_appointment

    make_appointment(people, appointment_id="A1", date=days_from_now(-1), time=None, disease="Asthma")
    change_appointment(actor=people.admin, appointment_id="A1", status="completed")
    make_prescription(people, disease="Asthma", appointment_id="A1", cost="12.50", duration_days=10)
    make_bill(people, appointment_id=None, disease="Asthma")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("who", "expected"),
    [("anonymous", 302), ("patient", 302), ("nobody", 403), ("Front desk", 403), ("Billing", 403), ("Auditors", 403),
     ("Managers", 200), ("doctor", 200), ("admin", 200)],
)  # fmt: skip
def test_permissions(people: People, groups: None, facts: None, name: str, who: str, expected: int) -> None:
    browser = browser_of(people, who)
    for query in ("", "?format=csv", "?format=svg", "?format=brief"):
        assert browser.get(path_of(name) + query).status_code == expected, query


@pytest.mark.parametrize("name", NAMES)
def test_page_has_the_figures_of_the_api(people: People, facts: None, name: str) -> None:
    browser = browser_of(people, "admin")
    with recording() as made:
        page = browser.get(path_of(name))
    assert [(entry.action, entry.subject) for entry in made.entries] == [("report.viewed", name)]
    answered = people.client("admin").get(f"/api/reports/{name}").json()["results"]
    text = page.content.decode()
    assert "As of 20" in text
    assert " UTC" in text
    shown = [[str(cell) for cell in row] for row in page.context["rows"]]
    assert shown == [[str(value) for value in row.values()] for row in answered]
    csv = browser.get(path_of(name) + "?format=csv").getvalue().decode()
    assert csv.splitlines()[0] == ",".join(answered[0])
    assert browser.get(path_of(name) + "?format=png").content.startswith(b"\x89PNG")
    assert browser.get(path_of(name) + "?format=svg").content.startswith(b"<?xml")


@pytest.mark.parametrize("name", NAMES)
def test_empty_report_shows_a_message(people: People, name: str) -> None:
    page = browser_of(people, "admin").get(path_of(name)).content.decode()
    assert "There is nothing to count yet" in page
    assert "<img class" not in page


def test_filters_are_those_of_the_report(people: People, facts: None) -> None:
    browser = browser_of(people, "admin")
    path, day = path_of("top-doctors"), str(days_from_now(-1))
    assert browser.get(path, {"since": day, "until": day, "by": "appointments", "limit": "1"}).context["rows"]
    assert not browser.get(path, {"since": str(days_from_now(1))}).context["rows"]
    months = path_of("monthly-appointments-trend")
    assert browser.get(months, {"year": "1999"}).context["is_empty"]
    assert browser.get(path_of("disease-trends"), {"basis": "appointments"}).context["rows"]


@pytest.mark.parametrize(
    ("name", "query"),
    [("top-doctors", {"since": "2026-02-30"}), ("top-doctors", {"since": "2026-02-02", "until": "2026-02-01"}),
     ("top-doctors", {"since": "0001-01-01"}), ("top-doctors", {"limit": "0"}), ("top-doctors", {"limit": "x"}),
     ("top-doctors", {"by": "$where"}), ("disease-trends", {"basis": "x"}),
     ("monthly-appointments-trend", {"year": "abc"}), ("monthly-appointments-trend", {"year": "0"})],
)  # fmt: skip
def test_errors_of_filters_are_shown_on_the_form(people: People, facts: None, name: str, query: dict[str, str]) -> None:
    browser = browser_of(people, "admin")
    with recording() as made:
        page = browser.get(path_of(name), query)
    assert page.status_code == 200
    assert page.context["form"].errors
    assert page.context["report"] is None
    assert made.entries == []


def test_dashboard_shows_what_the_user_may_see(people: People, groups: None, facts: None) -> None:
    make_appointment(people, appointment_id="A2", date=days_from_now(0), time="23:30")
    make_appointment(people, appointment_id="A3", date=days_from_now(0), time="23:00", doctor_id="D2", patient_id="P2")
    visits, bills, reports = {"Visits today", "Cancelled this week"}, {"Open bills"}, True
    books = visits | {"Free slots today"}
    for who, expected, has_reports in (
        ("admin", books | bills, reports), ("doctor", books, reports), ("Front desk", books, False),
        ("Billing", visits | bills, False), ("Managers", set(), reports), ("Auditors", set(), False),
        ("nobody", set(), False),
    ):  # fmt: skip
        page = browser_of(people, who).get("/admin/")
        assert {str(label) for label, *_ in page.context["figures"]} == expected, who
        assert ("reports" in page.context) == has_reports, who
        assert (b"/admin/reports/top-doctors/" in page.content) == has_reports, who
    admins = {str(label): value for label, value, *_ in figures(people)}
    assert admins["Visits today"] == 2
    doctors = browser_of(people, "doctor").get("/admin/").context["figures"]
    assert {str(label): value for label, value, *_ in doctors}["Visits today"] == 1, (
        "doctors see the figures of their own visits"
    )


def test_open_bills_and_their_total(people: People) -> None:
    bill = make_bill(people, appointment_id=None, total_cost="10.50")
    make_bill(people, appointment_id=None, total_cost="2.00")
    (_, number, total, _), *_rest = [each for each in figures(people) if str(each[0]) == "Open bills"]
    assert (number, total) == (2, "12.50")
    change_bill(actor=people.admin, bill_id=bill.pk, status="paid")
    assert [each[1:3] for each in figures(people) if str(each[0]) == "Open bills"] == [(1, "2.00")]


@pytest.mark.parametrize("name", NAMES)
def test_dashboard_chart_has_the_figures_of_the_report(people: People, facts: None, name: str) -> None:
    browser = browser_of(people, "admin")
    with recording() as made:
        brief = browser.get(path_of(name) + "?format=brief")
    assert [(entry.action, entry.subject) for entry in made.entries] == [("report.viewed", name)]
    page = next(page for page in PAGES if page.name == name)
    answered = people.client("admin").get(f"/api/reports/{name}").json()["results"]
    shown = brief.context["rows"]
    assert [[str(value) for value, *_ in figures] for _, figures in shown] == [
        [str(row[bar]) for bar in page.bars] for row in answered
    ]
    assert max(share for _, figures in shown for _, _, share in figures) == 100
    assert f'href="{path_of(name)}"' in browser.get("/admin/").content.decode()


def test_dashboard_chart_has_the_most_frequent_rows(people: People) -> None:
    for number in range(12):
        make_prescription(people, disease=f"Disease {number:02}", duration_days=10)
    for patient in ("P1", "P2"):
        make_prescription(people, patient_id=patient, disease="Yaws", duration_days=10)
    brief = browser_of(people, "admin").get(path_of("disease-trends") + "?format=brief")
    labels = [label for label, _ in brief.context["rows"]]
    assert (labels[0], len(labels)) == ("Yaws", 8)
    assert "The 8 most frequent rows." in brief.content.decode()


@pytest.mark.parametrize("name", NAMES)
def test_empty_chart_shows_a_message(people: People, name: str) -> None:
    brief = browser_of(people, "admin").get(path_of(name) + "?format=brief").content.decode()
    assert "There is nothing to count yet." in brief
    assert "<table" not in brief


def figures(people: People) -> list[Any]:
    return browser_of(people, "admin").get("/admin/").context["figures"]


def test_dashboard_names_no_patient(people: People, facts: None) -> None:
    with recording() as made:
        page = browser_of(people, "admin").get("/admin/").content.decode()
    assert "Ali Raza" not in page
    assert sorted((entry.action, entry.patient_ids) for entry in made.entries if entry.channel == "admin") == [
        ("appointment.counted", []), ("bill.counted", []),
    ]  # fmt: skip

"""What each page of the admin asks the databases: how often, whatever there is to show, and never for everything."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Fee
from doctors.services import update_doctor
from healthcare.audit_log.models import AuditEntry
from healthcare.mongodb.explain import ProfiledCommand, profiled
from healthcare.outbox.models import Event
from tests.people import People, make_account, make_doctor, make_patient
from tests.records import days_from_now, make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db

VISITS, PATIENTS = "/admin/appointments/appointment/", "/admin/patients/patient/"
#: Page → queries of PostgreSQL, commands of MongoDB. Session and account are two of the former on every page, the audit
#: trail's entries are one, and what a list is long is asked for along with its rows.
PAGES: dict[str, tuple[int, int]] = {
    "/admin/": (6, 7),
    "/admin/reports/top-doctors/": (3, 2),
    "/admin/reports/disease-trends/": (3, 1),
    "/admin/reports/monthly-appointments-trend/": (3, 1),
    "/admin/reports/average-prescription-cost/": (3, 1),
    "/admin/reports/top-doctors/?format=brief": (3, 2),
    f"{PATIENTS}": (3, 2),
    f"{PATIENTS}?q=Ali": (3, 2),
    f"{PATIENTS}?q=P1": (3, 2),
    f"{PATIENTS}find/?q=ali": (3, 3),
    f"{PATIENTS}add/": (2, 0),
    f"{PATIENTS}P1/change/": (5, 2),
    "/admin/doctors/doctor/": (2, 2),
    "/admin/doctors/doctor/D1/change/": (2, 1),
    f"{VISITS}": (3, 2),
    f"{VISITS}?day=all": (3, 2),
    f"{VISITS}?day=week&status__exact=scheduled": (3, 2),
    f"{VISITS}?q=P1": (3, 2),
    f"{VISITS}?q=D1&day=today": (3, 2),
    f"{VISITS}add/?doctor_id=D1": (2, 0),
    f"{VISITS}slots/?doctor_id=D1": (2, 2),
    f"{VISITS}week/D1/": (4, 4),
    f"{VISITS}A1/change/": (3, 2),
    f"{VISITS}A1/move/": (4, 3),
    "/admin/prescriptions/prescription/": (3, 2),
    "/admin/prescriptions/prescription/?q=P1": (3, 2),
    "/admin/prescriptions/prescription/{course}/change/": (3, 1),
    "/admin/billing/bill/": (6, 0),
    "/admin/billing/bill/?status__exact=open": (6, 0),
    "/admin/billing/bill/{bill}/change/": (5, 0),
    "/admin/billing/fee/": (5, 0),
    "/admin/billing/fee/{fee}/change/": (3, 0),
    "/admin/accounts/user/": (5, 0),
    "/admin/accounts/user/{account}/change/": (8, 0),
    "/admin/auth/group/": (5, 0),
    "/admin/auth/group/{group}/change/": (5, 0),
    "/admin/healthcare/auditentry/": (5, 0),
    "/admin/healthcare/auditentry/?q=P1": (5, 0),
    "/admin/healthcare/auditentry/{entry}/change/": (4, 0),
    "/admin/healthcare/event/": (3, 2),
    "/admin/healthcare/event/{event}/change/": (3, 1),
}
MORE = 12


@pytest.fixture
def keys(people: People) -> dict[str, Any]:
    update_doctor(actor=people.admin, doctor_id="D1", availability=[{"weekday": 0, "start": "08:00", "end": "18:00"}])
    make_appointment(people, appointment_id="A1", date=days_from_now(0), time=None)
    make_appointment(people, appointment_id="A2", date=days_from_now(1), time=None)
    return {
        "course": make_prescription(people).pk,
        "bill": make_bill(people, appointment_id=None).pk,
        "fee": Fee.objects.get(specialty_key="").pk,
        "account": people.staff.pk,
        "group": Group.objects.get_or_create(name="others")[0].pk,
        "event": Event.objects.order_by("-id").values_list("pk", flat=True)[0],
        "entry": AuditEntry.objects.order_by("-id").values_list("pk", flat=True)[0],
    }


def make_more(people: People) -> None:
    """Rows of everything, most of them of P1 and D1; events and entries come along."""
    for number in range(MORE):
        make_patient(people.admin, f"PX{number}", diseases=["Asthma"])
        make_doctor(people.admin, f"DX{number}")
        make_appointment(people, appointment_id=f"AX{number}", date=days_from_now(number % 3), time=None)
        make_prescription(people, disease=f"Disease {number}", cost="1.00", duration_days=3)
        make_bill(people, appointment_id=None)
        make_account("staff", f"staff{number}@example.org")
        Group.objects.create(name=f"group {number}")
        Fee.objects.create(specialty=f"Specialty {number}", specialty_key=f"specialty {number}", amount=1)


def costs(browser: Client, keys: dict[str, Any]) -> dict[str, tuple[int, list[ProfiledCommand]]]:
    found = {}
    for page in PAGES:
        path = page.format(**keys)
        with profiled() as ran, CaptureQueriesContext(connection) as asked:
            assert browser.get(path).status_code == 200, path
        # A test is one transaction, which the pages have no part in.
        queries = [query["sql"] for query in asked if "SAVEPOINT" not in query["sql"]]
        found[page] = (len(queries), ran)
    return found


def test_what_each_page_asks_does_not_depend_on_how_much_there_is(people: People, keys: dict[str, Any]) -> None:
    browser = Client()
    browser.force_login(people.admin)
    # What is not asked each time: the report that is counted anew once a minute, and Django's numbers of the models.
    browser.get("/admin/reports/average-prescription-cost/")
    ContentType.objects.get_for_models(*admin.site._registry)
    few = {page: (queries, len(ran)) for page, (queries, ran) in costs(browser, keys).items()}
    assert few == PAGES
    make_more(people)
    many = costs(browser, keys)
    assert {page: (queries, len(ran)) for page, (queries, ran) in many.items()} == PAGES
    read_all = {
        (page, each.collection) for page, (_, ran) in many.items() for each in ran if each.plan.startswith("COLLSCAN")
    }
    assert read_all == set()


@pytest.mark.parametrize("path", [PATIENTS, f"{VISITS}?day=all", "/admin/prescriptions/prescription/"])
def test_no_link_sorts_a_long_list_without_an_index(people: People, keys: dict[str, Any], path: str) -> None:
    browser = Client()
    browser.force_login(people.admin)
    shown = [row.pk for row in browser.get(path).context_data["cl"].result_list]
    for column in ("3", "-3", "4.-1"):
        with profiled() as ran:
            page = browser.get(path, {"o": column, "day": "all"} if path.startswith(VISITS) else {"o": column})
        assert [row.pk for row in page.context_data["cl"].result_list] == shown
        assert not [each for each in ran if each.plan.startswith("COLLSCAN")]
    assert "?o=" not in browser.get(path).content.decode()

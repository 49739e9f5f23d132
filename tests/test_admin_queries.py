"""Queries of each admin page: their number does not depend on the number of rows, and none scans a collection."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from unfold.templatetags import unfold_list

from billing.models import Fee
from doctors.services import update_doctor
from healthcare.audit_log.models import AuditEntry
from healthcare.mongodb.explain import ProfiledCommand, profiled
from healthcare.outbox.models import Event
from tests.people import People, make_account, make_doctor, make_patient
from tests.records import days_from_now, make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db

VISITS, PATIENTS = "/admin/appointments/appointment/", "/admin/patients/patient/"
#: Page → queries of PostgreSQL, commands of MongoDB. Every page needs a query for the session, one for the account and
#: one that writes the audit entries. A list needs one query for its rows and one for their number.
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
    f"{PATIENTS}autocomplete/?q=ali": (3, 3),
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
    f"{VISITS}week/D1/?week={days_from_now(7)}": (4, 5),
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
    # The doctor works tomorrow and not today, so that the number of queries is the same on every weekday.
    hours = [{"weekday": days_from_now(1).weekday(), "start": "08:00", "end": "18:00"}]
    update_doctor(actor=people.admin, doctor_id="D1", availability=hours)
    make_appointment(people, appointment_id="A1", date=days_from_now(0), time=None)
    make_appointment(people, appointment_id="A2", date=days_from_now(7), time=None)
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
    """Create rows of every model, most of them of P1 and D1, along with events and audit entries."""
    for number in range(MORE):
        make_patient(people.admin, f"PX{number}", diseases=["Asthma"])
        make_doctor(people.admin, f"DX{number}")
        make_appointment(people, appointment_id=f"AX{number}", date=days_from_now((0, 1, 7)[number % 3]), time=None)
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
        # The savepoints belong to the transaction of the test.
        queries = [query["sql"] for query in asked if "SAVEPOINT" not in query["sql"]]
        found[page] = (len(queries), ran)
    return found


def test_number_of_queries_does_not_depend_on_the_number_of_rows(people: People, keys: dict[str, Any]) -> None:
    browser = Client()
    browser.force_login(people.admin)
    # These queries are cached: a report that is computed once a minute, and the ids of content types.
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


def test_headers_of_a_list_are_computed_once(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """The theme's own function computes them for each row. `healthcare.staff_admin.model_admin` replaces it."""
    labels: list[str] = []
    label_for_field = unfold_list.label_for_field

    def count(name: str, *args: Any, **kwargs: Any) -> Any:
        labels.append(name)
        return label_for_field(name, *args, **kwargs)

    monkeypatch.setattr(unfold_list, "label_for_field", count)
    browser = Client()
    browser.force_login(people.admin)
    page = browser.get(PATIENTS)
    assert len(page.context["cl"].result_list) == 2
    assert [name for name in labels if name == "birth_date"] == ["birth_date"]


@pytest.mark.parametrize("path", [PATIENTS, f"{VISITS}?day=all", "/admin/prescriptions/prescription/"])
def test_no_link_sorts_a_long_list_without_an_index(people: People, keys: dict[str, Any], path: str) -> None:
    browser = Client()
    browser.force_login(people.admin)
    shown = [row.pk for row in browser.get(path).context["cl"].result_list]
    for column in ("3", "-3", "4.-1"):
        with profiled() as ran:
            page = browser.get(path, {"o": column, "day": "all"} if path.startswith(VISITS) else {"o": column})
        assert [row.pk for row in page.context["cl"].result_list] == shown
        assert not [each for each in ran if each.plan.startswith("COLLSCAN")]
    assert "?o=" not in browser.get(path).content.decode()

"""Every URL of the admin, from the resolver, requested by every kind of account with GET and with POST.

A page without a row in the table fails the test, and so does a row without a page.
"""

import re
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import URLResolver, get_resolver

from billing.models import Fee
from healthcare.audit_log.models import AuditEntry
from healthcare.outbox.models import Event
from tests.people import People, make_account
from tests.records import make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

#: The columns of the table. All records are about the doctor D1 and the patient P1, who have the accounts `doctor` and
#: `patient`.
WHO = ("Front desk", "Billing", "Auditors", "Managers", "doctor", "other_doctor", "nobody", "admin", "patient",
       "anonymous")  # fmt: skip
#: + is answered, v is answered but accepts no form, - is refused, > redirects (without a staff account: to the log-in),
#: 0 is not found, p accepts only POST.
ANSWERS = {"+": 200, "v": 200, "-": 403, ">": 302, "0": 404, "p": 405}
PAGES = [
    ("++++++++>>", ""),
    (">>>>>>>>++", "login/"),
    ("pppppppp>>", "logout/"),
    ("++++++++>>", "password_change/"),
    ("++++++++>>", "password_change/done/"),
    ("++++++++>>", "second-factor/"),
    ("++++++++>>", "jsi18n/"),
    ("00000000>>", "search/"),
    ("-------->>", "autocomplete/"),
    ("00000000>>", "r/<path:content_type_id>/<path:object_id>/"),
    ("++00++0+>>", "<app_label>/"),
    ("00000000>>", "<anything else>"),
    ("---+++-+>>", "reports/top-doctors/"),
    ("---+++-+>>", "reports/disease-trends/"),
    ("---+++-+>>", "reports/monthly-appointments-trend/"),
    ("---+++-+>>", "reports/average-prescription-cost/"),
    ("++--++-+>>", "patients/patient/autocomplete/"),
    ("++--++-+>>", "patients/patient/"),
    ("+------+>>", "patients/patient/add/"),
    ("++>>++>+>>", "patients/patient/<path:object_id>/history/"),
    ("-------+>>", "patients/patient/<path:object_id>/delete/"),
    ("+v--vv-+>>", "patients/patient/<path:object_id>/change/"),
    (">>>>>>>>>>", "patients/patient/<path:object_id>/"),
    ("++--++-+>>", "patients/patient/export/"),
    ("+------+>>", "patients/patient/import/"),
    ("p------p>>", "patients/patient/process_import/"),
    ("+--+++-+>>", "doctors/doctor/autocomplete/"),
    ("+--+++-+>>", "doctors/doctor/"),
    ("-------+>>", "doctors/doctor/add/"),
    ("+>>+++>+>>", "doctors/doctor/<path:object_id>/history/"),
    ("-------+>>", "doctors/doctor/<path:object_id>/delete/"),
    ("v--v+v-+>>", "doctors/doctor/<path:object_id>/change/"),
    (">>>>>>>>>>", "doctors/doctor/<path:object_id>/"),
    ("+--+++-+>>", "doctors/doctor/export/"),
    ("-------+>>", "doctors/doctor/import/"),
    ("-------p>>", "doctors/doctor/process_import/"),
    ("+---++-+>>", "appointments/appointment/slots/"),
    ("+0--+0-+>>", "appointments/appointment/week/<str:doctor_id>/"),
    ("----+--+>>", "appointments/appointment/<path:object_id>/complete/"),
    ("+---+--+>>", "appointments/appointment/<path:object_id>/cancel/"),
    ("+---+--+>>", "appointments/appointment/<path:object_id>/move/"),
    ("++--++-+>>", "appointments/appointment/"),
    ("+---++-+>>", "appointments/appointment/add/"),
    ("++>>+>>+>>", "appointments/appointment/<path:object_id>/history/"),
    ("-------+>>", "appointments/appointment/<path:object_id>/delete/"),
    ("+v--+>-+>>", "appointments/appointment/<path:object_id>/change/"),
    (">>>>>>>>>>", "appointments/appointment/<path:object_id>/"),
    ("++--++-+>>", "appointments/appointment/export/"),
    ("+---++-+>>", "appointments/appointment/import/"),
    ("p---pp-p>>", "appointments/appointment/process_import/"),
    ("----++-+>>", "prescriptions/prescription/"),
    ("----++-+>>", "prescriptions/prescription/add/"),
    (">>>>++>+>>", "prescriptions/prescription/<path:object_id>/history/"),
    ("----+--+>>", "prescriptions/prescription/<path:object_id>/delete/"),
    ("----+v-+>>", "prescriptions/prescription/<path:object_id>/change/"),
    (">>>>>>>>>>", "prescriptions/prescription/<path:object_id>/"),
    ("----++-+>>", "prescriptions/prescription/export/"),
    ("----++-+>>", "prescriptions/prescription/import/"),
    ("----pp-p>>", "prescriptions/prescription/process_import/"),
    ("-+-----+>>", "billing/bill/"),
    ("-+-----+>>", "billing/bill/add/"),
    (">+>>>>>+>>", "billing/bill/<path:object_id>/history/"),
    ("-------+>>", "billing/bill/<path:object_id>/delete/"),
    ("-+-----+>>", "billing/bill/<path:object_id>/change/"),
    ("-+-----+>>", "billing/bill/<path:object_id>/pay/"),
    ("-+-----+>>", "billing/bill/<path:object_id>/void/"),
    (">>>>>>>>>>", "billing/bill/<path:object_id>/"),
    ("-+-----+>>", "billing/bill/export/"),
    ("-+-----+>>", "billing/bill/import/"),
    ("-p-----p>>", "billing/bill/process_import/"),
    ("-+-+---+>>", "billing/fee/"),
    ("-+-----+>>", "billing/fee/add/"),
    ("-+-+---+>>", "billing/fee/<path:object_id>/history/"),
    ("-+-----+>>", "billing/fee/<path:object_id>/delete/"),
    ("-+-v---+>>", "billing/fee/<path:object_id>/change/"),
    (">>>>>>>>>>", "billing/fee/<path:object_id>/"),
    ("-------+>>", "accounts/user/autocomplete/"),
    ("-------+>>", "accounts/user/<id>/password/"),
    ("-------+>>", "accounts/user/"),
    ("-------+>>", "accounts/user/add/"),
    ("-------+>>", "accounts/user/<path:object_id>/history/"),
    ("-------->>", "accounts/user/<path:object_id>/delete/"),
    ("-------+>>", "accounts/user/<path:object_id>/change/"),
    (">>>>>>>>>>", "accounts/user/<path:object_id>/"),
    ("-------+>>", "auth/group/"),
    ("-------+>>", "auth/group/add/"),
    ("-------+>>", "auth/group/<path:object_id>/history/"),
    ("-------+>>", "auth/group/<path:object_id>/delete/"),
    ("-------+>>", "auth/group/<path:object_id>/change/"),
    (">>>>>>>>>>", "auth/group/<path:object_id>/"),
    ("--+----+>>", "healthcare/auditentry/export"),
    ("--+----+>>", "healthcare/auditentry/"),
    ("-------->>", "healthcare/auditentry/add/"),
    (">>+>>>>+>>", "healthcare/auditentry/<path:object_id>/history/"),
    ("-------->>", "healthcare/auditentry/<path:object_id>/delete/"),
    ("--v----v>>", "healthcare/auditentry/<path:object_id>/change/"),
    (">>>>>>>>>>", "healthcare/auditentry/<path:object_id>/"),
    ("--+----+>>", "healthcare/event/"),
    ("-------->>", "healthcare/event/add/"),
    ("--+----+>>", "healthcare/event/<path:object_id>/history/"),
    ("-------->>", "healthcare/event/<path:object_id>/delete/"),
    ("--v----+>>", "healthcare/event/<path:object_id>/change/"),
    (">>>>>>>>>>", "healthcare/event/<path:object_id>/"),
]


#: The regular expressions in the resolver: their beginnings → their names here.
PATTERNS = {"^(?P<app_label>": "<app_label>/", "(?P<url>": "<anything else>"}


def routes() -> set[str]:
    """Return every route of the admin."""
    site: Any = next(each for each in get_resolver().url_patterns if str(each.pattern) == "admin/")
    found: set[str] = set()

    def collect(patterns: list[Any], prefix: str) -> None:
        for each in patterns:
            route = prefix + str(each.pattern)
            if isinstance(each, URLResolver):
                collect(each.url_patterns, route)
            else:
                found.add(next((name for begins, name in PATTERNS.items() if route.startswith(begins)), route))

    collect(site.url_patterns, "")
    return found


@pytest.fixture
def paths(people: People) -> dict[str, str]:
    """Return the path of each route, with the key of a row in the routes that take one."""
    keys = {
        "patients/patient/": people.patient_record.pk,
        "doctors/doctor/": people.doctor_record.pk,
        "appointments/appointment/week/": people.doctor_record.pk,
        "appointments/appointment/": make_appointment(people, appointment_id="A1").pk,
        "prescriptions/prescription/": make_prescription(people).pk,
        "billing/bill/": make_bill(people, appointment_id=None).pk,
        "billing/fee/": Fee.objects.get(specialty_key="").pk,
        "accounts/user/": people.staff.pk,
        "auth/group/": Group.objects.get(name="Managers").pk,
        "healthcare/event/": Event.objects.order_by("-id").values_list("pk", flat=True)[0],
        "healthcare/auditentry/": AuditEntry.objects.order_by("-id").values_list("pk", flat=True)[0],
    }
    special = {
        "<app_label>/": "patients/",
        "<anything else>": "nothing-like-it",
        "r/<path:content_type_id>/<path:object_id>/": "r/1/1/",
        "appointments/appointment/slots/": "appointments/appointment/slots/?doctor_id=D1",
    }
    found = {}
    for _, route in PAGES:
        key = next((str(key) for place, key in keys.items() if route.startswith(place)), "")
        found[route] = "/admin/" + special.get(route, re.sub(r"<[^>]+>", key, route))
    return found


def browser_of(people: People, who: str) -> Client:
    browser = Client(raise_request_exception=False)
    if who == "anonymous":
        return browser
    if hasattr(people, who):
        browser.force_login(getattr(people, who))
        return browser
    account = make_account("staff", "somebody@example.org")
    if who != "nobody":
        account.groups.add(Group.objects.get(name=who))
    browser.force_login(account)
    return browser


@pytest.fixture
def groups(db: None) -> None:
    Group.objects.all().delete()
    import_module("accounts.migrations.0002_staff_groups").create(apps, None)


def test_every_page_has_a_row() -> None:
    assert {route for _, route in PAGES} == routes()
    assert {len(answers) for answers, _ in PAGES} == {len(WHO)}


@pytest.mark.parametrize("who", WHO)
def test_pages_answer_as_the_table_says(groups: None, people: People, paths: dict[str, str], who: str) -> None:
    """Neither a GET of any page nor a POST to a page without a form changes stored data."""
    browser = browser_of(people, who)
    expected = {route: answers[WHO.index(who)] for answers, route in PAGES}
    before = everything()
    answered = {route: browser.get(path).status_code for route, path in paths.items()}
    assert answered == {route: ANSWERS[each] for route, each in expected.items()}
    form = {"post": "yes", "name": "Mallory", "status": "cancelled", "drug": "x", "total_cost": "0"}
    for route, each in expected.items():
        if each not in "+p" and route != "login/":
            status = browser.post(paths[route], form).status_code
            assert status == 403 if each == "v" else status in (302, 403, 404, 405), (route, status)
    # Requests update their session, and a report that is older than a minute is computed again.
    assert changed(before, everything()) <= {"postgresql django_session", "mongodb report_results"}

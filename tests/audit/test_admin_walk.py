"""The audit entries of every page of the admin for every kind of user: exactly the expected ones."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import Role, User
from appointments.services import change_appointment as cancel_appointment
from billing.models import Fee
from healthcare.audit_log.models import AuditEntry
from healthcare.outbox.models import Event
from reports.queries import NAMES as REPORTS
from tests.audit.entries import Recorded, recording
from tests.people import PASSWORD, People, make_account
from tests.records import make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db


@pytest.fixture
def records(people: People) -> dict[str, Any]:
    """A row of each registered model, by the prefix of its URL names. Rows about a patient are about P1."""
    return {
        "patients_patient": people.patient_record,
        "doctors_doctor": people.doctor_record,
        "appointments_appointment": make_appointment(people, appointment_id="A1"),
        "prescriptions_prescription": make_prescription(people),
        "billing_bill": make_bill(people),
        "billing_fee": Fee.objects.get(specialty_key=""),
        "accounts_user": people.staff,
        "auth_group": Group.objects.create(name="nobody's"),
        "healthcare_event": Event.objects.order_by("-id").first(),
        "healthcare_auditentry": AuditEntry.objects.order_by("-id").first(),
    }


#: Prefix of URL names → resource, and the patients of the list and of one row. None: the rows are not about people.
PAGES: dict[str, tuple[str, list[str] | None, list[str] | None]] = {
    "patients_patient": ("patient", ["P1", "P2"], ["P1"]),
    "doctors_doctor": ("doctor", None, None),
    "appointments_appointment": ("appointment", ["P1"], ["P1"]),
    "prescriptions_prescription": ("prescription", ["P1"], ["P1"]),
    "billing_bill": ("bill", ["P1"], ["P1"]),
    "billing_fee": ("fee", None, None),
    "accounts_user": ("account", [], []),
    "auth_group": ("group", None, None),
    "healthcare_event": ("event", ["P1", "P2"], ["P1"]),
    "healthcare_auditentry": ("audit", [], []),
}
#: Further entries of the page of one row: the timeline of a patient reads bills.
FURTHER_ENTRIES = {"patients_patient": [("bill.listed", "success", ["P1"])]}
ADD_ACTIONS = {"appointments_appointment": "booked", "prescriptions_prescription": "issued"}
CANNOT_ADD = {"healthcare_event", "healthcare_auditentry"}
CANNOT_DELETE = {"healthcare_event", "healthcare_auditentry", "accounts_user"}


def test_every_model_is_covered() -> None:
    registered = {f"{m._meta.app_label}_{m._meta.model_name}" for m in admin.site._registry}
    assert registered == set(PAGES)


def browser_of(account: User | None) -> Client:
    browser = Client()
    if account is not None:
        browser.force_login(account)
    return browser


def walk(browser: Client, name: str, row: Any) -> dict[str, tuple[int, list[tuple[str, str, list[str]]]]]:
    """Return the status of each page and its audit entries."""
    args = [row.pk]
    found = {}
    for page, url in {
        "changelist": reverse(f"admin:{name}_changelist") + ("?day=all" if name.startswith("appointments_") else ""),
        "search": reverse(f"admin:{name}_changelist") + "?q=P1",
        "add": reverse(f"admin:{name}_add"),
        "change": reverse(f"admin:{name}_change", args=args),
        "history": reverse(f"admin:{name}_history", args=args),
        "delete": reverse(f"admin:{name}_delete", args=args),
    }.items():
        with recording() as made:
            status = browser.get(url).status_code
        found[page] = (status, [(e.action, e.outcome, sorted(set(e.patient_ids))) for e in made.entries])
        for entry in made.entries:
            assert (entry.channel, entry.address) == ("admin", "127.0.0.1")
    return found


@pytest.mark.parametrize("name", PAGES)
def test_admins_pages(people: People, records: dict[str, Any], name: str) -> None:
    resource, listed, viewed = PAGES[name]
    found = walk(browser_of(people.admin), name, records[name])
    views = [] if viewed is None else [(f"{resource}.viewed", "success", viewed)]
    assert found["changelist"] == (200, [] if listed is None else [(f"{resource}.listed", "success", listed)])
    searched_status, searched = found["search"]
    assert searched_status == 200
    assert [said[:2] for said in searched] == ([] if listed is None else [(f"{resource}.listed", "success")])
    add: tuple[int, list[Any]] = (403, [(f"{resource}.created", "refused", [])]) if name in CANNOT_ADD else (200, [])
    assert found["add"] == add
    assert found["change"] == (200, views + FURTHER_ENTRIES.get(name, []))
    assert found["history"] == (200, views)
    if name in CANNOT_DELETE:
        (status, ((action, outcome, _),)) = found["delete"]
        assert (status, action, outcome) == (403, f"{resource}.viewed", "refused")
    else:
        assert found["delete"] == (200, views)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("who", ["anonymous", "patient", "staff"])
def test_refused_requests_are_recorded(people: People, records: dict[str, Any], name: str, who: str) -> None:
    """Patients are redirected to the log-in, and staff without a permission get status 403."""
    account = None if who == "anonymous" else getattr(people, who)
    resource, status = PAGES[name][0], 302 if who in ("anonymous", "patient") else 403
    for page, (answered, said) in walk(browser_of(account), name, records[name]).items():
        action_name = {"changelist": "listed", "search": "listed", "add": ADD_ACTIONS.get(name, "created")}.get(
            page, "viewed"
        )
        # The history reads the row first, and redirects if the user may not see it.
        assert answered in ((status, 302) if page == "history" else (status,)), page
        assert [(action, outcome) for action, outcome, _ in said] == [(f"{resource}.{action_name}", "refused")], page


@pytest.mark.parametrize("name", ["patients_patient", "appointments_appointment", "prescriptions_prescription"])
def test_doctor(people: People, records: dict[str, Any], name: str) -> None:
    resource, listed, viewed = PAGES[name]
    found = walk(browser_of(people.doctor), name, records[name])
    assert found["changelist"] == (200, [(f"{resource}.listed", "success", listed)])
    assert found["change"] == (200, [(f"{resource}.viewed", "success", viewed)])


@pytest.mark.parametrize("name", ["patients_patient", "appointments_appointment", "billing_bill"])
def test_staff_with_a_permission(people: People, records: dict[str, Any], name: str) -> None:
    app, _, model = name.partition("_")
    people.staff.user_permissions.add(Permission.objects.get(codename=f"view_{model}", content_type__app_label=app))
    resource, listed, viewed = PAGES[name]
    found = walk(browser_of(people.staff), name, records[name])
    assert found["changelist"] == (200, [(f"{resource}.listed", "success", listed)])
    assert found["change"] == (200, [(f"{resource}.viewed", "success", viewed)])
    assert found["add"][0] == 403
    assert found["delete"] == (403, [(f"{resource}.viewed", "refused", viewed)])


# --- Pages that are no list and no form of a model --------------------------------------------------------------------

Pages = list[tuple[str, list[str]]]
#: The entries of a page that shows no person, and of a report.
NO_ENTRIES: Pages = []
A_REPORT: Pages = [("report.viewed", [])]
#: Models with import and export.
IMPORTED_MODELS = (
    "patients_patient", "doctors_doctor", "appointments_appointment", "prescriptions_prescription", "billing_bill",
)  # fmt: skip
REPORT_VIEWED: Pages = [("report.viewed", [])]
#: URL name → path arguments, query, entries of admins, entries of doctors (None if they are refused), and the action
#: of a refused request.
OTHER_PAGES: dict[str, tuple[list[Any], str, Pages, Pages | None, str]] = {
    "index": (
        [], "", [("appointment.counted", []), ("bill.counted", [])], [("appointment.counted", [])], "admin.viewed",
    ),
    "patients_patient_autocomplete": ([], "?q=Ali", *2 * ([("patient.listed", ["P1"])],), "patient.listed"),
    "doctors_doctor_autocomplete": ([], "?q=Amara", [], [], "doctor.listed"),
    "appointments_appointment_slots": ([], "?doctor_id=D1", [], [], "appointment.viewed"),
    "appointments_appointment_week": (
        ["D1"], "?week={day}",
        *2 * ([("patient.listed", ["P1"]), ("appointment.listed", ["P1"])],),
        "appointment.listed",
    ),
    **{
        f"appointments_appointment_{action}": (
            ["A1"], "", *2 * ([("appointment.viewed", ["P1"])],), "appointment.viewed",
        ) for action in ("complete", "cancel")
    },
    "appointments_appointment_move": (
        ["A1"], "", *2 * ([("appointment.viewed", ["P1"]), ("patient.viewed", ["P1"])],), "appointment.viewed",
    ),
    **{
        f"report_{name.replace('-', '_')}": ([], query, REPORT_VIEWED, REPORT_VIEWED, "report.viewed")
        for name, query in zip(REPORTS, ("", "?format=csv", "?format=svg", "?format=png"), strict=True)
    },
    "healthcare_auditentry_export": ([], "", [("audit.exported", [])], None, "audit.exported"),
    "accounts_user_autocomplete": ([], "?q=doctor@", [("account.listed", [])], None, "account.listed"),
    "billing_bill_pay": (["bill"], "", [("bill.viewed", ["P1"])], None, "bill.paid"),
    "billing_bill_void": (["bill"], "", [("bill.viewed", ["P1"])], None, "bill.voided"),
    # Forms that show no patient. Their writes are tested in tests/test_import_export.py.
    **{
        f"{name}_{page}": (
            [], "", NO_ENTRIES, NO_ENTRIES if name in open_to_doctors else None, f"{PAGES[name][0]}.{page}ed",
        )
        for page, open_to_doctors in {
            "export": ("patients_patient", "doctors_doctor", "appointments_appointment", "prescriptions_prescription"),
            "import": ("appointments_appointment", "prescriptions_prescription"),
        }.items()
        for name in IMPORTED_MODELS
    },
    "auth_user_password_change": (["other"], "", [("account.viewed", [])], None, "account.viewed"),
}  # fmt: skip
#: Pages that accept POST only.
POST_ONLY = {f"{name}_process_import" for name in IMPORTED_MODELS}
#: Pages without data about people. The theme's search, Django's autocomplete and the redirect to a site are disabled.
WITHOUT_DATA = {
    "second_factor", "password_change", "password_change_done", "jsi18n", "app_list", "search", "autocomplete",
    "view_on_site",
}  # fmt: skip


def test_every_other_page_is_covered() -> None:
    of_models = {f"{name}_{page}" for name in PAGES for page in ("changelist", "add", "history", "delete", "change")}
    # `test_sessions` covers the log-in and the log-out.
    known = of_models | set(OTHER_PAGES) | POST_ONLY | WITHOUT_DATA | {"login", "logout"}
    patterns = [*admin.site.get_urls(), *(url for each in admin.site._registry.values() for url in each.get_urls())]
    assert {name for pattern in patterns if (name := getattr(pattern, "name", None))} == known


@pytest.mark.parametrize("who", ["anonymous", "patient", "staff", "doctor", "admin"])
def test_other_pages(people: People, who: str) -> None:
    visit, bill = make_appointment(people, appointment_id="A1"), make_bill(people)
    account = None if who == "anonymous" else getattr(people, who)
    browser = browser_of(account)
    for name, (args, query, by_admin, by_doctor, action) in OTHER_PAGES.items():
        args = [{"other": people.other_doctor.pk, "bill": bill.pk}.get(each, each) for each in args]
        with recording() as made:
            answer = browser.get(reverse(f"admin:{name}", args=args) + query.format(day=visit.date))
        expected = {"admin": by_admin, "doctor": by_doctor}.get(who)
        if expected is None and (who, name) != ("staff", "index"):
            assert answer.status_code == (302 if who in ("anonymous", "patient") else 403), name
            assert [(entry.action, entry.outcome) for entry in made.entries] == [(action, "refused")], name
        else:
            assert answer.status_code == 200, name
            successes = [(name_of_action, "success", patients) for name_of_action, patients in expected or []]
            assert said(made) == successes, name
        assert {entry.actor_id for entry in made.entries} <= {account and account.pk}


# --- Writes ---------------------------------------------------------------------------------------------------------


def post(browser: Client, page: str, args: list[Any], values: dict[str, Any]) -> tuple[int, Recorded]:
    with recording() as made:
        status = browser.post(reverse(f"admin:{page}", args=args), values).status_code
    return status, made


def said(made: Recorded) -> list[tuple[str, str, list[str]]]:
    return [(entry.action, entry.outcome, entry.patient_ids) for entry in made.entries]


Said = list[tuple[str, str, list[str]]]
#: Case → URL name, path arguments, form, entries.
WRITES: dict[str, Callable[[dict[str, Any]], tuple[str, list[Any], dict[str, Any], Said]]] = {
    "add a patient": lambda r: (
        "patients_patient_add", [], {"patient_id": "P9", "name": "Lin Tao"}, [("patient.created", "success", ["P9"])],
    ),
    "add a patient who is there": lambda r: (
        "patients_patient_add", [], {"patient_id": "P1", "name": "Lin Tao"}, [("patient.created", "refused", ["P1"])],
    ),
    "change a patient": lambda r: (
        "patients_patient_change", ["P1"], {"name": "Lin Tao"}, [("patient.amended", "success", ["P1"])],
    ),
    "delete a patient who is named": lambda r: (
        "patients_patient_delete", ["P1"], {"post": "yes"}, [("patient.deleted", "refused", ["P1"])],
    ),
    "delete an appointment": lambda r: (
        "appointments_appointment_delete", ["A1"], {"post": "yes"}, [("appointment.deleted", "success", ["P1"])],
    ),
    "pay a bill": lambda r: (
        "billing_bill_change", [r["billing_bill"].pk],
        {"total_cost": "80.00", "disease": "Asthma", "status": "paid"}, [("bill.amended", "success", ["P1"])],
    ),
    "change a fee": lambda r: (
        "billing_fee_change", [r["billing_fee"].pk], {"specialty": "", "amount": "61.00"},
        [("fee.amended", "success", [])],
    ),
    "disable an account": lambda r: (
        "accounts_user_change", [r["accounts_user"].pk], {"name": "x", "role": "staff"},
        [("account.amended", "success", [])],
    ),
    "give an account a group": lambda r: (
        "accounts_user_change", [r["accounts_user"].pk],
        {"name": r["accounts_user"].name, "role": "staff", "is_active": "on", "groups": [r["auth_group"].pk]},
        [("account.amended", "success", [])],
    ),
    "make an account": lambda r: (
        "accounts_user_add", [],
        {"email": "n@example.org", "name": "N", "role": "staff", "password1": PASSWORD, "password2": PASSWORD},
        [("account.created", "success", [])],
    ),
    "set a password": lambda r: (
        "auth_user_password_change", [r["accounts_user"].pk],
        {"password1": "a new uncommon phrase", "password2": "a new uncommon phrase"},
        [("account.password_changed", "success", [])],
    ),
    "rename a group": lambda r: (
        "auth_group_change", [r["auth_group"].pk], {"name": "another"}, [("group.amended", "success", [])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRITES)
def test_write_has_exactly_its_entries(people: People, records: dict[str, Any], what: str) -> None:
    page, args, values, expected = WRITES[what](records)
    status, made = post(browser_of(people.admin), page, args, values)
    assert status in (200, 302)
    assert said(made) == expected
    assert {(entry.role, entry.actor_id) for entry in made.entries} == {("admin", people.admin.pk)}


def test_form_with_an_error_shows_the_record(people: People, records: dict[str, Any]) -> None:
    status, made = post(browser_of(people.admin), "patients_patient_change", ["P1"], {"name": ""})
    assert (status, said(made)) == (200, [("patient.viewed", "success", ["P1"]), *FURTHER_ENTRIES["patients_patient"]])


def test_missing_row(people: People) -> None:
    browser = browser_of(people.admin)
    with recording() as made:
        assert browser.get(reverse("admin:patients_patient_change", args=["P77"])).status_code == 302
    assert said(made) == [("patient.viewed", "refused", [])]
    assert (made.entries[0].subject, made.entries[0].reason) == ("P77", "not_found")


@pytest.mark.parametrize("query", ["p=9999", "o=x", "p=abc", "nonsense=1", "status__exact=odd", "e=1"])
@pytest.mark.parametrize("page", ["patients_patient", "appointments_appointment", "healthcare_auditentry"])
def test_unknown_filter_is_no_server_error(people: People, page: str, query: str) -> None:
    assert browser_of(people.admin).get(f"{reverse(f'admin:{page}_changelist')}?{query}").status_code in (200, 302, 400)


def test_sessions(people: People) -> None:
    browser = Client()
    login = reverse("admin:login")
    with recording() as made:
        browser.post(login, {"username": "admin@example.org", "password": "wrong"})
        browser.post(login, {"username": "admin@example.org", "password": PASSWORD})
        browser.post(reverse("admin:logout"))
    who = str(people.admin.pk)
    assert [(e.action, e.outcome, e.reason, e.subject, e.channel) for e in made.entries] == [
        ("account.logged_in", "refused", "wrong_credentials", who, "admin"),
        ("account.logged_in", "success", None, who, "admin"),
        ("account.logged_out", "success", None, who, "admin"),
    ]


def test_errors_of_forms_are_recorded(people: People, settings: Settings) -> None:
    """There is one entry for each error, with the reason and the actor, as for the API."""
    browser = browser_of(people.admin)
    person = {"name": "N", "role": "staff", "password1": PASSWORD, "password2": PASSWORD}
    words = {"new_password1": "a new uncommon phrase", "new_password2": "a new uncommon phrase"}
    with recording() as made:
        browser.post(reverse("admin:password_change"), {"old_password": "wrong", **words})
        # The first code is sent before the page was loaded, the second one is wrong.
        assert browser.post(reverse("admin:second_factor"), {"code": "123456"}).status_code == 200
        browser.get(reverse("admin:second_factor"))
        browser.post(reverse("admin:second_factor"), {"code": "1"})
        browser.post(reverse("admin:accounts_user_add"), {"email": "staff@example.org", **person})
        settings.PASSWORD_RATE = "1/h"
        for _ in range(2):
            browser.post(reverse("admin:password_change"), {"old_password": "wrong", **words})
    reasons = [(entry.action, entry.outcome, entry.reason) for entry in made.entries]
    assert reasons == [
        ("account.password_changed", "refused", "wrong_password"),
        ("account.second_factor_added", "refused", "invalid"),
        ("account.second_factor_added", "refused", "wrong_code"),
        ("account.created", "refused", "duplicate"),
        ("account.password_changed", "refused", "wrong_password"),
        ("account.password_changed", "refused", "throttled"),
    ]
    assert {entry.actor_id for entry in made.entries} == {people.admin.pk}


def test_form_without_csrf_token_is_recorded(people: People) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(people.admin)
    with recording() as made:
        assert browser.post(reverse("admin:patients_patient_delete", args=["P1"]), {"post": "yes"}).status_code == 403
        assert browser.post(reverse("rest_framework:login"), {"username": "x"}).status_code == 403
    assert [(e.action, e.reason, e.subject, e.actor_id) for e in made.entries] == [
        ("patient.deleted", "csrf_failed", "P1", people.admin.pk),
        ("account.logged_in", "csrf_failed", None, people.admin.pk),
    ]


def test_errors_of_an_action_on_several_rows_are_recorded(people: People) -> None:
    browser = browser_of(people.doctor)
    for number, time in enumerate(("09:00", "10:00", "11:00"), start=1):
        make_appointment(people, appointment_id=f"A{number}", time=time)
    cancel_appointment(actor=people.admin, appointment_id="A2", status="cancelled")
    chosen = {"action": "complete_visits", "_selected_action": ["A1", "A2", "A3"], "confirmed": "1"}
    with recording() as made:
        browser.post(reverse("admin:appointments_appointment_changelist") + "?day=all", chosen)
    of_visits = {(e.subject, e.action, e.outcome, e.reason) for e in made.entries if e.action != "bill.created"}
    assert of_visits == {
        ("A1", "appointment.completed", "success", None),
        ("A2", "appointment.amended", "refused", "final"),
        ("A3", "appointment.completed", "success", None),
    }
    assert len(made.entries) == 5
    assert {tuple(entry.patient_ids) for entry in made.entries} == {("P1",)}


@pytest.mark.parametrize(("page", "rate"), [("admin:login", "1/h"), ("rest_framework:login", "1/d")])
def test_refused_logins_are_recorded(people: People, settings: Settings, page: str, rate: str) -> None:
    """Patients are refused in spite of the right password, and attempts are limited."""
    who = {"username": "patient@example.org", "password": PASSWORD}
    with recording() as made:
        Client().post(reverse(page), who)
        settings.LOGIN_RATE = rate
        for password in ("wrong", "wrong"):
            Client().post(reverse(page), {"username": "doctor@example.org", "password": password})
    account, doctor = str(people.patient.pk), str(people.doctor.pk)
    first = ("refused", "not_admitted", account) if page == "admin:login" else ("success", None, account)
    assert [(e.outcome, e.reason, e.subject) for e in made.entries] == [
        first,
        ("refused", "wrong_credentials", doctor),
        ("refused", "throttled", None),
    ]


# --- The page of the audit log --------------------------------------------------------------------------------------


@pytest.fixture
def auditor(people: People) -> Client:
    account = make_account(Role.STAFF, "auditor@example.org")
    account.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    return browser_of(account)


def rows(response: Any) -> list[tuple[str, str]]:
    return [(entry.action, entry.outcome) for entry in response.context["cl"].result_list]


def test_auditor_searches_the_audit_log(people: People, auditor: Client) -> None:
    people.client("doctor").get("/api/patients/P1")
    people.client("other_patient").get("/api/patients/P1")
    people.client("doctor").get("/api/patients/P2")
    page = reverse("admin:healthcare_auditentry_changelist")
    number = people.doctor.pk
    day = AuditEntry.objects.latest("id").at.date().isoformat()
    for words, expected in {
        f"P1 account:{number}": [("patient.viewed", "success")],
        f"patient:P2 account:{number} action:patient.viewed": [("patient.viewed", "success")],
        f"account:{number} day:{day}": [("patient.viewed", "success")] * 2,
        f"account:{number} day:1999-01-01": [],
        "P1 P2": [],
        "account:everybody": [],
        "day:yesterday": [],
        f"day:9999-12-31 account:{number}": [],
    }.items():
        response = auditor.get(page, {"q": words})
        assert (response.status_code, rows(response)) == (200, expected), words
    # An entry about several patients is one row with all their ids.
    people.client("doctor").get("/api/patients")
    listed = auditor.get(page, {"q": f"account:{number} action:patient.listed"})
    assert rows(listed) == [("patient.listed", "success")]
    assert "P1, P2" in listed.content.decode()
    refused = auditor.get(page, {"outcome": "refused", "q": f"account:{people.other_patient.pk}"})
    assert rows(refused) == [("patient.viewed", "refused")]


def test_export_is_a_file_and_is_recorded(people: People, auditor: Client) -> None:
    people.client("doctor").get("/api/patients/P1")
    with recording() as made:
        response = auditor.get(reverse("admin:healthcare_auditentry_export"), {"q": "P1"})
        assert [(entry.action, entry.patient_ids) for entry in AuditEntry.objects.order_by("-id")[:1]] == [
            ("audit.exported", ["P1"])
        ]
        lines = response.getvalue().decode().splitlines()
    assert response["Content-Disposition"].startswith('attachment; filename="audit-log-2')
    assert lines[0].split(",")[:6] == ["id", "at", "actor_id", "role", "action", "outcome"]
    assert ",patient.viewed,success,," in lines[2]
    assert [entry.action for entry in made.entries] == ["audit.exported"]


def test_export_needs_the_permission(people: People) -> None:
    browser = browser_of(people.staff)
    with recording() as made:
        assert browser.get(reverse("admin:healthcare_auditentry_export")).status_code == 403
    assert said(made) == [("audit.exported", "refused", [])]


def test_audit_entries_cannot_be_changed(people: People) -> None:
    browser = browser_of(people.admin)
    entry = AuditEntry.objects.order_by("-id").first()
    assert entry
    page = browser.get(reverse("admin:healthcare_auditentry_change", args=[entry.pk]))
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    url = reverse("admin:healthcare_auditentry_change", args=[entry.pk])
    assert browser.post(url, {"role": "admin"}).status_code == 403
    assert (
        browser.post(reverse("admin:healthcare_auditentry_delete", args=[entry.pk]), {"post": "yes"}).status_code == 403
    )
    assert AuditEntry.objects.filter(pk=entry.pk, role=entry.role).exists()

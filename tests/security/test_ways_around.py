"""Attempts to bypass a check: through the admin, through an old session, with a value that grows when it is stored."""

import re
import time
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import second_factor, tokens
from accounts.models import User
from accounts.serializers import AccountIn
from accounts.sessions import LAST_USED_KEY, LOGGED_IN_KEY
from appointments.models import Appointment
from appointments.serializers import AppointmentIn
from billing.models import Bill
from billing.serializers import BillIn
from doctors.models import Doctor
from doctors.serializers import DoctorIn
from patients.models import Patient
from patients.serializers import PatientIn, RegistrationIn
from prescriptions.models import Prescription
from prescriptions.serializers import PrescriptionIn
from tests.accounts.test_second_factor import code_of
from tests.audit.entries import recording
from tests.people import PASSWORD, People, client_of, make_account
from tests.records import days_from_now, make_appointment
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

NEW = "another uncommon phrase"


def browser_of(account: User) -> Client:
    browser = Client(raise_request_exception=False)
    browser.force_login(account)
    return browser


def clerk(*permissions: str) -> User:
    account = make_account("staff", "clerk@example.org")
    account.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return account


# --- Requests that the API refuses, sent to the admin ----------------------------------------------------------------


@pytest.mark.parametrize("link", ["other", ""])
def test_doctor_does_not_tie_their_record_to_another_account(people: People, link: str) -> None:
    browser = browser_of(people.doctor)
    page = reverse("admin:doctors_doctor_change", args=["D1"])
    assert b'name="name"' in browser.get(page).content
    assert b'name="user_id"' not in browser.get(page).content
    stranger = make_account("doctor", "stranger@example.org").pk if link else ""
    form = {"name": "Amara Okafor-Weiss", "specialty": "Cardiology", "time_zone": "UTC", "user_id": stranger}
    assert browser.post(page, form).status_code == 302
    doctor = Doctor.objects.get(pk="D1")
    assert (doctor.name, doctor.user_id) == ("Amara Okafor-Weiss", people.doctor.pk)


def test_admin_ties_a_doctors_record_to_an_account(people: People) -> None:
    stranger = make_account("doctor", "stranger@example.org").pk
    form = {"name": "Amara Okafor", "specialty": "Cardiology", "time_zone": "UTC", "user_id": stranger}
    assert browser_of(people.admin).post(reverse("admin:doctors_doctor_change", args=["D1"]), form).status_code == 302
    assert Doctor.objects.get(pk="D1").user_id == stranger


# --- Permissions that would give all other permissions ---------------------------------------------------------------


def test_accounts_and_groups_are_written_by_admins_alone(people: People) -> None:
    """An account that sets passwords can become anybody, and one that writes groups can give itself everything."""
    group = Group.objects.create(name="clerks")
    account = clerk(
        *(f"{action}_{model}" for action, model in product(("view", "add", "change", "delete"), ("user", "group")))
    )
    account.groups.add(group)
    browser = browser_of(account)
    everything_there_is = [permission.pk for permission in Permission.objects.all()]
    power = {"name": "x", "role": "admin", "is_active": "on", "user_permissions": everything_there_is}
    passwords = {"password1": NEW, "password2": NEW, "set-password": "1"}
    attempts = {
        reverse("admin:accounts_user_change", args=[account.pk]): power,
        reverse("admin:accounts_user_change", args=[people.other_doctor.pk]): power,
        reverse("admin:auth_user_password_change", args=[people.admin.pk]): passwords,
        reverse("admin:accounts_user_add"): {"email": "new@example.org", "name": "x", "role": "admin", **passwords},
        reverse("admin:auth_group_change", args=[group.pk]): {"name": "x", "permissions": everything_there_is},
        reverse("admin:auth_group_add"): {"name": "new", "permissions": everything_there_is},
        reverse("admin:auth_group_delete", args=[group.pk]): {"post": "yes"},
    }
    before = everything()
    assert {browser.post(path, form).status_code for path, form in attempts.items()} == {403}
    browser.post(
        reverse("admin:accounts_user_changelist"),
        {"action": "remove_second_factor", "_selected_action": str(people.admin.pk)},
    )
    assert changed(before, everything()) == set()
    assert browser.get(reverse("admin:accounts_user_changelist")).status_code == 200, "they may look"


def test_own_credentials_change_with_themselves_only(people: People) -> None:
    """Somebody at an admin's unlocked screen knows neither the password nor a code."""
    secret = second_factor.new_secret()
    second_factor.set_up(actor=people.admin, secret=secret, code=code_of(secret))
    browser = browser_of(people.admin)
    page = reverse("admin:auth_user_password_change", args=[people.admin.pk])
    for answer in (browser.get(page), browser.post(page, {"password1": NEW, "password2": NEW, "set-password": "1"})):
        assert answer["Location"] == reverse("admin:password_change")
    chosen = {"action": "remove_second_factor", "_selected_action": str(people.admin.pk)}
    browser.post(reverse("admin:accounts_user_changelist"), chosen)
    people.admin.refresh_from_db()
    assert people.admin.check_password(PASSWORD)
    assert second_factor.is_set_up(people.admin)


def test_password_that_an_admin_takes_away_ends_every_token(people: People) -> None:
    pair = tokens.start_family(people.doctor)
    page = reverse("admin:auth_user_password_change", args=[people.doctor.pk])
    assert browser_of(people.admin).post(page, {"usable_password": "false", "unset-password": "1"}).status_code == 302
    people.doctor.refresh_from_db()
    assert not people.doctor.has_usable_password()
    client = APIClient()
    refresh = {"refresh_token": pair["refresh_token"]}
    assert client.post("/api/auth/refresh", refresh, format="json").status_code == 401
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}")
    assert client.get("/api/auth/me").status_code == 401


# --- Sessions --------------------------------------------------------------------------------------------------------


def logged_in(people: People) -> Client:
    browser = Client()
    browser.post("/admin/login/", {"username": people.admin.email, "password": PASSWORD})
    return browser


def test_session_is_a_new_one_after_the_log_in(people: People) -> None:
    browser = Client()
    session = browser.session
    session["planted"] = "before"
    session.save()
    before = session.session_key
    browser.post("/admin/login/", {"username": people.admin.email, "password": PASSWORD})
    assert browser.session.session_key != before
    assert not Session.objects.filter(session_key=before).exists()


def test_token_beside_the_cookie_keeps_no_session_alive(people: People) -> None:
    browser = logged_in(people)
    session = browser.session
    session[LAST_USED_KEY] = time.time() - 99_999
    session.save()
    assert browser.get("/admin/", HTTP_AUTHORIZATION="Bearer x").status_code == 302
    assert "_auth_user_id" not in browser.session


def test_session_ends_after_its_time_however_busy_it_is(people: People, settings: Settings) -> None:
    """Django counts a session's age from its last write, which happens every minute here."""
    settings.SESSION_COOKIE_AGE = 12 * 3600
    browser = logged_in(people)

    def begun(seconds_ago: int) -> int:
        session = browser.session
        session[LOGGED_IN_KEY], session[LAST_USED_KEY] = time.time() - seconds_ago, time.time() - 120
        session.save()
        return browser.get("/admin/").status_code

    assert begun(12 * 3600 - 60) == 200
    assert begun(12 * 3600 + 60) == 302
    assert "_auth_user_id" not in browser.session


def test_login_of_a_patient_to_the_admin_is_recorded(people: People) -> None:
    with recording() as made:
        page = Client().post("/admin/login/", {"username": people.patient.email, "password": PASSWORD})
        wrong = Client().post("/admin/login/", {"username": people.patient.email, "password": NEW})
    said = [re.findall(r'role="alert">(.*?)</p>', each.content.decode(), re.DOTALL) for each in (page, wrong)]
    assert said[0] == said[1] != []
    assert [(entry.action, entry.outcome, entry.reason, entry.subject) for entry in made.entries] == [
        ("account.logged_in", "refused", "not_admitted", str(people.patient.pk)),
        ("account.logged_in", "refused", "wrong_credentials", str(people.patient.pk)),
    ]


# --- Values that no form of the admin sends --------------------------------------------------------------------------

LISTS = {
    "billing/bill": "status__exact=%00", "accounts/user": "role__exact=%00", "healthcare/auditentry": "outcome=%00",
    "healthcare/event": "dead_lettered_at__isempty=%00", "appointments/appointment": "day=%00",
    "doctors/doctor": "accepting_patients__exact=%00", "patients/patient": "p=%00",
}  # fmt: skip
KEYS = ("abc", "\0", "9" * 40, "-1", "{}", "")
ACTIONS = {
    "accounts/user": "remove_second_factor", "healthcare/event": "retry_delivery",
    "appointments/appointment": "cancel_visits",
}  # fmt: skip


def test_admin_answers_hostile_filters_and_keys(people: People) -> None:
    browser = browser_of(people.admin)
    before = everything()
    for place, query in LISTS.items():
        answer = browser.get(f"/admin/{place}/?{query}")
        assert (answer.status_code, answer["Location"]) == (302, f"/admin/{place}/?e=1"), query
    assert browser.get("/admin/healthcare/auditentry/export?outcome=%00").status_code == 302
    for (place, action), key in product(ACTIONS.items(), KEYS):
        answer = browser.post(f"/admin/{place}/", {"action": action, "_selected_action": key})
        assert answer.status_code in (302, 400), (place, key)
    for place in ("billing/bill", "prescriptions/prescription", "accounts/user", "patients/patient"):
        for key in ("%00", "9" * 40, "abc", "..%2f"):
            assert browser.get(f"/admin/{place}/{key}/change/").status_code in (302, 404), (place, key)
    assert changed(before, everything()) <= {"postgresql django_session"}


def test_values_that_the_api_accepts_fit_their_columns() -> None:
    """A text that is longer than its column would be answered with 500."""
    compared = set()
    pairs = (
        (PatientIn, Patient), (RegistrationIn, Patient), (DoctorIn, Doctor), (AppointmentIn, Appointment),
        (PrescriptionIn, Prescription), (BillIn, Bill), (AccountIn, User),
    )  # fmt: skip
    for serializer, model in pairs:
        columns = {field.name: getattr(field, "max_length", None) for field in model._meta.get_fields()}
        for name, field in serializer().fields.items():
            # Passwords are stored as hashes.
            if columns.get(name) and getattr(field, "max_length", None) and name != "password":
                assert field.max_length <= columns[name], (serializer, name)
                compared.add((model, name))
    assert len(compared) >= 20


def test_specialty_that_grows_when_it_is_folded(people: People) -> None:
    specialty = "ß" * 100
    answer = client_of(people.admin).patch("/api/doctors/D1", {"specialty": specialty}, format="json")
    assert (answer.status_code, answer.json()["specialty"]) == (200, specialty)
    found = client_of(people.admin).get("/api/doctors", {"specialty": specialty}).json()["results"]
    assert [doctor["doctor_id"] for doctor in found] == ["D1"]


def test_answer_to_a_body_of_unknown_fields_is_short(people: People) -> None:
    body = {f"field{number}": 1 for number in range(20_000)}
    answer = client_of(people.admin).patch("/api/patients/P1", body, format="json")
    assert answer.status_code == 400
    assert len(answer.content) < 20_000
    assert {error["code"] for error in answer.json()["errors"]} == {"unknown"}


# --- Pages that show records of several apps -------------------------------------------------------------------------


def test_who_sees_visits_alone_reads_no_names(people: People) -> None:
    """The pages about visits name patients and doctors only if the account's permissions include them."""
    today = make_appointment(people, appointment_id="A1", date=days_from_now(0), time="23:00")
    browser = browser_of(clerk("view_appointment", "change_appointment", "add_appointment"))
    place = "/admin/appointments/appointment/"
    statuses = {}
    for path in (
        "/admin/", place, f"{place}A1/change/", f"{place}A1/move/", f"{place}week/D1/", f"{place}slots/?doctor_id=D1",
        "/admin/patients/patient/autocomplete/?q=Ali", "/admin/doctors/doctor/autocomplete/",
    ):  # fmt: skip
        page = browser.get(path)
        statuses[path] = page.status_code
        assert not re.search("Ali Raza|Amara Okafor", page.content.decode()), path
    asked = browser.post(place, {"action": "cancel_visits", "_selected_action": "A1"}).content.decode()
    assert today.patient_id in asked
    assert "Ali Raza" not in asked
    assert list(statuses.values()) == [200, 200, 200, 200, 404, 404, 403, 403]


def test_account_that_sees_only_patients_reads_nothing_of_other_apps(people: People) -> None:
    make_appointment(people, appointment_id="A1", disease="Hidden disease")
    page = browser_of(clerk("view_patient", "change_patient")).get("/admin/patients/patient/P1/change/")
    assert b"Ali Raza" in page.content
    assert b"Hidden disease" not in page.content
    assert b"timeline" not in page.content


def test_account_that_adds_patients_and_sees_none_learns_of_no_duplicate(people: People) -> None:
    Patient.objects.filter(pk="P1").update(birth_date="1980-01-01")
    form: dict[str, Any] = {"name": "Ali Raza", "birth_date": "1980-01-01"}
    answer = browser_of(clerk("add_patient")).post("/admin/patients/patient/add/", form)
    assert answer.status_code == 302
    assert b"P1" not in answer.content

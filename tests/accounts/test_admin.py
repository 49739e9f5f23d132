"""Accounts in the admin: created, disabled, given a new password and connected to records."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from accounts import tokens
from accounts.models import Role, User
from doctors.models import Doctor
from tests.audit.entries import recording
from tests.people import PASSWORD, People, client_of, make_account
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/user/"
NEW_PASSWORD = "another uncommon phrase"


@pytest.fixture
def browser(people: People) -> Client:
    client = Client()
    client.force_login(people.admin)
    return client


def act(browser: Client, action: str, *users: User, **more: str) -> Any:
    return browser.post(LIST, {"action": action, "_selected_action": [user.pk for user in users], **more}, follow=True)


def test_accounts_are_disabled_and_enabled_after_asking(browser: Client, people: People) -> None:
    api, clerk = people.client("doctor"), Client()
    clerk.force_login(people.staff)
    both = (people.doctor, people.staff)
    before = everything()
    assert 'name="confirmed"' in act(browser, "disable_accounts", *both).content.decode()
    assert changed(before, everything()) == set()
    with recording() as made:
        done = act(browser, "disable_accounts", *both, confirmed="yes").content.decode()
    assert "Disabled accounts: 2." in done
    said = {(entry.action, entry.subject) for entry in made.entries if entry.action == "account.amended"}
    assert said == {("account.amended", str(user.pk)) for user in both}
    assert api.get("/api/patients").status_code == 401, "tokens end at once"
    assert clerk.get("/admin/").status_code == 302, "sessions end at once"
    act(browser, "enable_accounts", *both, confirmed="yes")
    assert User.objects.filter(pk__in=[user.pk for user in both], is_active=True).count() == 2
    assert api.get("/api/patients").status_code == 401, "and do not come back"


def test_admin_cannot_disable_themself(browser: Client, people: People) -> None:
    said = act(browser, "disable_accounts", people.admin, people.staff, confirmed="yes").content.decode()
    assert "You cannot disable your own account" in said
    assert "Disabled accounts: 1." in said
    people.admin.refresh_from_db()
    assert people.admin.is_active


def test_new_password_ends_sessions_and_tokens(browser: Client, people: People) -> None:
    api, clerk = people.client("doctor"), Client()
    clerk.force_login(people.doctor)
    page = reverse("admin:auth_user_password_change", args=[people.doctor.pk])
    for wrong in ({}, {"password1": "passwordpassword", "password2": "passwordpasswor"}, {"password1": "short"}):
        assert browser.post(page, wrong).status_code == 200
    assert api.get("/api/patients").status_code == 200
    with recording() as made:
        assert browser.post(page, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}).status_code == 302
    assert [(e.action, e.actor_id, e.subject) for e in made.entries] == [
        ("account.password_changed", people.admin.pk, str(people.doctor.pk))
    ]
    people.doctor.refresh_from_db()
    assert people.doctor.check_password(NEW_PASSWORD)
    assert api.get("/api/patients").status_code == 401
    assert clerk.get("/admin/").status_code == 302
    assert browser.get("/admin/").status_code == 200, "the admin's own session goes on"


def test_removed_password_is_recorded_in_the_audit_log(browser: Client, people: People) -> None:
    page = reverse("admin:auth_user_password_change", args=[people.doctor.pk])
    with recording() as made:
        assert browser.post(page, {"usable_password": "false", "unset-password": "1"}).status_code == 302
    assert [(e.action, e.actor_id, e.subject) for e in made.entries] == [
        ("account.password_removed", people.admin.pk, str(people.doctor.pk))
    ]
    people.doctor.refresh_from_db()
    assert not people.doctor.has_usable_password()


def test_account_is_created_and_connected_to_a_doctor(browser: Client, people: People) -> None:
    form = {"email": "Hana.Kim@Example.org", "name": "Hana Kim", "role": Role.DOCTOR}
    passwords = {"password1": PASSWORD, "password2": PASSWORD}
    with recording() as made:
        answer = browser.post(reverse("admin:accounts_user_add"), {**form, **passwords})
    assert answer.status_code == 302
    account = User.objects.get(email="hana.kim@example.org")
    assert [(e.action, e.actor_id, e.subject) for e in made.entries] == [
        ("account.created", people.admin.pk, str(account.pk))
    ]
    assert tokens.start_family(account)
    page = browser.get(reverse("admin:accounts_user_change", args=[account.pk])).content.decode()
    link = f"{reverse('admin:doctors_doctor_add')}?user_id={account.pk}"
    assert link in page
    initial = browser.get(link).context["adminform"].form.initial
    assert initial == {"user_id": str(account.pk)}
    doctor = {"name": "Hana Kim", "specialty": "Urology", "time_zone": "UTC", "user_id": account.pk}
    assert browser.post(reverse("admin:doctors_doctor_add"), doctor).status_code == 302
    record = Doctor.objects.get(user_id=account.pk)
    page = browser.get(reverse("admin:accounts_user_change", args=[account.pk])).content.decode()
    assert reverse("admin:doctors_doctor_change", args=[record.pk]) in page
    assert client_of(account).get("/api/auth/me").json()["doctor_id"] == record.pk


def test_errors_of_a_new_account_are_shown_on_the_form(browser: Client, people: People) -> None:
    before = User.objects.count()
    page, passwords = reverse("admin:accounts_user_add"), {"password1": PASSWORD, "password2": PASSWORD}
    for fields, sentence in (
        (
            {"email": "DOCTOR@example.org", "role": "staff", **passwords},
            "There is an account with this e-mail already.",
        ),
        ({"email": "n@example.org", "role": "king", **passwords}, "Select a valid choice"),
        ({"email": "n@example.org", "role": "staff", "password1": "short", "password2": "short"}, "12 to 128"),
    ):
        answer = browser.post(page, fields)
        assert answer.status_code == 200
        assert sentence in str(answer.context["adminform"].form.errors)
    assert User.objects.count() == before


def test_admins_search_accounts_by_e_mail(browser: Client, people: People) -> None:
    path = reverse("admin:accounts_user_autocomplete")
    assert [row["id"] for row in browser.get(path, {"q": "Doctor@"}).json()["results"]] == [str(people.doctor.pk)]
    assert browser.get(path).json()["results"] == []
    desk = make_account("staff", "desk@example.org")
    desk.user_permissions.set(Permission.objects.filter(codename__in=["change_doctor", "view_doctor"]))
    client = Client()
    client.force_login(desk)
    assert client.get(path, {"q": "doctor"}).status_code == 403


@pytest.mark.parametrize("number", ["x", "9" * 30, "-1", "0"])
def test_wrong_account_number_is_reported(browser: Client, people: People, number: str) -> None:
    form = {"name": "Hana Kim", "specialty": "Urology", "time_zone": "UTC", "user_id": number}
    answer = browser.post(reverse("admin:doctors_doctor_add"), form)
    assert answer.status_code == 200
    assert "user_id" in str(answer.context["adminform"].form.errors)


def test_permissions_on_accounts_and_groups_allow_viewing_only(people: People) -> None:
    """A user who may change an account or a group can obtain any permission."""
    clerk = make_account("staff", "clerk@example.org")
    clerk.user_permissions.set(
        Permission.objects.filter(
            content_type__model__in=["user", "group"], content_type__app_label__in=["accounts", "auth"]
        )
    )
    group = Group.objects.create(name="somebody's")
    client = Client()
    client.force_login(clerk)
    before = everything()
    assert client.get(LIST).status_code == 200
    for path, values in (
        (reverse("admin:accounts_user_add"), {"email": "n@example.org", "role": "admin", "password1": PASSWORD,
                                              "password2": PASSWORD}),
        (reverse("admin:accounts_user_change", args=[people.doctor.pk]), {"name": "x", "role": "admin"}),
        (reverse("admin:auth_user_password_change", args=[people.admin.pk]),
         {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}),
        (reverse("admin:auth_group_change", args=[group.pk]), {"name": "mine", "permissions": ["1"]}),
        (reverse("admin:auth_group_add"), {"name": "mine"}),
        (reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"}),
    ):  # fmt: skip
        assert client.post(path, values).status_code == 403, path
    act(client, "disable_accounts", people.admin, confirmed="yes")
    assert changed(before, everything()) <= {"postgresql django_session"}

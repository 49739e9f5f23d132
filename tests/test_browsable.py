"""The browsable API: every page for every role, its forms, and writes that need the CSRF token."""

from typing import Any

import pytest
from django.test import Client

from accounts import tokens
from accounts.models import User
from accounts.services import change_account, change_password
from patients.models import Patient
from tests.people import PASSWORD, People
from tests.records import make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db

ACTORS = ("anonymous", "patient", "other_patient", "doctor", "other_doctor", "staff", "admin")
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def browser(people: People, who: str, **options: Any) -> Client:
    """Return a browser whose user has logged in on the log-in page."""
    client = Client(raise_request_exception=False, **options)
    if who != "anonymous":
        log_in(client, getattr(people, who))
    return client


def log_in(client: Client, user: User) -> None:
    page = client.get("/session/login/")
    form = {"username": user.email, "password": PASSWORD, "next": "/api"}
    if client.handler.enforce_csrf_checks:
        form["csrfmiddlewaretoken"] = page.cookies["csrftoken"].value
    response = client.post("/session/login/", form)
    assert (response.status_code, response.headers["Location"]) == (302, "/api")


@pytest.mark.parametrize("actor", ACTORS)
def test_every_page_for_every_role(people: People, actor: str):
    """The status is that of the JSON response, and the body is a page."""
    visit, prescription, bill = make_appointment(people), make_prescription(people), make_bill(people)
    paths = [
        "",
        *(f"/{name}" for name in ("patients", "doctors", "appointments", "prescriptions", "billing", "accounts")),
    ]
    paths += [
        "/patients/P1", "/patients/P2", "/patients/P0", "/doctors/D1", "/doctors/D2", f"/appointments/{visit.pk}",
        f"/prescriptions/{prescription.pk}", f"/billing/{bill.pk}", f"/accounts/{people.patient.pk}", "/auth/me",
        "/auth/login", "/auth/register", "/auth/password", "/auth/refresh", "/auth/logout",
        "/patients?page_size=1", "/patients?foo=1", "/appointments?status=nonsense", "/patients?cursor=x",
    ]  # fmt: skip
    client = browser(people, actor)
    for path in paths:
        page, data = client.get(f"/api{path}", headers=HTML), client.get(f"/api{path}", HTTP_ACCEPT="application/json")
        assert page.status_code == data.status_code < 500, (path, page.status_code, data.status_code)
        assert page["Content-Type"] == "text/html; charset=utf-8"
        assert "<!DOCTYPE html>" in page.content.decode()


def test_page_shows_what_the_list_holds(people: People):
    page = browser(people, "admin").get("/api/patients?page_size=1", headers=HTML).content.decode()
    assert "Ali Raza" in page
    assert "/api/patients?cursor=" in page
    assert "Noor Haddad" not in page


def test_page_offers_the_form_of_those_who_may_write(people: People):
    """The form is a text area for JSON, because fields may be nested."""
    admin, doctor = browser(people, "admin"), browser(people, "doctor")
    assert 'name="_content"' in admin.get("/api/patients", headers=HTML).content.decode()
    assert 'name="_content"' not in doctor.get("/api/patients", headers=HTML).content.decode()
    assert 'name="_content"' in admin.get("/api/patients/P1", headers=HTML).content.decode()


def test_markup_in_data_is_text_on_the_page(people: People):
    Patient.objects.filter(pk="P1").update(name="<script>alert(1)</script>", address="<img src=x onerror=alert(2)>")
    page = browser(people, "admin").get("/api/patients/P1", headers=HTML).content.decode()
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page


def test_errors_are_pages_for_browsers(people: People):
    page = browser(people, "admin").get("/api/patients/P0", headers=HTML)
    assert page.status_code == 404
    assert "There is no such resource." in page.content.decode()


def test_session_write_needs_the_csrf_token(people: People):
    client = browser(people, "admin", enforce_csrf_checks=True)
    body = {"name": "Lin Tao", "patient_id": "P9"}
    refused = client.post("/api/patients", body, content_type="application/json")
    assert refused.status_code == 403
    assert refused["Content-Type"] == "application/problem+json"
    assert not Patient.objects.filter(pk="P9").exists()
    wrong = client.post("/api/patients", body, content_type="application/json", headers={"X-CSRFToken": "x" * 32})
    assert wrong.status_code == 403
    assert not Patient.objects.filter(pk="P9").exists()
    token = client.get("/api/patients", headers=HTML).cookies["csrftoken"].value
    done = client.post("/api/patients", body, content_type="application/json", headers={"X-CSRFToken": token})
    assert done.status_code == 201
    assert Patient.objects.get(pk="P9").name == "Lin Tao"


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_other_session_writes_need_it_too(people: People, method: str):
    client = browser(people, "admin", enforce_csrf_checks=True)
    response = getattr(client, method)("/api/patients/P1", {"name": "Lin"}, content_type="application/json")
    assert response.status_code == 403
    assert Patient.objects.get(pk="P1").name == "Ali Raza"


@pytest.mark.parametrize("header", ["Bearer x", "Bearer ", "Bearer", "Basic YTpi", "Bearer a b", "x", ""])
def test_header_is_checked_before_the_session(people: People, header: str):
    """A request with a wrong credential is refused although it has the cookie of a session."""
    client = browser(people, "admin")
    response = client.get("/api/patients", headers={"Authorization": header})
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    posted = client.post(
        "/api/patients", {"name": "x"}, content_type="application/json", headers={"Authorization": header}
    )
    assert posted.status_code == 401
    assert Patient.objects.get(pk="P1").name == "Ali Raza"


def test_token_of_another_account_wins_over_the_session(people: People):
    client = browser(people, "admin")
    token = f"Bearer {tokens.start_family(people.patient)['access_token']}"
    me = client.get("/api/auth/me", headers={"Authorization": token}).json()
    assert me["role"] == "patient"
    assert client.get("/api/patients", headers={"Authorization": token}).status_code == 403


def test_wrong_login_opens_no_session(people: People):
    client = Client()
    response = client.post("/session/login/", {"username": people.admin.email, "password": "x" * 12})
    assert response.status_code == 200
    assert client.get("/api/auth/me").status_code == 401


def test_logout_ends_the_session(people: People):
    client = browser(people, "admin")
    assert client.get("/api/auth/me").status_code == 200
    client.post("/session/logout/")
    assert client.get("/api/auth/me").status_code == 401


@pytest.mark.parametrize("reason", ["disabled", "role", "password"])
def test_session_ends_with_the_account_s_power(people: People, reason: str):
    client = browser(people, "staff")
    assert client.get("/api/auth/me").status_code == 200
    if reason == "password":
        change_password(actor=people.staff, current_password=PASSWORD, new_password="an uncommon phrase")
    else:
        changes = {"is_active": False} if reason == "disabled" else {"role": "doctor"}
        change_account(actor=people.admin, user_id=people.staff.pk, **changes)
    assert client.get("/api/auth/me").status_code == 401


def test_session_is_renewed_at_login(people: People):
    """The log-in changes the session id, so that a known id is worthless (session fixation)."""
    client = Client()
    client.get("/session/login/")
    session = client.session
    session["x"] = 1
    session.save()
    before = session.session_key
    log_in(client, people.admin)
    assert client.session.session_key != before

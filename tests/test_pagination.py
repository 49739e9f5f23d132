"""Pages of every list show each row once, forwards and backwards, also while rows are inserted and deleted."""

import base64
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from appointments.models import Appointment
from billing.models import Bill
from doctors.models import Doctor
from healthcare.api.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from patients.models import Patient
from prescriptions.models import Prescription
from tests.people import make_account

pytestmark = pytest.mark.django_db

DAY = date(2025, 9, 12)
#: The number of distinct names, days and times: many rows share each, so that pages end between equal rows.
SHARED = 4


def a_patient(n: int) -> Patient:
    return Patient(patient_id=f"P{n}", name=f"Name {n % SHARED}")


def a_doctor(n: int) -> Doctor:
    return Doctor(doctor_id=f"D{n}", name=f"Name {n % SHARED}", specialty="Cardiology", specialty_key="cardiology")


def an_appointment(n: int) -> Appointment:
    return Appointment(
        appointment_id=f"A{n}",
        patient_id="P1",
        doctor_id="D1",
        date=DAY.replace(day=1 + n % SHARED),
        time=["", "09:00"][n % 2],
        duration_minutes=30,
    )


def a_prescription(n: int) -> Prescription:
    return Prescription(
        patient_id="P1",
        doctor_id="D1",
        drug="x",
        dosage="1 mg",
        frequency="Daily",
        start_date=DAY.replace(day=1 + n % SHARED),
    )


def a_bill(n: int) -> Bill:
    return Bill(patient_id="P1", total_cost=n)


def an_account(n: int) -> User:
    return User(email=f"account{n}@example.org", role="patient", password="!")


LISTS: dict[str, tuple[Callable[[int], Any], str]] = {
    "patients": (a_patient, "patient_id"),
    "doctors": (a_doctor, "doctor_id"),
    "appointments": (an_appointment, "appointment_id"),
    "prescriptions": (a_prescription, "id"),
    "billing": (a_bill, "id"),
    "accounts": (an_account, "id"),
}
every_list = pytest.mark.parametrize("name", LISTS)


@pytest.fixture
def admin(db: None) -> APIClient:
    client = APIClient()
    client.force_authenticate(make_account("admin", "admin@example.org"))
    return client


def fill(name: str, numbers: range) -> list[str]:
    """Insert rows, and return all keys in the order of the list."""
    make, _ = LISTS[name]
    for n in numbers:
        make(n).save(force_insert=True)
    return in_order(name)


def in_order(name: str) -> list[str]:
    """Return the stored keys in the order of the list, computed without a page."""
    model = type(LISTS[name][0](0))
    ways: dict[str, tuple[Callable[[Any], Any], bool]] = {
        "patients": (lambda row: (row.name, row.pk), False),
        "doctors": (lambda row: (row.name, row.pk), False),
        "appointments": (lambda row: (row.date, row.time, row.pk), True),
        "prescriptions": (lambda row: (row.start_date, row.pk), True),
        "billing": (lambda row: row.pk, True),
        "accounts": (lambda row: row.pk, False),
    }
    way, descending = ways[name]
    return [str(row.pk) for row in sorted(model.objects.all(), key=way, reverse=descending)]


def get(client: APIClient, url: str) -> dict[str, Any]:
    response = client.get(url)
    assert response.status_code == 200, response.content
    page = response.json()
    assert set(page) == {"next", "previous", "results"}
    return page


def keys(name: str, page: dict[str, Any]) -> list[str]:
    return [str(row[LISTS[name][1]]) for row in page["results"]]


def walk(client: APIClient, url: str, way: str) -> list[dict[str, Any]]:
    pages = [get(client, url)]
    while pages[-1][way]:
        pages.append(get(client, pages[-1][way]))
        assert len(pages) < 100
    return pages


@every_list
@pytest.mark.parametrize("page_size", [1, 4, 5, 200])
def test_each_row_once_in_both_directions(admin: APIClient, name: str, page_size: int):
    expected = fill(name, range(12))
    forwards = walk(admin, f"/api/{name}?page_size={page_size}", "next")
    assert [key for page in forwards for key in keys(name, page)] == expected
    assert {len(page["results"]) for page in forwards[:-1]} <= {page_size}
    assert forwards[0]["previous"] is None
    if len(forwards) > 1:
        backwards = walk(admin, forwards[-1]["previous"], "previous")
        seen = [key for page in reversed(backwards) for key in keys(name, page)]
        assert seen == [key for page in forwards[:-1] for key in keys(name, page)]
        assert [page["results"] for page in reversed(backwards)] == [page["results"] for page in forwards[:-1]]
        assert all(page["next"] for page in backwards)


@every_list
def test_last_page_that_is_full_has_no_next(admin: APIClient, name: str):
    amount = len(fill(name, range(6)))
    page = get(admin, f"/api/{name}?page_size={amount}")
    assert len(page["results"]) == amount
    assert (page["next"], page["previous"]) == (None, None)


@every_list
def test_links_are_absolute_and_keep_the_rest_of_the_query(admin: APIClient, name: str):
    fill(name, range(6))
    url = f"/api/{name}?page_size=2&format=json"
    following = get(admin, url)["next"]
    assert following.startswith(f"http://testserver/api/{name}?")
    assert "page_size=2" in following
    assert "format=json" in following
    assert get(admin, following)["previous"].startswith(f"http://testserver/api/{name}?")


def test_filters_stay_on_every_page(admin: APIClient):
    fill("appointments", range(12))
    Appointment.objects.filter(appointment_id__in=["A1", "A5", "A9"]).update(status="cancelled")
    pages = walk(admin, "/api/appointments?status=cancelled&page_size=1&from=2025-09-01&to=2025-09-30", "next")
    assert [keys("appointments", page) for page in pages] == [["A9"], ["A5"], ["A1"]]


@every_list
def test_rows_that_come_and_go_move_no_other(admin: APIClient, name: str):
    """A row that exists all the time is seen exactly once while rows before and after the reader change."""
    staying = fill(name, range(100, 112))
    page = get(admin, f"/api/{name}?page_size=4")
    seen = keys(name, page)
    make, _ = LISTS[name]
    # New rows before and after the reader, and the row at the edge of the page is deleted.
    for n in (10, 11, 210, 211):
        make(n).save(force_insert=True)
    model = type(make(0))
    model.objects.filter(pk=seen[-1]).delete()
    model.objects.filter(pk=staying[6]).delete()
    while page["next"]:
        page = get(admin, page["next"])
        seen += keys(name, page)
    assert len(seen) == len(set(seen))
    assert set(staying) - {staying[6]} <= set(seen)
    order = {key: at for at, key in enumerate(in_order(name))}
    positions = [order[key] for key in seen if key in order]
    assert all(earlier < later for earlier, later in pairwise(positions))


@every_list
def test_page_sizes(admin: APIClient, name: str):
    fill(name, range(MAX_PAGE_SIZE + 5)) if name in ("billing", "patients") else fill(name, range(55))
    assert len(get(admin, f"/api/{name}")["results"]) == DEFAULT_PAGE_SIZE == 50
    if name in ("billing", "patients"):
        assert len(get(admin, f"/api/{name}?page_size=200")["results"]) == 200


@every_list
@pytest.mark.parametrize("size", ["0", "-1", "201", "abc", "1e3", "", " 5", "5 ", "5.0", "٥", "0x10", "9" * 40, "%00"])
def test_bad_page_sizes(admin: APIClient, name: str, size: str):
    response = admin.get(f"/api/{name}?page_size={size}")
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == ["/page_size"]


def cursor_of(client: APIClient, name: str) -> str:
    return get(client, f"/api/{name}?page_size=2")["next"].split("cursor=")[1].split("&")[0]


@every_list
def test_bad_cursors(admin: APIClient, name: str):
    fill(name, range(6))
    good = cursor_of(admin, name)
    value, signature = good[: len(good) // 2], good[len(good) // 2 :]
    bad = [
        "", "x", "....", value, f"{value}.", f".{signature}", good[:-1], good[1:], f"{good}x", f"{good}.{signature}",
        ("A" if good[0] != "A" else "B") + good[1:], "%00", "%ff", "\u0660", "a" * 5_000, "W2ZhbHNlLCJhIiwiYiJd",
        "bnVsbA", "WzEsMl0", "W10",
    ]  # fmt: skip
    for cursor in bad:
        response = admin.get(f"/api/{name}?cursor={cursor}")
        assert response.status_code == 400, cursor
        assert [error["pointer"] for error in response.json()["errors"]] == ["/cursor"]
    assert admin.get(f"/api/{name}?cursor={good}").status_code == 200
    assert admin.get(f"/api/{name}?cursor={good}&cursor={good}").status_code == 400


def test_cursor_does_not_tell_the_name_in_it(admin: APIClient):
    fill("patients", range(6))
    edge = get(admin, "/api/patients?page_size=2")["results"][-1]["name"]
    cursor = cursor_of(admin, "patients")
    assert edge.encode() not in base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def test_cursor_of_another_list_is_refused(admin: APIClient):
    cursors = {}
    for name in LISTS:
        fill(name, range(6))
        cursors[name] = cursor_of(admin, name)
    for name in LISTS:
        for other, cursor in cursors.items():
            expected = 200 if name == other else 400
            assert admin.get(f"/api/{name}?cursor={cursor}").status_code == expected, (name, other)


@pytest.mark.parametrize("name", ["a" * 200, "\u4e2d" * 200, "\U0001f600" * 200, 'quote " back \\ slash', "a&b=c%20#é"])
def test_cursor_holds_every_name(admin: APIClient, name: str):
    for patient_id in ("x" * 64, "y" * 64, "z" * 64):
        Patient(patient_id=patient_id, name=name).save(force_insert=True)
    pages = walk(admin, "/api/patients?page_size=1", "next")
    assert [keys("patients", page) for page in pages] == [["x" * 64], ["y" * 64], ["z" * 64]]
    # Servers and proxies limit the request line (gunicorn: 4,094 bytes).
    assert all(len(page["next"]) < 3_000 for page in pages[:-1])


@every_list
def test_empty_list(admin: APIClient, name: str):
    if name == "accounts":
        assert get(admin, "/api/accounts?email=nobody@example.org") == {"next": None, "previous": None, "results": []}
    else:
        assert get(admin, f"/api/{name}") == {"next": None, "previous": None, "results": []}


def test_cursor_of_another_version_or_secret_key_is_refused(admin: APIClient, settings: Settings):
    fill("billing", range(6))
    # A nonce and a text encrypted with ChaCha20-Poly1305, as in cursors of the version before.
    former = "AAECAwQFBgcICQoLl2F2n0N0b2RlZmRzZ2hqa2xxd2VydHl1aW9w"  # pragma: allowlist secret
    assert admin.get(f"/api/billing?cursor={former}").status_code == 400
    good = cursor_of(admin, "billing")
    assert admin.get(f"/api/billing?cursor={good}").status_code == 200
    for appended in (".", "%2E", "=", "%20", "%0A"):
        assert admin.get(f"/api/billing?cursor={good}{appended}").status_code == 400, appended
    settings.SECRET_KEY = "another secret key of the same server"  # pragma: allowlist secret
    admin.force_authenticate(User.objects.get(email="admin@example.org"))
    assert admin.get(f"/api/billing?cursor={good}").status_code == 400

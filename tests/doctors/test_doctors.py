"""Tests of /doctors: records, hours and filters."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from doctors.models import Doctor
from tests.people import People, make_account, make_doctor
from tests.records import make_appointment, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

HOURS = {"weekday": 0, "start": "09:00", "end": "12:00", "slot_minutes": 20}
FULL = {
    "doctor_id": "D9", "name": "Lin Tao", "specialty": "Neurology", "availability": [HOURS],
    "exceptions": [{"date": "2026-12-24", "start": None, "end": None, "closed": True}], "accepting_patients": False,
    "time_zone": "Europe/Zurich", "user_id": None,
}  # fmt: skip


@pytest.fixture
def admin(people: People) -> APIClient:
    return people.client("admin")


def pointers(response: Any) -> list[str]:
    return [error["pointer"] for error in response.json()["errors"]]


def test_created_doctor_is_answered_and_stored(admin: APIClient):
    response = admin.post("/api/doctors", FULL, format="json")
    assert response.status_code == 201
    answer = response.json()
    assert answer.items() >= FULL.items()
    assert set(answer) == {*FULL, "created_at"}
    assert admin.get("/api/doctors/D9").json() == answer
    stored = Doctor.objects.get(pk="D9")
    assert (stored.name, stored.specialty, stored.time_zone) == ("Lin Tao", "Neurology", "Europe/Zurich")
    assert [(row.weekday, row.start, row.end, row.slot_minutes) for row in stored.availability] == [
        (0, "09:00", "12:00", 20)
    ]


def test_defaults(admin: APIClient):
    answer = admin.post("/api/doctors", {"name": "Lin", "specialty": "Neurology"}, format="json").json()
    assert answer["doctor_id"].startswith("D")
    assert (answer["accepting_patients"], answer["time_zone"], answer["user_id"]) == (True, "UTC", None)
    assert answer["availability"] == answer["exceptions"] == []


@pytest.mark.parametrize("name", ["name", "specialty"])
def test_required_fields(admin: APIClient, name: str):
    for value in ("absent", "", None):
        body = {"name": "Lin", "specialty": "Neurology", name: value}
        if value == "absent":
            del body[name]
        assert pointers(admin.post("/api/doctors", body, format="json")) == [f"/{name}"]
    assert Doctor.objects.count() == 2


def test_duplicate_id_is_a_conflict(admin: APIClient):
    before = everything()
    response = admin.post("/api/doctors", {**FULL, "doctor_id": "D1"}, format="json")
    assert (response.status_code, pointers(response)) == (409, ["/doctor_id"])
    assert changed(before, everything()) == set()


def test_account_link(people: People, admin: APIClient):
    account = make_account("doctor", "lin@example.org")
    assert admin.post("/api/doctors", {**FULL, "user_id": account.pk}, format="json").json()["user_id"] == account.pk
    taken = admin.patch("/api/doctors/D2", {"user_id": account.pk}, format="json")
    assert (taken.status_code, pointers(taken)) == (409, ["/user_id"])
    for number in (10**9, people.patient.pk, people.admin.pk):
        response = admin.patch("/api/doctors/D2", {"user_id": number}, format="json")
        assert (response.status_code, pointers(response)) == (400, ["/user_id"])
    assert Doctor.objects.get(pk="D2").user_id == people.other_doctor.pk


# --- Hours -----------------------------------------------------------------------------------------------------------


def test_hours_are_stored_in_the_order_of_the_week(admin: APIClient):
    rows = [
        {"weekday": 4, "start": "08:00", "end": "10:00", "slot_minutes": 15},
        {"weekday": 0, "start": "13:00", "end": "17:00", "slot_minutes": 30},
        {"weekday": 0, "start": "09:00", "end": "13:00", "slot_minutes": 30},
    ]
    answer = admin.patch("/api/doctors/D1", {"availability": rows}, format="json").json()
    assert answer["availability"] == [rows[2], rows[1], rows[0]]
    assert admin.get("/api/doctors/D1").json() == answer


def test_slot_is_half_an_hour_by_default(admin: APIClient):
    row = {"weekday": 6, "start": "09:00", "end": "12:00"}
    answer = admin.patch("/api/doctors/D1", {"availability": [row]}, format="json").json()
    assert answer["availability"] == [{**row, "slot_minutes": 30}]


@pytest.mark.parametrize("name", ["weekday", "start", "end"])
def test_hours_must_be_complete(admin: APIClient, name: str):
    """A PATCH may leave out fields of the record, but not fields of the objects in it."""
    before = everything()
    row = {key: value for key, value in HOURS.items() if key != name}
    response = admin.patch("/api/doctors/D1", {"availability": [row]}, format="json")
    assert (response.status_code, pointers(response)) == (400, [f"/availability/0/{name}"])
    assert changed(before, everything()) == set()


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"weekday": 7}, "/availability/0/weekday"), ({"weekday": -1}, "/availability/0/weekday"),
        ({"weekday": "0"}, "/availability/0/weekday"), ({"weekday": True}, "/availability/0/weekday"),
        ({"start": "9:00"}, "/availability/0/start"), ({"start": "24:00"}, "/availability/0/start"),
        ({"end": "12:01"}, "/availability/0/end"), ({"end": "09:00"}, "/availability"),
        ({"end": "08:00"}, "/availability"),
        ({"slot_minutes": 0}, "/availability/0/slot_minutes"), ({"slot_minutes": 7}, "/availability/0/slot_minutes"),
        ({"slot_minutes": 1_000}, "/availability/0/slot_minutes"), ({"foo": 1}, "/availability/0/foo"),
        ({"start": None}, "/availability/0/start"),
    ],
)  # fmt: skip
def test_invalid_hours(admin: APIClient, change: dict[str, Any], pointer: str):
    before = everything()
    response = admin.patch("/api/doctors/D1", {"availability": [{**HOURS, **change}]}, format="json")
    assert (response.status_code, pointers(response)) == (400, [pointer])
    assert changed(before, everything()) == set()


def test_hours_do_not_overlap(admin: APIClient):
    other = {**HOURS, "start": "11:55", "end": "14:00"}
    response = admin.patch("/api/doctors/D1", {"availability": [other, HOURS]}, format="json")
    assert (response.status_code, pointers(response)) == (400, ["/availability"])
    next_day = {**other, "weekday": 1}
    assert admin.patch("/api/doctors/D1", {"availability": [next_day, HOURS]}, format="json").status_code == 200


@pytest.mark.parametrize(
    ("row", "pointer"),
    [
        ({}, "/exceptions/0/date"), ({"date": "2026-02-30"}, "/exceptions/0/date"),
        ({"date": "2026-12-24", "start": "09:00"}, "/exceptions"),
        ({"date": "2026-12-24", "end": "09:00"}, "/exceptions"),
        ({"date": "2026-12-24", "closed": False}, "/exceptions"),
        ({"date": "2026-12-24", "start": "10:00", "end": "09:00"}, "/exceptions"),
        ({"date": "2026-12-24", "closed": "yes"}, "/exceptions/0/closed"),
    ],
)  # fmt: skip
def test_invalid_exceptions(admin: APIClient, row: dict[str, Any], pointer: str):
    before = everything()
    response = admin.patch("/api/doctors/D1", {"exceptions": [row]}, format="json")
    assert (response.status_code, pointers(response)) == (400, [pointer])
    assert changed(before, everything()) == set()


@pytest.mark.parametrize("zone", ["Mars/Base", "europe/zurich", "+02:00", "../etc/passwd", "localtime", "UTC/.."])
def test_unknown_time_zones(admin: APIClient, zone: str):
    response = admin.patch("/api/doctors/D1", {"time_zone": zone}, format="json")
    assert (response.status_code, pointers(response)) == (400, ["/time_zone"])
    assert Doctor.objects.get(pk="D1").time_zone == "UTC"


# --- Changing --------------------------------------------------------------------------------------------------------

OWN = {
    "name": "A. Okafor", "specialty": "Oncology", "availability": [HOURS], "accepting_patients": False,
    "exceptions": [{"date": "2026-12-24", "start": "09:00", "end": "12:00", "closed": False}],
    "time_zone": "Asia/Tokyo",
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_doctor_changes_their_own_record(people: People, name: str):
    doctor = people.client("doctor")
    response = doctor.patch("/api/doctors/D1", {name: OWN[name]}, format="json")
    assert (response.status_code, response.json()[name]) == (200, OWN[name])
    assert doctor.get("/api/doctors/D1").json() == response.json()


@pytest.mark.parametrize("body", [{"user_id": None}, {"doctor_id": "D7"}, {"specialty_key": "x"}, {"created_at": "x"}])
def test_doctor_changes_nothing_else(people: People, body: dict[str, Any]):
    doctor = people.client("doctor")
    before = everything()
    response = doctor.patch("/api/doctors/D1", {**body, "name": "X"}, format="json")
    assert (response.status_code, pointers(response)) == (400, [f"/{next(iter(body))}"])
    assert changed(before, everything()) == set()


def test_new_specialty_is_found_and_the_old_one_is_not(admin: APIClient):
    admin.patch("/api/doctors/D1", {"specialty": "Oncology"}, format="json")
    assert found(admin, "specialty=oncology") == ["D1"]
    assert found(admin, "specialty=cardiology") == []


# --- Finding ---------------------------------------------------------------------------------------------------------


def found(client: APIClient, query: str) -> list[str]:
    response = client.get(f"/api/doctors?{query}")
    assert response.status_code == 200, response.content
    return [row["doctor_id"] for row in response.json()["results"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["D1", "D2", "D3"]),
        ("specialty=cardiology", ["D1"]),
        ("specialty=CARDIOLOGY", ["D1"]),
        ("specialty=Cardio", []),
        ("specialty=.*", []),
        ("specialty=%20cardiology%20", ["D1"]),
        ("specialty=straße", ["D3"]),
        ("specialty=STRASSE", ["D3"]),
        ("available=true", ["D1", "D2"]),
        ("available=false", ["D3"]),
        ("specialty=neurology&available=true", ["D2"]),
        ("specialty=neurology&available=false", []),
        ("search=amara", ["D1"]),
        ("search=solberg ingrid", ["D2"]),
        ("search=amara solberg", []),
    ],
)
@pytest.mark.parametrize("who", ["patient", "doctor", "admin"])
def test_filters(people: People, query: str, expected: list[str], who: str):
    make_doctor(people.admin, "D3", name="Zoe", specialty="Straße", accepting_patients=False)
    assert found(people.client(who), query) == expected


@pytest.mark.parametrize("value", ["True", "1", "yes", "", "on", "null"])
def test_available_is_true_or_false(people: People, value: str):
    response = people.client("patient").get(f"/api/doctors?available={value}")
    assert (response.status_code, pointers(response)) == (400, ["/available"])


# --- Deleting --------------------------------------------------------------------------------------------------------


def test_deleted_doctor_is_gone(admin: APIClient):
    assert admin.delete("/api/doctors/D2").status_code == 204
    assert not Doctor.objects.filter(pk="D2").exists()
    assert admin.get("/api/doctors/D2").status_code == 404


@pytest.mark.parametrize(
    ("make", "words"), [(make_appointment, "1 appointment"), (make_prescription, "1 prescription")]
)
def test_doctor_whom_a_record_names_is_not_deleted(people: People, admin: APIClient, make: Any, words: str):
    make(people)
    before = everything()
    response = admin.delete("/api/doctors/D1")
    assert response.status_code == 409
    assert response.json()["detail"] == f"This doctor cannot be deleted: it is named by {words}."
    assert changed(before, everything()) == set()

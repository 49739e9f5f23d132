"""The permission matrix by field: who may read and write which field, and whose rows filters and exports return."""

from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import User
from tests.people import People, client_of, make_account
from tests.records import days_from_now, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

# --- Writing ---------------------------------------------------------------------------------------------------------

#: Resource → field → a value that is accepted from an account that may write the field. A field of a response or of a
#: body that is missing here fails `test_every_field_is_in_the_table`.
VALUES: dict[str, dict[str, Any]] = {
    "patients": {
        "name": "Lin Tao", "birth_date": "1980-01-02", "age": 40, "sex": "female", "diseases": ["Asthma"],
        "phone": "+41 44 123 45 67", "email": "lin@example.org", "address": "Seestrasse 1", "national_id": "756.1",
        "notes": "A note.", "user_id": None, "patient_id": "P9", "appointments": [], "prescriptions": [],
        "created_at": "2020-01-01T00:00:00Z", "revision": 1,
    },
    "doctors": {
        "name": "Lin Tao", "specialty": "Neurology", "accepting_patients": False, "time_zone": "Europe/Zurich",
        "availability": [{"weekday": 0, "start": "09:00", "end": "12:00"}],
        "exceptions": [{"date": "2030-01-01"}], "user_id": None, "doctor_id": "D9",
        "created_at": "2020-01-01T00:00:00Z",
    },
    "appointments": {
        "date": str(days_from_now(20)), "time": "11:00", "duration_minutes": 20, "disease": "Asthma",
        "status": "cancelled", "patient_id": "P2", "doctor_id": "D2", "appointment_id": "A9",
        "starts_at": "2030-01-01T10:00:00Z", "created_at": "2020-01-01T00:00:00Z",
    },
    "prescriptions": {
        "drug": "Ibuprofen", "dosage": "200mg", "frequency": "Daily", "cost": "1.50", "disease": "Asthma",
        "appointment_id": None, "start_date": "2025-01-01", "duration_days": 3, "instructions": "With water.",
        "patient_id": "P2", "doctor_id": "D2", "id": "000000000000000000000000", "created_at": "2020-01-01T00:00:00Z",
    },
    "billing": {
        "total_cost": "9.00", "disease": "Asthma", "status": "paid", "appointment_id": None, "patient_id": "P2",
        "id": 9, "created_at": "2020-01-01T00:00:00Z",
    },
    "accounts": {
        "is_active": False, "role": "staff", "email": "new@example.org", "password": "an uncommon phrase", "name": "X",
        "id": 9, "created_at": "2020-01-01T00:00:00Z", "is_superuser": True, "is_staff": True, "token_version": 1,
    },
}  # fmt: skip
PATIENT_OWN = {"name", "birth_date", "age", "phone", "email", "address"}
PATIENT_ALL = {*PATIENT_OWN, "sex", "diseases", "national_id", "notes", "user_id"}
DOCTOR_OWN = {"name", "specialty", "availability", "exceptions", "accepting_patients", "time_zone"}
VISIT = {"date", "time", "duration_minutes", "disease", "status"}
COURSE = {
    "drug", "dosage", "frequency", "cost", "disease", "appointment_id", "start_date", "duration_days", "instructions",
}  # fmt: skip
#: Resource → account that may change rows of it → fields that it may change. No other account may change any.
WRITABLE: dict[str, dict[str, set[str]]] = {
    "patients": {"patient": PATIENT_OWN, "admin": PATIENT_ALL},
    "doctors": {"doctor": DOCTOR_OWN, "admin": {*DOCTOR_OWN, "user_id"}},
    "appointments": {"patient": VISIT, "doctor": VISIT, "admin": VISIT},
    "prescriptions": {"doctor": COURSE, "admin": COURSE},
    "billing": {"admin": {"total_cost", "disease", "status", "appointment_id"}},
    "accounts": {"admin": {"is_active", "role"}},
}
#: Resource → accounts that may read a row of it. All of them read the same fields.
READERS: dict[str, tuple[str, ...]] = {
    "patients": ("patient", "doctor", "other_doctor", "admin"),
    "doctors": ("patient", "doctor", "other_doctor", "admin"),
    "appointments": ("patient", "doctor", "admin"),
    "prescriptions": ("patient", "doctor", "other_doctor", "admin"),
    "billing": ("patient", "admin"),
    "accounts": ("admin",),
}
#: Fields that a body takes and no response shows.
WRITE_ONLY = {"password"}
#: Columns that are never in a response or a body.
NEVER = {"revision", "is_superuser", "is_staff", "token_version"}


@pytest.fixture
def rows(people: People) -> dict[str, str]:
    """Make a row of each resource, of the patient P1 and the doctor D1, and return their paths."""
    make_appointment(people, appointment_id="A1")
    return {
        "patients": "/api/patients/P1",
        "doctors": "/api/doctors/D1",
        "appointments": "/api/appointments/A1",
        "prescriptions": f"/api/prescriptions/{make_prescription(people).pk}",
        "billing": f"/api/billing/{make_bill(people, appointment_id=None).pk}",
        "accounts": f"/api/accounts/{people.other_patient.pk}",
    }


ACTORS = ("patient", "other_patient", "doctor", "other_doctor", "staff", "admin")
#: Written last, because a row accepts no other change after these.
FINAL = ("status", "role", "is_active", "user_id")


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("resource", VALUES)
def test_fields_that_are_not_the_actors_to_write(
    people: People, rows: dict[str, str], resource: str, actor: str
) -> None:
    own = WRITABLE[resource].get(actor, set())
    client = people.client(actor)
    before = everything()
    for field in VALUES[resource].keys() - own:
        answer = client.patch(rows[resource], {field: VALUES[resource][field]}, format="json")
        assert answer.status_code == 400 if own else answer.status_code in (403, 404), (field, answer.content)
    assert changed(before, everything()) == set()


@pytest.mark.parametrize(
    ("resource", "actor"), [(resource, actor) for resource, actors in WRITABLE.items() for actor in actors]
)
def test_fields_that_are_the_actors_to_write(people: People, rows: dict[str, str], resource: str, actor: str) -> None:
    client = people.client(actor)
    for field in sorted(WRITABLE[resource][actor], key=lambda name: (name in FINAL, name)):
        answer = client.patch(rows[resource], {field: VALUES[resource][field]}, format="json")
        assert answer.status_code == 200, (field, answer.content)


@pytest.mark.parametrize("resource", VALUES)
def test_every_field_is_in_the_table(people: People, rows: dict[str, str], resource: str) -> None:
    fields = set(people.client("admin").get(rows[resource]).json())
    assert fields | WRITE_ONLY | NEVER >= set(VALUES[resource])
    assert fields <= set(VALUES[resource])
    assert not fields & (WRITE_ONLY | NEVER)


@pytest.mark.parametrize("resource", VALUES)
def test_whoever_sees_a_row_sees_all_of_it(people: People, rows: dict[str, str], resource: str) -> None:
    answers = [people.client(actor).get(rows[resource]) for actor in READERS[resource]]
    assert {answer.status_code for answer in answers} == {200}
    assert len({tuple(answer.json()) for answer in answers}) == 1
    others = {"patient", "other_patient", "doctor", "other_doctor", "staff", "admin"} - set(READERS[resource])
    if resource == "doctors":
        others -= {"other_patient"}
    assert {people.client(actor).get(rows[resource]).status_code for actor in others} <= {403, 404}


def test_who_registers_is_nothing_but_a_patient(people: People) -> None:
    form = {"email": "new@example.org", "password": "an uncommon phrase", "name": "Lin Tao"}
    for field, value in {
        "role": "admin", "is_superuser": True, "is_staff": True, "groups": [1], "user_permissions": [1], "id": 1,
        "user_id": people.admin.pk, "patient_id": "P1", "diseases": ["x"], "notes": "x", "national_id": "x",
        "is_active": True, "token_version": 1, "appointments": [],
    }.items():  # fmt: skip
        answer = people.client("anonymous").post("/api/auth/register", {**form, field: value}, format="json")
        assert answer.status_code == 400, field
    assert not User.objects.filter(email="new@example.org").exists()


# --- Filters with the ids of other people ----------------------------------------------------------------------------

OTHERS = {"patient": "patient_id=P2", "other_patient": "patient_id=P1"}
FOREIGN = [
    *((who, f"{name}?{ids}") for who, ids in OTHERS.items() for name in ("appointments", "prescriptions", "billing")),
    *((who, f"{name}?{ids}&doctor_id=D1") for who, ids in OTHERS.items() for name in ("appointments", "prescriptions")),
    # Every doctor may read whole charts, but no bills.
    ("other_doctor", "appointments?doctor_id=D1"),
    ("other_doctor", "appointments?doctor_id=D1&patient_id=P1"),
]  # fmt: skip


@pytest.mark.parametrize(("actor", "query"), FOREIGN)
def test_filter_by_somebody_elses_id_is_empty(people: People, rows: dict[str, str], actor: str, query: str) -> None:
    make_appointment(people, appointment_id="A2", patient_id="P2", time="12:00")
    make_prescription(people, patient_id="P2")
    make_bill(people, patient_id="P2", appointment_id=None)
    answer = people.client(actor).get(f"/api/{query}")
    assert (answer.status_code, answer.json()["results"]) == (200, [])


@pytest.mark.parametrize("actor", ["patient", "doctor", "staff", "anonymous"])
@pytest.mark.parametrize(
    "path",
    ["audit?patient_id=P1", "audit?actor=1", "accounts?role=admin", "accounts?email=admin@example.org",
     "patients?national_id=756", "patients/P2/access-log", "billing?patient_id=P1"],
)  # fmt: skip
def test_filters_that_only_admins_may_use(people: People, rows: dict[str, str], actor: str, path: str) -> None:
    answer = people.client(actor).get(f"/api/{path}")
    if actor == "patient" and path == "billing?patient_id=P1":
        assert answer.status_code == 200, "their own bills"
    elif actor == "doctor" and path.startswith("patients?"):
        assert answer.status_code == 400, "the parameter is an admin's"
    else:
        assert answer.status_code in (401, 403, 404)


def test_cursor_of_somebody_else_shows_ones_own_rows(people: People) -> None:
    """A cursor holds a position and no permission: with a stolen one the other patient reads their own rows."""
    for number in range(3):
        make_appointment(people, appointment_id=f"A{number}", time=f"1{number}:00")
        make_appointment(people, appointment_id=f"B{number}", patient_id="P2", doctor_id="D2", time=f"1{number}:00")
    page = people.client("patient").get("/api/appointments?page_size=1").json()
    stolen = page["next"].split("cursor=")[1].split("&")[0]
    rows = people.client("other_patient").get(f"/api/appointments?cursor={stolen}").json()["results"]
    assert {row["patient_id"] for row in rows} <= {"P2"}


# --- Pages of the admin and exports (test_admin_urls.py requests every page as everybody) ----------------------------


def patterns(resolver: URLResolver) -> list[URLPattern]:
    """Return the URL patterns of the admin."""
    site: Any = next(each for each in resolver.url_patterns if str(each.pattern) == "admin/")
    flat, waiting = [], list(site.url_patterns)
    while waiting:
        each = waiting.pop()
        waiting += each.url_patterns if isinstance(each, URLResolver) else []
        flat += [each] if isinstance(each, URLPattern) else []
    return flat


def status_of(account: User | None, path: str) -> int:
    browser = Client(raise_request_exception=False)
    if account is not None:
        browser.force_login(account)
    return browser.get(path).status_code


@pytest.mark.parametrize("model", ["patient", "doctor", "appointment", "prescription", "bill", "auditentry", "user"])
def test_one_permission_opens_the_pages_of_one_model(people: People, rows: dict[str, str], model: str) -> None:
    clerk = make_account("staff", "clerk@example.org")
    clerk.user_permissions.add(Permission.objects.get(codename=f"view_{model}"))
    accessible = {
        str(registered._meta.model_name)
        for registered in django_admin.site._registry
        if status_of(clerk, reverse(f"admin:{registered._meta.app_label}_{registered._meta.model_name}_changelist"))
        == 200
    }
    assert accessible == {model}


@pytest.mark.parametrize(
    ("who", "expected"),
    [("anonymous", 302), ("patient", 302), ("doctor", 403), ("staff", 403), ("admin", 200)],
)
def test_exports_of_the_admin(people: People, who: str, expected: int) -> None:
    """An account that may see a list may export it: doctors have four. (Contents: tests/test_import_export.py.)"""
    for_doctors = {f"{name}_export" for name in (
        "patients_patient", "doctors_doctor", "appointments_appointment", "prescriptions_prescription",
    )}  # fmt: skip
    browser = Client()
    if who != "anonymous":
        browser.force_login(getattr(people, who))
    names = [pattern.name for pattern in patterns(get_resolver()) if pattern.name and "export" in pattern.name]
    assert {"healthcare_auditentry_export", *for_doctors} < set(names)
    for name in names:
        opens = who == "doctor" and name in for_doctors
        assert browser.get(reverse(f"admin:{name}")).status_code == (200 if opens else expected)


@pytest.mark.parametrize("ending", [".csv", ".png", ".svg", "?format=csv", "?format=png"])
@pytest.mark.parametrize("name", ["top-doctors", "disease-trends", "average-prescription-cost"])
def test_exports_of_reports(people: People, name: str, ending: str) -> None:
    for actor, expected in (("anonymous", 401), ("patient", 403), ("staff", 403), ("doctor", 200), ("admin", 200)):
        client = people.client(actor) if actor == "anonymous" else client_of(getattr(people, actor))
        assert client.get(f"/api/reports/{name}{ending}").status_code == expected

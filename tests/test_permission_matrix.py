"""The permission matrix (docs/api.md, "Who may call what"): one test for each endpoint and actor.

Every routed path and method has a row here, or `test_every_route_has_a_row` fails. A request that must be denied has a
body that is accepted from an account that may send it, so the reason of the denial is the account. Both databases are
compared before and after, because a denied request must change nothing. The audit entries of each request are compared
with the table in `tests/audit/entries_of_requests.py`.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from bson import ObjectId
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from accounts import tokens
from healthcare.api.checks import api_actions
from healthcare.audit_log.models import AuditEntry
from reports.queries import NAMES
from tests.audit.entries import recording
from tests.audit.entries_of_requests import EXPECTED, described, expected_entries
from tests.databases import clinical_database
from tests.people import PASSWORD, People, make_patient
from tests.records import days_from_now, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

ACTORS = ("anonymous", "patient", "other_patient", "doctor", "other_doctor", "staff", "admin")
METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "TRACE")
MISSING = "there is none"

Body = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """An endpoint with the status for each actor; `of` creates the record of the path, `body` returns the body."""

    method: str
    path: str
    statuses: tuple[int, ...]
    of: Callable[[People], Any] | None = None
    body: Callable[[People, str], Body] | None = None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.method} /{self.path}{' ' if self.note else ''}{self.note}"


@dataclass
class Table:
    rows: list[Row] = field(default_factory=list)

    def __call__(self, method: str, path: str, *statuses: int, **details: Any) -> None:
        assert len(statuses) == len(ACTORS)
        self.rows.append(Row(method, path, statuses, **details))

    def methods_of(self, path: str) -> set[str]:
        return {row.method for row in self.rows if row.path == path}


# --- Records and bodies ----------------------------------------------------------------------------------------------


def refresh_token_of(people: People, who: str) -> str:
    return tokens.start_family(getattr(people, who))["refresh_token"]


def own_refresh_token(people: People, actor: str) -> Body:
    """Return a refresh token of the actor; an invalid one for the anonymous actor."""
    return {"refresh_token": "none" if actor == "anonymous" else refresh_token_of(people, actor)}


def patients_refresh_token(people: People, actor: str) -> Body:
    return {"refresh_token": refresh_token_of(people, "patient")}


def registration(people: People, actor: str) -> Body:
    return {"email": "new@example.org", "password": "an uncommon phrase", "name": "Lin Tao"}


def login(people: People, actor: str) -> Body:
    return {"email": "patient@example.org", "password": PASSWORD}


def new_password(people: People, actor: str) -> Body:
    return {"current_password": PASSWORD, "new_password": "another uncommon phrase"}


def account(people: People, actor: str) -> Body:
    return {"email": "new@example.org", "password": "an uncommon phrase", "role": "doctor", "name": "Lin Tao"}


def visit(people: People, actor: str) -> Body:
    return {"patient_id": "P1", "doctor_id": "D1", "date": str(days_from_now(3)), "time": "09:30"}


def prescription(people: People, actor: str) -> Body:
    return {"patient_id": "P1", "drug": "Amoxicillin", "dosage": "500mg", "frequency": "Twice daily"}


def bill(people: People, actor: str) -> Body:
    return {"patient_id": "P1", "total_cost": "12.50"}


def always(body: Body) -> Callable[[People, str], Body]:
    return lambda people, actor: body


def the_patient(people: People) -> str:
    return people.patient_record.patient_id


def the_doctor(people: People) -> str:
    return people.doctor_record.doctor_id


def the_account(people: People) -> int:
    return people.patient.pk


def an_appointment(people: People) -> str:
    return make_appointment(people).appointment_id


def a_prescription(people: People) -> str:
    return str(make_prescription(people).pk)


def a_bill(people: People) -> int:
    return make_bill(people).pk


# --- The table -------------------------------------------------------------------------------------------------------
# fmt: off

table = Table()
#                                                    anonymous
#                                                         patient it belongs to
#                                                              another patient
#                                                                   doctor it belongs to
#                                                                        another doctor
#                                                                             staff
#                                                                                  admin
table("GET",    "api",                               200, 200, 200, 200, 200, 200, 200)
table("GET",    "schema",                            200, 200, 200, 200, 200, 200, 200)
table("GET",    "docs",                              200, 200, 200, 200, 200, 200, 200)
table("GET",    "healthz",                           200, 200, 200, 200, 200, 200, 200)
table("GET",    "readyz",                            200, 200, 200, 200, 200, 200, 200)
table("GET",    "redoc",                             200, 200, 200, 200, 200, 200, 200)

# Registration and login need no account, and an account may use them.
table("POST",   "api/auth/register",                 201, 201, 201, 201, 201, 201, 201, body=registration)
# The routes of Google and GitHub answer 404 unless their client ids are set, as in tests/accounts/test_oauth.py.
for provider in ("google", "github"):
    table("GET", f"api/auth/oauth/{provider}",          404, 404, 404, 404, 404, 404, 404)
    table("GET", f"api/auth/oauth/{provider}/callback", 404, 404, 404, 404, 404, 404, 404)
table("POST",   "api/auth/login",                    200, 200, 200, 200, 200, 200, 200, body=login)
# The refresh token in the body is the credential.
table("POST",   "api/auth/refresh",                  401, 200, 200, 200, 200, 200, 200, body=own_refresh_token)
table("POST",   "api/auth/logout",                   401, 204, 204, 204, 204, 204, 204, body=own_refresh_token)
table("POST",   "api/auth/logout",                   204, 204, 401, 401, 401, 401, 401, body=patients_refresh_token,
      note="with the patient's token")
table("GET",    "api/auth/me",                       401, 200, 200, 200, 200, 200, 200)
table("POST",   "api/auth/password",                 401, 204, 204, 204, 204, 204, 204, body=new_password)

table("GET",    "api/accounts",                      401, 403, 403, 403, 403, 403, 200)
table("POST",   "api/accounts",                      401, 403, 403, 403, 403, 403, 201, body=account)
table("GET",    "api/accounts/{id}",                 401, 403, 403, 403, 403, 403, 200, of=the_account)
table("PATCH",  "api/accounts/{id}",                 401, 403, 403, 403, 403, 403, 200, of=the_account,
      body=always({"is_active": False}))

table("GET",    "api/patients",                      401, 403, 403, 200, 200, 403, 200)
table("POST",   "api/patients",                      401, 403, 403, 403, 403, 403, 201,
      body=always({"name": "Lin Tao"}))
table("GET",    "api/patients/{id}",                 401, 200, 404, 200, 200, 403, 200, of=the_patient)
table("PATCH",  "api/patients/{id}",                 401, 200, 404, 403, 403, 403, 200, of=the_patient,
      body=always({"phone": "+41 44 123 45 67"}))
table("PATCH",  "api/patients/{id}",                 401, 400, 404, 403, 403, 403, 200, of=the_patient,
      body=always({"diseases": ["Asthma"]}), note="diseases")
table("DELETE", "api/patients/{id}",                 401, 403, 403, 403, 403, 403, 204, of=the_patient)

table("GET",    "api/doctors",                       401, 200, 200, 200, 200, 403, 200)
table("POST",   "api/doctors",                       401, 403, 403, 403, 403, 403, 201,
      body=always({"name": "Lin Tao", "specialty": "Neurology"}))
table("GET",    "api/doctors/{id}",                  401, 200, 200, 200, 200, 403, 200, of=the_doctor)
# Another doctor may see the row and not change it: 403.
table("PATCH",  "api/doctors/{id}",                  401, 403, 403, 200, 403, 403, 200, of=the_doctor,
      body=always({"accepting_patients": False}))
table("PATCH",  "api/doctors/{id}",                  401, 403, 403, 400, 403, 403, 200, of=the_doctor,
      body=always({"user_id": None}), note="account")
table("DELETE", "api/doctors/{id}",                  401, 403, 403, 403, 403, 403, 204, of=the_doctor)
table("GET",    "api/doctors/{id}/slots",            401, 200, 200, 200, 200, 403, 200, of=the_doctor)

table("GET",    "api/appointments",                  401, 200, 200, 200, 200, 403, 200)
table("POST",   "api/appointments",                  401, 201, 403, 201, 403, 403, 201, body=visit)
table("GET",    "api/appointments/{id}",             401, 200, 404, 200, 404, 403, 200, of=an_appointment)
table("PATCH",  "api/appointments/{id}",             401, 200, 404, 200, 404, 403, 200, of=an_appointment,
      body=always({"time": "11:00"}), note="move")
table("PATCH",  "api/appointments/{id}",             401, 200, 404, 200, 404, 403, 200, of=an_appointment,
      body=always({"status": "cancelled"}), note="cancel")
table("PATCH",  "api/appointments/{id}",             401, 403, 404, 200, 404, 403, 200, of=an_appointment,
      body=always({"status": "completed"}), note="complete")
table("DELETE", "api/appointments/{id}",             401, 204, 404, 403, 403, 403, 204, of=an_appointment)

table("GET",    "api/prescriptions",                 401, 200, 200, 200, 200, 403, 200)
table("POST",   "api/prescriptions",                 401, 403, 403, 201, 201, 403, 403, body=prescription)
table("POST",   "api/prescriptions",                 401, 403, 403, 201, 403, 403, 403,
      body=lambda people, actor: {**prescription(people, actor), "doctor_id": "D1"}, note="as the doctor")
table("GET",    "api/prescriptions/{id}",            401, 200, 404, 200, 200, 403, 200, of=a_prescription)
# Another doctor may see the row and not change it: 403.
table("PATCH",  "api/prescriptions/{id}",            401, 403, 403, 200, 403, 403, 200, of=a_prescription,
      body=always({"duration_days": 5}))
table("DELETE", "api/prescriptions/{id}",            401, 403, 403, 204, 403, 403, 204, of=a_prescription)

table("GET",    "api/billing",                       401, 200, 200, 403, 403, 403, 200)
table("POST",   "api/billing",                       401, 403, 403, 403, 403, 403, 201, body=bill)
table("GET",    "api/billing/{id}",                  401, 200, 404, 403, 403, 403, 200, of=a_bill)
table("PATCH",  "api/billing/{id}",                  401, 403, 403, 403, 403, 403, 200, of=a_bill,
      body=always({"status": "paid"}))
table("DELETE", "api/billing/{id}",                  401, 403, 403, 403, 403, 403, 204, of=a_bill)

table("GET",    "api/audit",                         401, 403, 403, 403, 403, 403, 200)
table("GET",    "api/patients/{id}/access-log",      401, 200, 404, 403, 403, 403, 200, of=the_patient)

for name in NAMES:
    table("GET", f"api/reports/{name}",              401, 403, 403, 200, 200, 403, 200)

# fmt: on
#: Pages outside of the API: login for browsers, the admin site, the last pattern under /api, and the metrics. They have
#: tests of their own (tests/operations/test_metrics.py, tests/security).
NOT_OF_THE_API = ("session/", "admin/", "api/", "metrics")

ROWS = table.rows
PATHS = sorted({row.path for row in ROWS})
CELLS = [pytest.param(row, actor, id=f"{row} by {actor}") for row in ROWS for actor in ACTORS]


def plain(route: str) -> str:
    """Return a route in short form: `api/patients/{id}` for `api/patients/<str:patient_id>`."""
    return re.sub(r"<[^>]+>", "{id}", route.replace("^", "").replace("$", ""))


def routed_methods() -> Iterator[tuple[str, str]]:
    for route, view, actions in api_actions():
        if "format" in route:  # the same endpoint with a format ending: tests/reports
            continue
        methods = actions or [name for name in view.http_method_names if hasattr(view, name)]
        for method in methods:
            if method not in ("head", "options"):
                yield plain(route), method.upper()


def other_routes(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[str]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from other_routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and not hasattr(pattern.callback, "cls"):
            yield plain(path)


def send(client: APIClient, row: Row, people: People, actor: str) -> tuple[Any, set[str], list[AuditEntry]]:
    """Create the records, send the request, and return the response, the changed tables and the audit entries."""
    key = row.of(people) if row.of else MISSING
    body = row.body(people, actor) if row.body else None
    before = everything()
    with recording() as made:
        response = client.generic(
            row.method,
            "/" + row.path.replace("{id}", str(key)),
            data=json.dumps(body) if body is not None else "",
            content_type="application/json" if body is not None else "application/octet-stream",
        )
    return response, changed(before, everything()), made.entries


def test_every_route_has_a_row():
    routed = set(routed_methods())
    assert ("api/patients/{id}", "PATCH") in routed
    assert routed == {(row.path, row.method) for row in ROWS}


def test_every_row_has_its_audit_entries():
    assert set(EXPECTED) == {str(row) for row in ROWS}


def test_pages_that_are_not_endpoints_are_listed():
    strangers = [path for path in other_routes() if not path.startswith(NOT_OF_THE_API)]
    assert strangers == [""]  # the redirect from / to the API
    # One pattern under /api is not an endpoint: it answers 404 to every path that no other pattern matches.
    assert [path for path in other_routes() if path.startswith("api")] == ["api/"]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_row_is_allowed_to_somebody(row: Row):
    """If no actor were allowed, an error in the body could be mistaken for a denial."""
    assert row.path.startswith("api/auth/oauth/") or any(status < 300 for status in row.statuses)


@pytest.mark.parametrize(("row", "actor"), CELLS)
def test_cell(people: People, row: Row, actor: str):
    """Compare the response, the changes in both databases and the audit entries with the tables."""
    expected = row.statuses[ACTORS.index(actor)]
    response, touched, entries = send(people.client(actor), row, people, actor)
    assert response.status_code == expected, response.content
    if expected >= 400:
        assert touched == set()
        assert response["Content-Type"] == "application/problem+json"
        assert response.json()["status"] == expected
    elif row.method != "GET":
        assert touched
    assert ("WWW-Authenticate" in response) == (expected == 401)
    assert described(entries) == expected_entries(row, actor, expected, people, response)
    for entry in entries:
        assert (entry.channel, entry.address, entry.request_id) == ("api", "127.0.0.1", response["X-Request-ID"])
        assert (entry.reason is None) == (entry.outcome == "success")
        assert entry.subject or "{id}" not in row.path


@pytest.mark.parametrize("actor", ACTORS)
def test_other_methods_are_for_nobody(people: People, actor: str):
    client = people.client(actor)
    keys = {
        "api/accounts/{id}": the_account(people),
        "api/patients/{id}": the_patient(people),
        "api/patients/{id}/access-log": the_patient(people),
        "api/doctors/{id}": the_doctor(people),
        "api/appointments/{id}": an_appointment(people),
        "api/prescriptions/{id}": a_prescription(people),
        "api/billing/{id}": a_bill(people),
    }
    before = everything()
    for path in [path for path in PATHS if path.startswith("api")]:
        others = [method for method in METHODS if method not in table.methods_of(path)]
        assert "PUT" in others
        for method in others:
            url = "/" + path.replace("{id}", str(keys.get(path)))
            response = client.generic(method, url, data="{}", content_type="application/json")
            assert response.status_code == 405, (method, path, response.content)
            assert response["Content-Type"] == "application/problem+json"
            assert set(response["Allow"].split(", ")) - {"HEAD"} == table.methods_of(path)
    assert changed(before, everything()) == set()


SEES = {
    "patients": {"doctor": "P1 P2", "other_doctor": "P1 P2", "admin": "P1 P2"},
    "doctors": dict.fromkeys(("patient", "other_patient", "doctor", "other_doctor", "admin"), "D1 D2"),
    "appointments": {
        "patient": "A1 A2", "other_patient": "A3", "doctor": "A1 A3", "other_doctor": "A2", "admin": "A1 A2 A3",
    },
    "prescriptions": {
        "patient": "P1/D1 P1/D2", "other_patient": "P2/D1", "doctor": "P1/D1 P1/D2 P2/D1",
        "other_doctor": "P1/D1 P1/D2 P2/D1", "admin": "P1/D1 P1/D2 P2/D1",
    },
    "billing": {"patient": "P1/80.00", "other_patient": "P2/90.00", "admin": "P1/80.00 P2/90.00"},
}  # fmt: skip


@pytest.mark.parametrize(("resource", "actor"), [(name, actor) for name, who in SEES.items() for actor in who])
def test_lists_hold_what_the_actor_may_see(people: People, resource: str, actor: str):
    for key, patient_id, doctor_id, time in [
        ("A1", "P1", "D1", "09:00"),
        ("A2", "P1", "D2", "10:00"),
        ("A3", "P2", "D1", "11:00"),
    ]:
        make_appointment(people, appointment_id=key, patient_id=patient_id, doctor_id=doctor_id, time=time)
        make_prescription(people, patient_id=patient_id, doctor_id=doctor_id)
    make_bill(people)
    make_bill(people, patient_id="P2", total_cost=90)
    rows = people.client(actor).get(f"/api/{resource}").json()["results"]
    if resource in ("prescriptions", "billing"):
        seen = {f"{row['patient_id']}/{row.get('doctor_id') or row['total_cost']}" for row in rows}
    else:
        seen = {row[f"{resource.removesuffix('s')}_id"] for row in rows}
    assert seen == set(SEES[resource][actor].split())
    assert len(rows) == len(seen)


def test_account_without_a_record_owns_nothing(people: People):
    """The account sees no rows, not even rows without an id: a missing record must not match a missing id."""
    make_patient(people.admin, "P3")
    make_appointment(people)
    make_prescription(people)
    make_bill(people)
    # No service would write this row.
    for name in ("appointments", "prescriptions"):
        documents = clinical_database()[name]
        stored = documents.find_one({})
        assert stored
        stray = stored | {"_id": ObjectId() if name == "prescriptions" else "A0"}
        documents.insert_one(stray | {"patient_id": None, "doctor_id": None})
    for record in (people.patient_record, people.doctor_record):
        type(record).objects.filter(pk=record.pk).update(user_id=None)
    for actor, resources in {
        "patient": ("appointments", "prescriptions", "billing"),
        "doctor": ("appointments",),
    }.items():
        for resource in resources:
            answer = people.client(actor).get(f"/api/{resource}")
            assert (answer.status_code, answer.json()["results"]) == (200, [])
    assert people.client("patient").get("/api/patients/P1").status_code == 404
    assert people.client("doctor").patch("/api/doctors/D1", {"name": "X"}, format="json").status_code == 403

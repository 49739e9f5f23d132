"""Rules of every endpoint: errors are problem details, and bodies and query strings are validated strictly.

The endpoints come from the routes, their fields from the serializers, so a new one is tried without being listed here.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from rest_framework import serializers
from rest_framework.test import APIClient

from accounts import tokens
from appointments.serializers import AppointmentIn
from appointments.views import AppointmentViewSet
from doctors.serializers import DoctorIn
from healthcare.api.checks import api_actions
from healthcare.api.fields import Boolean, Integer, Money, StrictList
from healthcare.api.serializers import StrictSerializer
from healthcare.mongodb import transactions
from healthcare.mongodb.base import clinical_connection
from healthcare.mongodb.transactions import ClinicalWriteFailed
from patients.serializers import PatientIn
from patients.views import PatientViewSet
from tests.people import PASSWORD, People
from tests.records import days_from_now, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

JSON = "application/json"


def send_bytes(client: Any, method: str, url: str, body: bytes, content_type: str) -> Any:
    return client.generic(method, url, data=body, content_type=content_type)


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """Require problem details (RFC 9457) as docs/api.md describes them, and return the body."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert body["type"]
    assert body["title"]
    assert body["detail"]
    for error in body["errors"]:
        assert set(error) == {"pointer", "code", "detail"}
        assert error["code"]
        assert error["detail"]
        assert error["pointer"] == "" or error["pointer"].startswith("/")
    return body


def pointers(body: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in body["errors"]]


# --- Request bodies --------------------------------------------------------------------------------------------------


class Endpoint(NamedTuple):
    """A write: method, URL, actor, and a body that is accepted."""

    method: str
    url: str
    actor: str
    body: dict[str, Any]


HOURS = {"weekday": 0, "start": "09:00", "end": "12:00", "slot_minutes": 20}
CLOSED = {"date": "2026-12-24", "start": "09:00", "end": "12:00", "closed": False}
PATIENT = {
    "name": "Lin Tao", "birth_date": "1980-02-29", "sex": "female", "diseases": ["Asthma"], "phone": "+41 44 123 45 67",
    "email": "lin@example.org", "address": "Hill 1\nBern", "national_id": "N7", "notes": "none", "user_id": None,
}  # fmt: skip
DOCTOR = {
    "name": "Lin Tao", "specialty": "Neurology", "availability": [HOURS], "exceptions": [CLOSED],
    "accepting_patients": True, "time_zone": "Europe/Zurich", "user_id": None,
}  # fmt: skip
PRESCRIPTION = {
    "drug": "Amoxicillin", "dosage": "500mg", "frequency": "BID", "cost": "12.50", "disease": "Asthma",
    "appointment_id": "A1", "start_date": "2025-09-12", "duration_days": 5, "instructions": "with food",
}  # fmt: skip
BILL = {"total_cost": "12.50", "appointment_id": "A1", "disease": "Asthma", "status": "open"}
VISIT = {"date": str(days_from_now(9)), "time": "09:30", "duration_minutes": 30, "disease": "Asthma"}


def endpoints(people: People) -> dict[tuple[str, str], Endpoint]:
    """Return (view, action) → endpoint. The appointment A1 must exist."""
    refresh = tokens.start_family(people.patient)["refresh_token"]
    prescription, bill = make_prescription(people), make_bill(people)
    accounts = f"/api/accounts/{people.other_patient.pk}"
    new = {"email": "new@example.org", "password": "an uncommon phrase", "name": "Lin Tao"}
    login = {"password": PASSWORD, "code": "123456"}
    profile = {name: PATIENT[name] for name in ("birth_date", "sex", "phone", "address")}
    found = {
        ("AuthViewSet", "login"): ("POST", "/api/auth/login", "anonymous", {"email": "a@b.org", **login}),
        ("AuthViewSet", "refresh"): ("POST", "/api/auth/refresh", "anonymous", {"refresh_token": refresh}),
        ("AuthViewSet", "logout"): ("POST", "/api/auth/logout", "anonymous", {"refresh_token": refresh}),
        ("AuthViewSet", "password"): (
            "POST", "/api/auth/password", "staff", {"current_password": PASSWORD, "new_password": "an uncommon phrase"},
        ),
        ("AccountViewSet", "create"): ("POST", "/api/accounts", "admin", {**new, "role": "staff"}),
        ("AccountViewSet", "partial_update"): ("PATCH", accounts, "admin", {"is_active": True, "role": "patient"}),
        ("RegistrationViewSet", "register"): ("POST", "/api/auth/register", "anonymous", {**new, **profile, "age": 46}),
        ("PatientViewSet", "create"): ("POST", "/api/patients", "admin", {**PATIENT, "patient_id": "P9", "age": 46}),
        ("PatientViewSet", "partial_update"): ("PATCH", "/api/patients/P2", "admin", {**PATIENT, "age": 46}),
        ("DoctorViewSet", "create"): ("POST", "/api/doctors", "admin", {**DOCTOR, "doctor_id": "D9"}),
        ("DoctorViewSet", "partial_update"): ("PATCH", "/api/doctors/D2", "admin", DOCTOR),
        ("AppointmentViewSet", "create"): (
            "POST", "/api/appointments", "admin",
            {**VISIT, "patient_id": "P1", "doctor_id": "D1", "appointment_id": "A9", "status": "scheduled"},
        ),
        ("AppointmentViewSet", "partial_update"): (
            "PATCH", "/api/appointments/A1", "admin", {**VISIT, "status": "scheduled"},
        ),
        ("PrescriptionViewSet", "create"): (
            "POST", "/api/prescriptions", "doctor", {**PRESCRIPTION, "patient_id": "P1", "doctor_id": "D1"},
        ),
        ("PrescriptionViewSet", "partial_update"): (
            "PATCH", f"/api/prescriptions/{prescription.pk}", "doctor", PRESCRIPTION,
        ),
        ("BillViewSet", "create"): ("POST", "/api/billing", "admin", {**BILL, "patient_id": "P1"}),
        ("BillViewSet", "partial_update"): ("PATCH", f"/api/billing/{bill.pk}", "admin", BILL),
    }  # fmt: skip
    return {which: Endpoint(*endpoint) for which, endpoint in found.items()}


def bodies() -> Iterator[tuple[str, str, type[serializers.Serializer]]]:
    """Yield (view, action, serializer) for every routed action with a request body."""
    for path, view, actions in api_actions():
        if path.startswith("api/"):
            for method, action in actions.items():
                if method in ("post", "put", "patch"):
                    yield view.__name__, action, view.request_serializers[action]


BODIES = list(bodies())
each_body = pytest.mark.parametrize(
    ("view", "action", "form"), [pytest.param(*body, id=f"{body[0]}.{body[1]}") for body in BODIES]
)

HUGE = "x" * 100_000
#: Values of every JSON type, and strings that no field accepts.
VALUES: dict[str, Any] = {
    "object": {}, "an object": {"a": 1}, "array": [], "array of arrays": [[]], "array of null": [None], "number": 7.25,
    "whole number": 3, "negative": -1, "huge number": 10**30, "exponent": 1e300, "true": True, "false": False,
    "huge string": HUGE, "empty string": "", "blank": "  \t ", "control characters": "a\x00b", "escape": "a\x1bb",
    "null": None, "not a number": "NaN", "date": "2025-02-30", "markup": "<script>alert(1)</script>",
    "operator": {"$gt": ""},
}  # fmt: skip


def is_new_id(form: serializers.Serializer, name: str) -> bool:
    """Return whether the field sets the id of a new record. In other bodies such a field names an existing one."""
    return (type(form), name) in {(PatientIn, "patient_id"), (DoctorIn, "doctor_id"), (AppointmentIn, "appointment_id")}


def is_taken(form: serializers.Serializer, name: str, kind: str) -> bool:
    """Return whether the documentation says that the field accepts such a value."""
    field, value = form.fields[name], VALUES[kind]
    if value is None:
        return field.allow_null
    if isinstance(field, Boolean):
        return isinstance(value, bool)
    if isinstance(field, Money):
        return kind in ("number", "whole number")
    if isinstance(field, Integer):
        # 3 is not a multiple of 5 minutes, not the age of the fixture's patients, and not the number of an account.
        return kind == "whole number" and name == "duration_days"
    if isinstance(field, StrictList):
        return kind == "array"
    if kind == "empty string":
        return getattr(field, "allow_blank", False)
    if name in ("patient_id", "doctor_id", "appointment_id") and kind in ("not a number", "date"):
        return is_new_id(form, name)
    if name in ("password", "new_password"):
        return kind == "markup"
    if name == "phone":
        return kind == "date"  # Digits and hyphens are what numbers are made of.
    free = ("name", "specialty", "drug", "disease", "address", "national_id", "notes", "instructions")
    return name in free and kind in ("not a number", "date", "markup")


def send(client: APIClient, endpoint: Endpoint, body: Any) -> Any:
    return client.generic(endpoint.method, endpoint.url, data=json.dumps(body), content_type=JSON)


def test_every_body_is_tried():
    assert {(view, action) for view, action, _ in BODIES} >= {
        ("PatientViewSet", "partial_update"),
        ("BillViewSet", "create"),
    }


@each_body
def test_every_field_takes_its_own_type_only(people: People, view: str, action: str, form: type[StrictSerializer]):
    make_appointment(people, appointment_id="A1")
    endpoint = endpoints(people)[view, action]
    shape = form(partial=endpoint.method == "PATCH")
    assert set(endpoint.body) == set(shape.fields), "the body of the fixture has every field"
    client = people.client(endpoint.actor)
    before = everything()
    for name in shape.fields:
        for kind, value in VALUES.items():
            if is_taken(shape, name, kind):
                continue
            response = send(client, endpoint, {**endpoint.body, name: value})
            context = (name, kind, response.content)
            if action in ("login", "refresh", "logout") and response.status_code == 401:
                continue
            if (view, action, name) == ("PrescriptionViewSet", "create", "doctor_id") and response.status_code == 403:
                continue  # A doctor who names another doctor is refused, whether that doctor exists or not.
            assert response.status_code == 400, context
            body = assert_problem(response, 400)
            assert any(pointer == f"/{name}" or pointer.startswith(f"/{name}/") for pointer in pointers(body)), context
            assert HUGE not in response.content.decode()
    assert changed(before, everything()) == set()


@each_body
def test_every_field_takes_what_is_documented(people: People, view: str, action: str, form: type[StrictSerializer]):
    make_appointment(people, appointment_id="A1")
    endpoint = endpoints(people)[view, action]
    shape = form(partial=endpoint.method == "PATCH")
    client = people.client(endpoint.actor)
    tried = 0
    for name in shape.fields:
        for kind, value in VALUES.items():
            if not is_taken(shape, name, kind) or action in ("login", "refresh", "logout", "password"):
                continue
            body = {**endpoint.body, name: value}
            # Each request creates a record, and an age must fit the birth date.
            if is_new_id(shape, name) and view == "PatientViewSet":
                body["email"] = None
            for key, fresh in {"email": f"n{tried}@example.org", "patient_id": f"P1{tried}"}.items():
                if endpoint.method == "POST" and name != key and (key, view) in (
                    ("email", "AccountViewSet"), ("email", "RegistrationViewSet"), ("patient_id", "PatientViewSet"),
                ):  # fmt: skip
                    body[key] = fresh
            if view == "DoctorViewSet" and endpoint.method == "POST" and name != "doctor_id":
                body["doctor_id"] = f"D1{tried}"
            if view == "AppointmentViewSet" and endpoint.method == "POST":
                body["date"] = str(days_from_now(10 + tried))
                if name != "appointment_id":
                    body["appointment_id"] = f"A1{tried}"
            if name == "birth_date":
                body.pop("age")
            response = send(client, endpoint, body)
            assert response.status_code in (200, 201), (name, kind, response.content)
            tried += 1
            answered = response.json()
            if name in answered and name != "status":
                assert answered[name] == ("3.00" if kind == "whole number" and name in ("cost", "total_cost") else
                                          "7.25" if kind == "number" else value)  # fmt: skip


@each_body
def test_unknown_fields_are_refused(people: People, view: str, action: str, form: type[StrictSerializer]):
    make_appointment(people, appointment_id="A1")
    endpoint = endpoints(people)[view, action]
    client = people.client(endpoint.actor)
    before = everything()
    for name in ("foo", "id", "_id", "is_superuser", "created_at", "a/b~c", "", "\u0661", "x" * 5_000, "$set"):
        body = assert_problem(send(client, endpoint, {**endpoint.body, name: 1}), 400)
        assert pointers(body) == ["/" + name[:100].replace("~", "~0").replace("/", "~1")]
    assert changed(before, everything()) == set()


@each_body
def test_every_wrong_value_is_named_at_once(people: People, view: str, action: str, form: type[StrictSerializer]):
    make_appointment(people, appointment_id="A1")
    endpoint = endpoints(people)[view, action]
    wrong = {name: {"an": "object"} for name in endpoint.body}
    body = assert_problem(send(people.client(endpoint.actor), endpoint, {**wrong, "foo": 1}), 400)
    assert set(pointers(body)) == {f"/{name}" for name in [*wrong, "foo"]}


@each_body
def test_body_has_to_be_an_object(people: People, view: str, action: str, form: type[StrictSerializer]):
    make_appointment(people, appointment_id="A1")
    endpoint = endpoints(people)[view, action]
    client = people.client(endpoint.actor)
    for raw in (b"[]", b'"text"', b"7", b"null", b"true", b"[{}]"):
        response = send_bytes(client, endpoint.method, endpoint.url, raw, JSON)
        assert pointers(assert_problem(response, 400)) == [""], raw


MALFORMED = {
    "nothing": b"",
    "broken": b'{"name": "Lin',
    "more than one": b'{"name": "Lin"} {}',
    "comma at the end": b'{"name": "Lin",}',
    "single quotes": b"{'name': 'Lin'}",
    "NaN": b'{"name": "Lin", "age": NaN}',
    "Infinity": b'{"name": "Lin", "age": -Infinity}',
    "lone surrogate": b'{"name": "\\ud800"}',
    "lone surrogate in a key": b'{"name": "Lin", "\\udc00": 1}',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "Lin"}'.encode("utf-16"),
    "control character": b'{"name": "a\x01b"}',
    "nested": b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested in a broken way": b"[" * 500_000,
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_malformed_bodies(people: People, raw: bytes):
    admin = people.client("admin")
    before = everything()
    for method, url in (("POST", "/api/patients"), ("PATCH", "/api/patients/P1"), ("POST", "/api/auth/login")):
        body = assert_problem(send_bytes(admin, method, url, raw, JSON), 400)
        assert "Traceback" not in body["detail"]
    assert changed(before, everything()) == set()


def test_depth_is_bounded(people: People):
    """A body may have 20 levels, the object included. A deeper one is rejected before its fields are validated."""
    admin = people.client("admin")
    for levels, expected in ((19, ["/name"]), (20, [""])):
        raw = b'{"name": ' + b"[" * levels + b"]" * levels + b"}"
        response = send_bytes(admin, "POST", "/api/patients", raw, JSON)
        assert pointers(assert_problem(response, 400)) == expected


@pytest.mark.parametrize("key", ["name", "patient_id"])
def test_a_key_given_twice_counts_once(people: People, key: str):
    """RFC 8259 does not define duplicate keys: the last one counts, and nothing of the first is stored."""
    raw = b'{"patient_id": "P8", "name": "A", "%s": "P9"}' % key.encode()
    response = send_bytes(people.client("admin"), "POST", "/api/patients", raw, JSON)
    assert response.status_code == 201
    assert response.json()[key] == "P9"


@pytest.mark.parametrize("size", [1_048_577, 10_000_000])
@pytest.mark.parametrize("actor", ["anonymous", "admin"])
def test_large_bodies(people: People, size: int, actor: str):
    client = people.client(actor)
    before = everything()
    raw = b'{"name": "' + b"x" * size + b'"}'
    assert_problem(send_bytes(client, "POST", "/api/auth/register", raw, JSON), 413)
    if actor == "admin":
        assert_problem(send_bytes(client, "POST", "/api/patients", raw, JSON), 413)
        assert_problem(send_bytes(client, "PATCH", "/api/patients/P1", raw, JSON), 413)
    assert changed(before, everything()) == set()


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "", "x"],
)
def test_other_media_types(people: People, content_type: str):
    admin = people.client("admin")
    before = everything()
    response = send_bytes(admin, "POST", "/api/patients", b"name=Lin", content_type)
    assert_problem(response, 415)
    assert changed(before, everything()) == set()


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_by_any_name(people: People, content_type: str):
    raw = '{"name": "Zoë 李"}'.encode()
    response = send_bytes(people.client("admin"), "POST", "/api/patients", raw, content_type)
    assert response.status_code == 201
    assert response.json()["name"] == "Zoë 李"


@pytest.mark.parametrize("accept", ["application/xml", "text/csv", "image/png", "application/problem+xml"])
def test_not_acceptable(people: People, accept: str):
    assert_problem(people.client("admin").get("/api/patients", HTTP_ACCEPT=accept), 406)


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/*", "text/csv, application/json;q=0.5"])
def test_acceptable(people: People, accept: str):
    response = people.client("admin").get("/api/patients", HTTP_ACCEPT=accept)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"


# --- Paths -----------------------------------------------------------------------------------------------------------

UNKNOWN_PATHS = [
    "/api/", "/api/nothing", "/api/nothing/", "/api/patients/P1/nothing", "/api/patients//", "/api//patients",
    "/api/auth", "/api/auth/nothing", "/api/Patients", "/api/patients.json", "/api/patients/P1.json/x",
    "/api/%00", "/api/patients/P1/%2e%2e/P2", "/api/\u00e9", "/api/patients/P1%0a/x",
]  # fmt: skip


@pytest.mark.parametrize("path", UNKNOWN_PATHS[1:])
def test_unknown_paths(people: People, path: str):
    for actor in ("anonymous", "admin"):
        for method in ("get", "post", "put", "patch", "delete", "options"):
            assert_problem(getattr(people.client(actor), method)(path), 404)
    # Django's CSRF check, which precedes a plain view, would answer with an HTML page.
    assert_problem(APIClient(enforce_csrf_checks=True).post(path), 404)


ODD_KEYS = [
    "nobody", "P1%00", "%00", "P1%0a", "%20P1", "P1%20", "p1", "P1;", "P1%27", "%22", "$ne", "%7B%22$ne%22:1%7D", "P1*",
    "\u00e9", "%ff", "\U0001f600", "..", ".", "P1,P2", "x" * 64, "x" * 65, "x" * 5_000, "P%2F1", "%252f", "-1", "0",
    "9" * 18, "9" * 19, "9" * 5_000, "1e3", "1.0", "\u0661", "None", "null", "undefined", "{id}", "0x1", "+1", "01",
    # pragma: allowlist nextline secret
    "507f1f77bcf86cd799439011", "507F1F77BCF86CD799439011", "507f1f77bcf86cd79943901z", "123456789012",
]  # fmt: skip


@pytest.mark.parametrize("name", ["patients", "doctors", "appointments", "prescriptions", "billing", "accounts"])
def test_odd_keys_are_not_found(people: People, name: str):
    make_appointment(people)
    make_prescription(people)
    make_bill(people)
    admin = people.client("admin")
    before = everything()
    for key in ODD_KEYS:
        for slash in ("", "/"):
            response = admin.get(f"/api/{name}/{key}{slash}")
            assert response.status_code == 404, (key, response.content)
            assert_problem(response, 404)
    for method, body in (("patch", {"name": "Lin"}), ("delete", None)):
        for key in ODD_KEYS:
            if method == "delete" and name == "accounts":
                continue
            response = getattr(admin, method)(f"/api/{name}/{key}", body, format="json")
            assert response.status_code in (400, 404) if method == "patch" else response.status_code == 404, (
                key,
                method,
            )
    assert changed(before, everything()) == set()


def test_prescription_is_found_by_its_id_however_it_is_spelled(people: People):
    prescription = make_prescription(people)
    assert people.client("admin").get(f"/api/prescriptions/{prescription.pk}").status_code == 200


@pytest.mark.parametrize("key", ["P.1", "P_1", "P-1", "1", "a.b.c", "P1.json", "x" * 64, "0._-", "P1."])
def test_every_id_that_is_taken_is_found(people: People, key: str):
    admin = people.client("admin")
    assert admin.post("/api/patients", {"name": "Lin", "patient_id": key}, format="json").status_code == 201
    assert (
        admin.post("/api/doctors", {"name": "L", "specialty": "x", "doctor_id": key}, format="json").status_code == 201
    )
    visit = {"patient_id": key, "doctor_id": key, "date": "2025-09-12", "appointment_id": key}
    assert admin.post("/api/appointments", visit, format="json").status_code == 201
    for name in ("patients", "doctors", "appointments"):
        for slash in ("", "/"):
            response = admin.get(f"/api/{name}/{key}{slash}")
            assert response.status_code == 200
            assert key in response.json().values()
    for name in ("appointments", "patients", "doctors"):
        assert admin.delete(f"/api/{name}/{key}/").status_code == 204


@pytest.mark.parametrize("name", ["patients", "doctors", "appointments", "prescriptions", "billing", "accounts"])
def test_with_and_without_a_slash(people: People, name: str):
    make_appointment(people)
    make_prescription(people)
    make_bill(people)
    admin = people.client("admin")
    without, with_slash = admin.get(f"/api/{name}"), admin.get(f"/api/{name}/")
    assert (without.status_code, with_slash.status_code) == (200, 200)
    assert without.json()["results"] == with_slash.json()["results"] != []
    key = next(iter(without.json()["results"][0].values()))
    assert admin.get(f"/api/{name}/{key}").json() == admin.get(f"/api/{name}/{key}/").json()


def test_writes_with_a_slash(people: People):
    admin = people.client("admin")
    assert admin.post("/api/patients/", {"name": "Lin", "patient_id": "P9"}, format="json").status_code == 201
    assert admin.patch("/api/patients/P9/", {"name": "Tao"}, format="json").json()["name"] == "Tao"
    assert admin.delete("/api/patients/P9/").status_code == 204
    login = {"email": "admin@example.org", "password": PASSWORD}
    assert people.client("anonymous").post("/api/auth/login/", login, format="json").status_code == 200


@pytest.mark.parametrize(
    "path", ["/api", "/api/patients", "/api/patients/P1", "/api/doctors?available=true", "/api/auth/me", "/api/billing"]
)
def test_head(people: People, path: str):
    admin = people.client("admin")
    head, get = admin.head(path), admin.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head["Content-Type"] == get["Content-Type"]
    assert people.client("anonymous").head(path).status_code == (200 if path == "/api" else 401)


# --- Query strings ---------------------------------------------------------------------------------------------------

LISTS = ["patients", "doctors", "appointments", "prescriptions", "billing", "accounts"]


def queries() -> Iterator[tuple[str, str, serializers.Field]]:
    """Yield (list, parameter, field) for every filter of a list."""
    for path, view, actions in api_actions():
        if path.startswith("api/") and actions.get("get") == "list":
            for name, field in view.query_serializers["list"]().fields.items():
                yield path.removeprefix("api/"), name, field


PARAMETERS = [pytest.param(*query, id=f"{query[0]}?{query[1]}") for query in queries()]
BAD_DATES = [
    "2025-02-30", "2025-13-01", "2025-9-1", "20250912", "2025-09-12T00:00", "2025-09-12T00:00:00Z", "0001-01-01",
    "9999-12-31", "2025-09-12 ", "today", "", "0", "2025-W37-5", "2025-255", "12.09.2025", "2025/09/12", "-2025-09-12",
    "\u0662\u0660\u0662\u0665-09-12", "2025-00-10", "2025-01-00", "2023-02-29", "1879-12-31", "2200-01-01",
]  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_unknown_parameters(people: People, name: str):
    admin = people.client("admin")
    for query in (
        "foo=1", "page=2", "offset=3", "limit=5", "ordering=name", "id=1", "name__regex=.*", "Search=x", "%00=1", "=1",
    ):  # fmt: skip
        body = assert_problem(admin.get(f"/api/{name}?{query}"), 400)
        assert [error["code"] for error in body["errors"]] == ["unknown"], query


@pytest.mark.parametrize("path", ["/api", "/api/auth/me", "/api/patients/P1", "/api/doctors/D1"])
@pytest.mark.parametrize("query", ["foo=1", "page_size=5", "cursor=x"])
def test_parameters_that_nothing_reads(people: People, path: str, query: str):
    assert_problem(people.client("admin").get(f"{path}?{query}"), 400)


def test_parameters_of_writes_are_refused(people: People):
    admin = people.client("admin")
    before = everything()
    assert_problem(admin.post("/api/patients?dry_run=1", {"name": "Lin"}, format="json"), 400)
    assert_problem(admin.patch("/api/patients/P1?x=1", {"name": "Lin"}, format="json"), 400)
    assert_problem(admin.delete("/api/patients/P1?force=true"), 400)
    assert changed(before, everything()) == set()


def test_every_documented_filter_exists():
    assert {(name, parameter) for name, parameter, _ in queries()} >= {
        ("patients", "search"), ("patients", "disease"), ("patients", "national_id"), ("doctors", "specialty"),
        ("doctors", "available"), ("doctors", "search"), ("appointments", "doctor_id"), ("appointments", "patient_id"),
        ("appointments", "status"), ("appointments", "from"), ("appointments", "to"), ("prescriptions", "patient_id"),
        ("prescriptions", "doctor_id"), ("prescriptions", "disease"),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "parameter", "field"), PARAMETERS)
def test_repeated_parameters(people: People, name: str, parameter: str, field: serializers.Field):
    body = assert_problem(people.client("admin").get(f"/api/{name}?{parameter}=x&{parameter}=x"), 400)
    assert pointers(body) == [f"/{parameter}"]


@pytest.mark.parametrize(("name", "parameter", "field"), PARAMETERS)
def test_odd_values_of_filters(people: People, name: str, parameter: str, field: serializers.Field):
    """A bad value is answered 400; if the filter accepts any text, an unknown one gives an empty list."""
    admin = people.client("admin")
    make_appointment(people)
    make_prescription(people)
    make_bill(people)
    is_text = type(field).__name__ == "Text"
    for value in ("%00", "a%01b", "x" * 5_000, ""):
        assert_problem(admin.get(f"/api/{name}?{parameter}={value}"), 400)
    for value in (
        "nobody",
        "$ne",
        "%7B%22$ne%22:1%7D",
        ".*",
        "%27%20OR%201=1--",
        "*",
        "%25",
        "-x",
        "%22",
        "\U0001f600",
    ):
        response = admin.get(f"/api/{name}?{parameter}={value}")
        if is_text:
            assert (response.status_code, response.json()["results"]) == (200, []), value
        else:
            assert pointers(assert_problem(response, 400)) == [f"/{parameter}"]


@pytest.mark.parametrize("parameter", ["from", "to"])
def test_bad_dates_in_filters(people: People, parameter: str):
    admin = people.client("admin")
    for value in BAD_DATES:
        body = assert_problem(admin.get(f"/api/appointments?{parameter}={value}"), 400)
        assert pointers(body) == [f"/{parameter}"], value


def test_bad_dates_in_bodies(people: People):
    make_appointment(people, appointment_id="A1")
    admin, doctor = people.client("admin"), people.client("doctor")
    before = everything()
    for value in [*BAD_DATES, 20250912, None, [2025, 9, 12], 1757635200.0]:
        requests = [
            (admin.post, "/api/patients", {"name": "Lin", "birth_date": value}, "birth_date"),
            (admin.patch, "/api/patients/P1", {"birth_date": value}, "birth_date"),
            (admin.post, "/api/appointments", {"patient_id": "P1", "doctor_id": "D1", "date": value}, "date"),
            (admin.patch, "/api/appointments/A1", {"date": value}, "date"),
            (admin.patch, "/api/doctors/D1", {"exceptions": [{"date": value}]}, "exceptions/0/date"),
            (
                doctor.post,
                "/api/prescriptions",
                {**PRESCRIPTION, "patient_id": "P1", "start_date": value},
                "start_date",
            ),
        ]
        for ask, url, body, at in requests:
            if value is None and at == "birth_date":
                continue  # A birth date may be null, if nobody knows it.
            assert pointers(assert_problem(ask(url, body, format="json"), 400)) == [f"/{at}"], value
    assert changed(before, everything()) == set()


@pytest.mark.parametrize(
    "time",
    [
        "9:30",
        "24:00",
        "09:61",
        "0930",
        "09:30:00",
        "09:30Z",
        "",
        " 09:30",
        "09:31",
        "\u0660\u0669:30",
        930,
        True,
        [],
        {},
    ],
)
def test_bad_times(people: People, time: Any):  # fmt: skip
    admin = people.client("admin")
    before = everything()
    body = {"patient_id": "P1", "doctor_id": "D1", "date": "2025-09-12", "time": time}
    assert pointers(assert_problem(admin.post("/api/appointments", body, format="json"), 400)) == ["/time"]
    assert changed(before, everything()) == set()


@pytest.mark.parametrize("value", ["xml", "csv", "html", "JSON", "", "%00", "json%00"])
def test_bad_formats(people: People, value: str):
    for path in ("/api", "/api/patients", "/api/patients/P1", "/api/auth/me"):
        body = assert_problem(people.client("admin").get(f"{path}?format={value}"), 400)
        assert pointers(body) == ["/format"]


def test_format_that_is_there(people: People):
    for path in ("/api", "/api/patients", "/api/patients/P1"):
        assert people.client("admin").get(f"{path}?format=json")["Content-Type"] == "application/json"


def test_filters_of_foreign_and_unknown_ids_only_narrow(people: People):
    make_appointment(people)
    make_prescription(people)
    make_bill(people)
    asked = {
        "other_patient": ["appointments?patient_id=P1", "appointments?doctor_id=D1", "prescriptions?patient_id=P1",
                          "prescriptions?doctor_id=D1", "prescriptions?disease=Asthma", "billing?patient_id=P1"],
        "other_doctor": ["appointments?doctor_id=D1", "appointments?patient_id=P1"],
        "admin": ["appointments?patient_id=P0", "prescriptions?doctor_id=D0", "billing?patient_id=P0",
                  "billing?appointment_id=A0"],
    }  # fmt: skip
    for who, urls in asked.items():
        client = people.client(who)
        for url in urls:
            response = client.get(f"/api/{url}")
            assert (response.status_code, response.json()["results"]) == (200, []), (who, url)


# --- Errors of the server --------------------------------------------------------------------------------------------


def test_5xx_shows_no_internals(people: People, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def broken(*args: Any, **kwargs: Any) -> None:
        message = "secret of Ali Raza"
        raise RuntimeError(message)

    admin = people.client("admin")
    admin.raise_request_exception = False
    monkeypatch.setattr(PatientViewSet, "retrieve", broken)
    for headers in ({}, {"Accept": "text/html"}):
        response = admin.get("/api/patients/P1", headers=headers)
        assert response.status_code == 500
        for word in ("secret", "Ali", "RuntimeError", "raise ", "patients/views"):
            assert word not in response.content.decode()
    assert_problem(admin.get("/api/patients/P1"), 500)
    # The log has the traceback and the class without the message.
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.fixture
def mongodb_is_down(people: People, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace the connection's client by one whose server cannot be reached."""
    monkeypatch.setattr(transactions, "MAX_SECONDS", 0.2)  # 10 s, in which an election is over
    connection: Any = clinical_connection()
    kept = connection.connection, connection.database
    nobody = MongoClient[dict[str, Any]]("mongodb://127.0.0.1:9/?replicaSet=rs0", serverSelectionTimeoutMS=50)
    connection.connection, connection.database = nobody, nobody[connection.database.name]
    yield
    nobody.close()
    connection.connection, connection.database = kept


def assert_unavailable(response: Any) -> None:
    body = assert_problem(response, 503)
    assert int(response["Retry-After"]) > 0
    assert "127.0.0.1" not in json.dumps(body)


def test_mongodb_outage(people: People, mongodb_is_down: None):
    admin = people.client("admin")
    admin.raise_request_exception = False
    assert_unavailable(admin.get("/api/patients"))
    assert_unavailable(admin.get("/api/patients/P1"))
    assert_unavailable(admin.post("/api/patients", {"name": "Lin"}, format="json"))
    assert_unavailable(admin.post("/api/billing", {"patient_id": "P1", "total_cost": 1}, format="json"))
    # Endpoints without MongoDB still work.
    login = {"email": "admin@example.org", "password": PASSWORD}
    assert people.client("anonymous").post("/api/auth/login", login, format="json").status_code == 200
    assert admin.get("/api/billing").status_code == 200


def test_postgresql_outage(people: People, monkeypatch: pytest.MonkeyPatch):
    """The driver raises the error of psycopg for a server that has gone away."""
    admin = people.client("admin")
    admin.raise_request_exception = False

    def gone(*args: Any, **kwargs: Any) -> None:
        message = "server closed the connection unexpectedly at 10.0.0.7"
        raise psycopg.OperationalError(message)

    monkeypatch.setattr(psycopg.Cursor, "execute", gone)
    monkeypatch.setattr(psycopg.ClientCursor, "execute", gone, raising=False)
    responses = [
        admin.get("/api/billing"),
        admin.get("/api/patients/P1"),
        admin.post("/api/auth/login", {"email": "a@example.org", "password": PASSWORD}, format="json"),
    ]
    monkeypatch.undo()
    for response in responses:
        assert_unavailable(response)
        assert b"10.0.0.7" not in response.content


def test_write_that_stays_in_conflict_is_unavailable(people: People, monkeypatch: pytest.MonkeyPatch):

    def failed(*args: Any, **kwargs: Any) -> None:
        raise ClinicalWriteFailed(
            attempts=50, elapsed_seconds=10, cause=OperationFailure("E"), is_outcome_unknown=False
        )

    monkeypatch.setattr(AppointmentViewSet, "create", failed)
    admin = people.client("admin")
    admin.raise_request_exception = False
    assert_unavailable(admin.post("/api/appointments", {}, format="json"))

"""Hostile requests by class: each is answered with a 4xx within two seconds, and changes nothing.

Every request is sent by an account that is allowed to send it, so the reason of the refusal is the input.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.people import PASSWORD, People, client_of
from tests.records import days_from_now, make_appointment, make_bill, make_prescription
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

SECONDS = 2.0
JSON = "application/json"


@dataclass(frozen=True)
class Case:
    method: str
    path: str
    body: bytes | None = None
    content_type: str = JSON
    #: As WSGI names them: HTTP_ACCEPT.
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path[:60]} {(self.body or b'')[:60]!r}"


CASES: dict[str, list[Case]] = {}


def case(kind: str, method: str, path: str, body: Any = None, **more: Any) -> None:
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    CASES.setdefault(kind, []).append(Case(method, path, raw, **more))


PATIENT = {"name": "Ali Raza"}
VISIT = {"patient_id": "P1", "doctor_id": "D1", "date": str(days_from_now(3)), "time": "09:30"}
COURSE = {"patient_id": "P1", "drug": "Amoxicillin", "dosage": "500mg", "frequency": "Twice daily"}
BILL = {"patient_id": "P1", "total_cost": "12.50"}
LOGIN = {"email": "admin@example.org", "password": PASSWORD}

# --- MongoDB operators in the place of a value, in bodies and in query strings

OPERATORS: list[Any] = [
    {"$ne": None}, {"$gt": ""}, {"$regex": ".*"}, {"$where": "sleep(9000)"}, {"$in": ["P1", "P2"]}, {"$exists": True},
    {"$expr": {"$function": {"body": "function(){return true}", "args": [], "lang": "js"}}}, [{"$ne": 1}],
    {"$not": {"$eq": "x"}}, {"$type": 2},
]  # fmt: skip
for operator in OPERATORS:
    case("operators", "POST", "/api/auth/login", {**LOGIN, "email": operator})
    case("operators", "POST", "/api/auth/login", {**LOGIN, "password": operator})
    case("operators", "POST", "/api/appointments", {**VISIT, "patient_id": operator})
    case("operators", "PATCH", "/api/patients/P1", {"national_id": operator})
    case("operators", "POST", "/api/auth/refresh", {"refresh_token": operator})
for name in ("$where", "$set", "$ne", "name.first", "__proto__", "$[]", "name\x00"):
    case("operators", "PATCH", "/api/patients/P1", {name: "x"})
for query in (
    "patients?national_id[$ne]=x", "patients?search[$regex]=.*", "patients?$where=1", "appointments?patient_id[$gt]=",
    "appointments?doctor_id[]=D1", "prescriptions?patient_id[$in][]=P1", "audit?actor[$ne]=1",
    "doctors?specialty[$gt]=",
    "patients?name__regex=.*", "patients?notes__icontains=a", "patients?user_id__gt=0", "accounts?password=x",
    "accounts?password__startswith=bcrypt", "patients?ordering=notes", "patients?sort=-notes", "patients?fields=notes",
    "patients?limit=100000", "patients?offset=5", "billing?total_cost__gt=0", "appointments?order_by=?",
):  # fmt: skip
    case("operators", "GET", f"/api/{query}")

# --- Types: every JSON type in the place of another

for value in (True, 1, 1.5, [], {}, ["x"], {"a": 1}, None):
    if value is not None:
        case("types", "PATCH", "/api/patients/P1", {"phone": value})
        case("types", "PATCH", "/api/patients/P1", {"birth_date": value})
        case("types", "POST", "/api/auth/login", {**LOGIN, "password": value})
    case("types", "POST", "/api/patients", {"name": value})
    case("types", "POST", "/api/appointments", {**VISIT, "date": value})
for body in (
    b"[]",
    b'"text"',
    b"1",
    b"true",
    b"null",
    b"",
    b"[{}]",
    b"{}",
    b"{",
    b'{"name": }',
    b"name=x",
    b"\xff\xfe",
):
    case("types", "POST", "/api/patients", body)
for flag in ("yes", "1", "TRUE", 1, [True]):
    case("types", "PATCH", "/api/doctors/D1", {"accepting_patients": flag})
    case("types", "PATCH", "/api/accounts/{account}", {"is_active": flag})

# --- Unicode

for text in (
    "a\x00b", "a\x07b", "a\x1b[31mb", "a\x7fb", "a\x85b", "a\nb", "a\rb", "a\x0bb", "\x00", "\t",
    "   ", "", "\ufeff\x00", "x" * 201, "\u0661\x01", "😀\x02",
):  # fmt: skip
    case("unicode", "PATCH", "/api/patients/P1", {"name": text})
    case("unicode", "POST", "/api/prescriptions", {**COURSE, "drug": text})
for body in (
    b'{"name": "\\ud800"}', b'{"name": "\\udfff\\ud800"}', b'{"name": "\xc3\x28"}', b'{"name": "\xed\xa0\x80"}',
    b'{"name": "\xf8\x88\x80\x80\x80"}', b'\xff\xfe{\x00"\x00', b'{"name": "\xc0\xaf"}',
):  # fmt: skip
    case("unicode", "POST", "/api/patients", body)
for identifier in ("P１", "Р1", "P\u200b1", "P\u202e1", "Ｐ1", "P1\u0301", "ﬀ", "P1 "):
    case("unicode", "POST", "/api/patients", {**PATIENT, "patient_id": identifier})
for date in ("٢٠٢٥-٠١-٠١", "２０２５-01-01", "2025‑01‑01"):
    case("unicode", "POST", "/api/appointments", {**VISIT, "date": date})

# --- Dates and times

for date in (
    "2025-02-29", "2025-13-01", "2025-00-10", "2025-01-32", "0000-01-01", "9999-12-31", "1879-12-31", "2200-01-01",
    "2025-1-1", "20250101", "2025-01-01T00:00:00Z", "2025-01-01 ", "yesterday", "-2025-01-01", "2025-W01-1", "1e9",
    "2025/01/01", "01.01.2025", "now()", "2025-01-01'--",
):  # fmt: skip
    case("dates", "POST", "/api/appointments", {**VISIT, "date": date})
    case("dates", "GET", f"/api/appointments?from={date.replace(' ', '%20')}")
for clock in ("24:00", "12:60", "9:30", "09:30:00", "09:31", "0930", "-1:00", "25:61", "noon", "09:30Z", 930):
    case("dates", "POST", "/api/appointments", {**VISIT, "time": clock})
case("dates", "GET", "/api/doctors/D1/slots?from=2025-02-01&to=2025-01-01")
case("dates", "GET", "/api/doctors/D1/slots?from=2025-01-01&to=2025-12-31")
case("dates", "GET", "/api/reports/top-doctors?from=2025-02-01&to=2025-01-01")

# --- Numbers

for number in ("NaN", "Infinity", "-1", "1e400", "0.001", "12.345", "1e10", "99999999999", "1,5", "0x10", "1_000", "٣",
               "", " 1", "+1", "--1", -0.01, 10**400, 1e308, True):  # fmt: skip
    case("numbers", "POST", "/api/billing", {**BILL, "total_cost": number})
for body in (b'{"name": "A", "age": NaN}', b'{"name": "A", "age": Infinity}', b'{"name": "A", "age": 1e999}',
             b'{"name": "A", "age": -1}', b'{"name": "A", "age": 151}', b'{"name": "A", "age": 1.0}',
             b'{"name": "A", "age": 99999999999999999999999}'):  # fmt: skip
    case("numbers", "POST", "/api/patients", body)
for size in ("-1", "0", "201", "1e3", "9" * 400, "50.0", "0x32", "", "all", "٥٠"):
    case("numbers", "GET", f"/api/patients?page_size={size}")
for minutes in (0, -5, 3, 725, 10**12, 5.0, "30"):
    case("numbers", "POST", "/api/appointments", {**VISIT, "duration_minutes": minutes})
for year in ("abc", "-1", "0", "99999", "2025.0", "1e3", ""):
    case("numbers", "GET", f"/api/reports/monthly-appointments-trend?year={year}")
for limit in ("-1", "0", "1e9", "99999999", "x"):
    case("numbers", "GET", f"/api/reports/top-doctors?limit={limit}")
for user_id in (-1, 0, 2**63, 2**200, "1", 1.0):
    case("numbers", "PATCH", "/api/patients/P1", {"user_id": user_id})

# --- Depth and size

for levels in (25, 500, 10_000, 100_000):
    case("depth", "POST", "/api/patients", b'{"name": ' + b"[" * levels + b"]" * levels + b"}")
    case("depth", "POST", "/api/patients", b'{"a":' * levels + b"1" + b"}" * levels)
case("depth", "POST", "/api/patients", b"[" * 200_000)
for length in (10_001, 500_000):
    case("size", "PATCH", "/api/patients/P1", {"notes": "x" * length})
    case("size", "POST", "/api/auth/login", {**LOGIN, "password": "x" * length})
    case("size", "POST", "/api/auth/refresh", {"refresh_token": "x" * length})
case("size", "POST", "/api/patients", {"name": "x" * 1_100_000})
case("size", "PATCH", "/api/patients/P1", {"phone": "+1 234 567 890 (1) - . / (2) 3 x12345"})
# Addresses are stored case-folded, and this one becomes too long by that.
GROWING = "a@" + ".".join(["ß" * 60] * 4) + ".com"
case("size", "POST", "/api/auth/register", {"email": GROWING, "password": "an uncommon phrase", "name": "x"})
case("size", "POST", "/api/accounts", {"email": GROWING, "password": "an uncommon phrase", "role": "staff"})
case("size", "POST", "/api/auth/register", {"email": "a@b.org", "password": "x" * 1_100_000, "name": "x"})
case("size", "PATCH", "/api/patients/P1", {"diseases": [f"disease {number}" for number in range(101)]})
case("size", "PATCH", "/api/patients/P1", {"diseases": [f"disease {number}" for number in range(20_000)]})
case("size", "PATCH", "/api/patients/P1", {f"field{number}": 1 for number in range(20_000)})
case("size", "PATCH", "/api/doctors/D1", {"availability": [{"weekday": 0, "start": "09:00", "end": "10:00"}] * 5_000})
case("size", "GET", "/api/patients?search=" + "x" * 3_000)
case("size", "GET", "/api/patients?cursor=" + "x" * 3_000)
case("size", "GET", "/api/patients?" + "&".join(f"a{number}=1" for number in range(900)))

# --- Content types and encodings

for content_type in (
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
    "text/html", "application/octet-stream", "application/bson", "", "application/json-patch+json", "image/png",
):  # fmt: skip
    case("content types", "POST", "/api/patients", b'{"name": "Ali Raza"}', content_type=content_type)
XML = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
case("content types", "POST", "/api/patients", XML, content_type="application/xml")
case(
    "content types",
    "POST",
    "/api/patients",
    '{"name": "A"}'.encode("utf-16"),
    content_type="application/json; charset=utf-16",
)
case("content types", "POST", "/api/patients", b"\x1f\x8b\x08\x00", headers=(("HTTP_CONTENT_ENCODING", "gzip"),))
for accept in ("application/xml", "image/png", "text/csv", "application/pdf"):
    case("content types", "GET", "/api/patients", headers=(("HTTP_ACCEPT", accept),))
for shape in ("xml", "csv", "../../etc/passwd", "api.html", "", "JSON"):
    case("content types", "GET", f"/api/patients?format={shape}")

# --- Methods

for method in ("PUT", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW", "MKCOL", "LOCK"):
    case("methods", method, "/api/patients/P1", b"{}")
    case("methods", method, "/api/patients", b"{}")
case("methods", "POST", "/api/patients/P1", PATIENT)
case("methods", "DELETE", "/api/patients")
case("methods", "PATCH", "/api/patients", PATIENT)
case("methods", "GET", "/api/auth/login")
case("methods", "POST", "/api/audit", {})
case("methods", "DELETE", "/api/audit")
case("methods", "PUT", "/api/patients/P1", PATIENT, headers=(("HTTP_X_HTTP_METHOD_OVERRIDE", "DELETE"),))
case("methods", "POST", "/api/patients/P1", b"_method=DELETE", content_type="application/x-www-form-urlencoded")

# --- Ids

for key in (
    "..", "%2e%2e", "..%2f..%2fetc", "P1%00", "P1%0d%0aX: y", "%7B%22$ne%22:1%7D", "P1;P2", "P1,P2", "P1'--", "*",
    "%25", "P1%20OR%201=1", "%ff%fe", "x" * 2_000, "-P1", "_P1", ".P1", "<script>", "${7*7}", "{{7*7}}",
):  # fmt: skip
    case("ids", "GET", f"/api/patients/{key}")
    case("ids", "PATCH", f"/api/appointments/{key}", {"status": "cancelled"})
for key in ("", "-P", "P 1", "P/1", "P1\n", "../P1", "P" * 65, "Pé", "P\x00", "$where", "{}", "P;1", ".", "_"):
    case("ids", "POST", "/api/patients", {**PATIENT, "patient_id": key})
    case("ids", "POST", "/api/billing", {**BILL, "patient_id": key})
for key in ("nobody", "000000000000000000000000", "9" * 30, "1e3", "true", "0", "-1"):
    case("ids", "GET", f"/api/prescriptions/{key}")
    case("ids", "DELETE", f"/api/billing/{key}")
    case("ids", "PATCH", f"/api/accounts/{key}", {"is_active": False})

# --- Regular expressions and other languages in the place of an enumeration or of a fixed format

for pattern in (".*", "^(a+)+$", "(?i)asthma", "sched.*", "[", "\\", "a{99999}", "'; DROP TABLE billing; --",
                "1 OR 1=1", "${jndi:ldap://x}", "{{7*7}}", "$(id)", "%s%s%n", "<script>alert(1)</script>"):  # fmt: skip
    quoted = "".join(f"%{byte:02x}" for byte in pattern.encode())
    case("languages", "GET", f"/api/appointments?status={quoted}")
    case("languages", "GET", f"/api/audit?outcome={quoted}")
    case("languages", "GET", f"/api/patients?cursor={quoted}")
    case("languages", "POST", "/api/prescriptions", {**COURSE, "frequency": pattern})
    case("languages", "POST", "/api/prescriptions", {**COURSE, "dosage": pattern})

# --- Credentials

for bearer in (
    "eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoiMSJ9.",  # pragma: allowlist secret
    "", "x", "null", "a.b.c", "Bearer", "\x00", "é", "x" * 5_000,
    "' OR '1'='1", "{\"$ne\": null}",
):  # fmt: skip
    case("credentials", "GET", "/api/patients", headers=(("HTTP_AUTHORIZATION", f"Bearer {bearer}"),))
for header in ("Basic YWRtaW46YWRtaW4=", "Digest x", "bearer", "Bearer a b c", "Token x", "Negotiate x"):
    case("credentials", "GET", "/api/patients", headers=(("HTTP_AUTHORIZATION", header),))
for host in ("evil.example", "testserver@evil.example", "testserver:99999", "", "a b", "xn--", "[::1"):
    case("credentials", "GET", "/api/patients", headers=(("HTTP_HOST", host),))

KINDS = [pytest.param(kind, id=kind) for kind in CASES]


def test_there_are_enough() -> None:
    assert len(CASES) >= 11
    assert sum(map(len, CASES.values())) >= 400
    assert all(len(cases) >= 9 for cases in CASES.values())


def needs_doctor(case: Case) -> bool:
    return case.path.startswith("/api/prescriptions") and case.method == "POST"


@pytest.mark.parametrize("kind", KINDS)
def test_refused_at_once_and_nothing_changed(people: People, kind: str) -> None:
    make_appointment(people, appointment_id="A1")
    make_prescription(people)
    make_bill(people)
    admin, doctor = client_of(people.admin), client_of(people.doctor)
    before = everything()
    for each in CASES[kind]:
        client = APIClient() if kind == "credentials" else doctor if needs_doctor(each) else admin
        answer, seconds = send(client, each, people)
        assert 400 <= answer.status_code < 500, (each, answer.status_code, answer.content[:300])
        assert seconds < SECONDS, each
        if each.method not in ("HEAD",) and not any(name == "HTTP_HOST" for name, _ in each.headers):
            assert answer["Content-Type"].startswith("application/problem+json"), each
            assert "Traceback" not in answer.content.decode()
    assert changed(before, everything()) == set()


def send(client: APIClient, case: Case, people: People) -> tuple[Any, float]:
    path = case.path.replace("{account}", str(people.patient.pk))
    began = time.monotonic()
    options: dict[str, Any] = {"data": case.body or b"", "content_type": case.content_type, **dict(case.headers)}
    answer = client.generic(case.method, path, **options)
    return answer, time.monotonic() - began


# --- Fields that accept any text ------------------------------------------------------------------------------------

TEXTS = [
    ".*", "^(a+)+$", "(?x)ali", '"ali" -raza', "-ali", "ali -raza", '"', "\\", "a" * 200, "ali OR raza", "%", "$where",
    "ali*", "[a-z]+", "🩺", "Ａli", "<b>ali</b>", "ali; DROP TABLE patients", "x" * 100 + " " + "y" * 99, "a " * 99,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_search_takes_every_text_for_words(people: People, text: str) -> None:
    """The search returns the patients whose names contain all of the words; other characters have no meaning."""
    began = time.monotonic()
    answer = client_of(people.admin).get("/api/patients", {"search": text})
    assert answer.status_code == 200
    assert time.monotonic() - began < SECONDS
    words = {word.casefold() for word in "".join(c if c.isalnum() else " " for c in text).split()}
    found = {row["patient_id"] for row in answer.json()["results"]}
    assert found == ({"P1"} if words and words <= {"ali", "raza"} else set()), words


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("path", "name"),
    [("doctors", "specialty"), ("doctors", "search"), ("patients", "disease"), ("patients", "national_id"),
     ("prescriptions", "disease"), ("appointments", "doctor_id"), ("accounts", "email")],
)  # fmt: skip
def test_filters_take_every_text_for_a_value(people: People, path: str, name: str, text: str) -> None:
    answer = client_of(people.admin).get(f"/api/{path}", {name: text})
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert answer.json()["results"] == []


MARKUP = '<img src=x onerror=alert(1)>"><script>alert(1)</script>'


def assert_text(answer: Any, path: str) -> None:
    page = answer.content.decode()
    assert "<script>alert" not in page, path
    assert "<img src=x" not in page, path


def test_html_is_text_everywhere(people: People) -> None:
    """HTML in a stored value stays text in the admin's pages, the browsable API and its JSON."""
    from django.test import Client

    client = client_of(people.admin)
    fields = {"name": MARKUP, "address": MARKUP, "notes": MARKUP, "national_id": MARKUP[:60], "diseases": [MARKUP]}
    assert client.patch("/api/patients/P1", fields, format="json").status_code == 200
    doctor = {"name": MARKUP, "specialty": MARKUP}
    assert client.patch("/api/doctors/D1", doctor, format="json").status_code == 200
    visit = make_appointment(people, appointment_id="A1", disease=MARKUP)
    course = make_prescription(people, drug=MARKUP, instructions=MARKUP, disease=MARKUP)
    browser = Client()
    browser.force_login(people.admin)
    for path in (
        "/api/patients", "/api/patients/P1", "/api/doctors/D1", "/api/appointments/A1", "/api/reports/top-doctors",
        "/admin/patients/patient/", "/admin/patients/patient/P1/change/", "/admin/doctors/doctor/",
        "/admin/doctors/doctor/D1/change/", "/admin/appointments/appointment/", "/admin/patients/patient/P1/delete/",
        f"/admin/patients/patient/?q={MARKUP}", "/admin/patients/patient/P1/history/",
        "/admin/", "/admin/appointments/appointment/A1/change/", "/admin/appointments/appointment/A1/move/",
        f"/admin/appointments/appointment/week/D1/?week={visit.date}", "/admin/prescriptions/prescription/",
        "/admin/appointments/appointment/slots/?doctor_id=D1", f"/admin/appointments/appointment/?day={visit.date}",
        f"/admin/prescriptions/prescription/{course.pk}/change/", "/admin/reports/top-doctors/",
        "/admin/reports/disease-trends/", "/admin/healthcare/auditentry/", "/admin/healthcare/event/",
    ):  # fmt: skip
        answer = browser.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, path
        assert_text(answer, path)
    chosen = {"action": "cancel_visits", "_selected_action": "A1"}
    for confirmed in ({}, {"confirmed": "yes"}):
        place = f"/admin/appointments/appointment/?day={visit.date}"
        assert_text(browser.post(place, {**chosen, **confirmed}), place)
    for autocomplete in ("patients/patient", "doctors/doctor"):
        found = browser.get(f"/admin/{autocomplete}/autocomplete/?q=img")
        assert (found["Content-Type"], found["X-Content-Type-Options"]) == ("application/json", "nosniff")
    chart = client.get("/api/reports/top-doctors?format=svg")
    assert b"<script" not in chart.getvalue() if chart.streaming else b"<script" not in chart.content


# --- Filters of the admin -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["name__regex=^(a+)%2B$", "notes__icontains=a", "national_id=1", "user_id__gt=0", "phone__isnull=False",
     "appointments__0__doctor_id=D1", "revision__gte=0"],
)  # fmt: skip
def test_admin_refuses_filters_that_it_does_not_offer(people: People, query: str) -> None:
    from django.test import Client

    browser = Client()
    browser.force_login(people.admin)
    assert browser.get(f"/admin/patients/patient/?{query}").status_code == 400
    assert browser.get("/admin/accounts/user/?password__startswith=bcrypt").status_code == 400
    assert browser.get("/admin/accounts/user/?role__exact=doctor").status_code == 200

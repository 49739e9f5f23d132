"""Requests with a token run `API_MIDDLEWARE`, and are answered and recorded as if they had run all of `MIDDLEWARE`.

Every other test of the API is sent in the same way (`tests.people.ServerHandler`).
"""

import io
import json
import sys
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from accounts import authentication, tokens
from accounts.models import User
from appointments import services
from appointments.models import Appointment
from healthcare.api.renderers import JSONRenderer
from healthcare.audit_log import recorder
from healthcare.audit_log.models import AuditEntry
from healthcare.observability import metrics
from healthcare.web.checks import every_middleware_is_classified
from healthcare.web.handlers import ApiHandler, Application
from patients.models import Patient
from reports import queries as report_queries
from tests.people import People
from tests.records import complete, days_from_now, make_appointment, make_bill, make_prescription

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("kept_connections")]

Answered = tuple[str, dict[str, str], Any]
#: Headers whose values differ between two responses to the same request.
OWN = ("X-Request-ID", "Content-Length")


@pytest.fixture
def everything(people: People) -> People:
    visit = make_appointment(people)
    make_prescription(people, appointment_id=visit.pk)
    complete(people, make_appointment(people, appointment_id="A1", time="15:00"))
    make_bill(people, patient_id="P1")
    return people


def environ(method: str, path: str, user: User | None, body: Any = None, **more: Any) -> dict[str, Any]:
    path, _, query = path.partition("?")
    text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    said = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "testserver",
        "SERVER_PORT": "80", "HTTP_HOST": "testserver", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.7",
        "wsgi.input": io.BytesIO(text), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http",
    }  # fmt: skip
    if body is not None:
        said |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(text))}
    if user is not None:
        said["HTTP_AUTHORIZATION"] = f"Bearer {tokens.start_family(user)['access_token']}"
    return {**said, **more}


def sent(application: Any, asked: dict[str, Any]) -> Answered:
    """Send the request, and return status, headers and body (None if it is empty)."""
    begun: list[Any] = []
    asked["wsgi.input"].seek(0)
    parts = application(dict(asked), lambda status, headers, _error=None: begun.append((status, dict(headers))))
    text = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    ((status, headers),) = begun
    is_json = "json" in headers.get("Content-Type", "")
    return status, headers, json.loads(text) if is_json else "a page" if text else None


def with_all_middleware(asked: dict[str, Any]) -> Answered:
    return sent(WSGIHandler(), asked)


def with_api_middleware(asked: dict[str, Any]) -> Answered:
    return sent(ApiHandler(), asked)


def by_application(asked: dict[str, Any]) -> Answered:
    return sent(Application(), asked)


def assert_alike(one: Answered, other: Answered) -> None:
    (status, headers, body), (other_status, other_headers, other_body) = one, other
    assert status == other_status
    assert {k: v for k, v in headers.items() if k not in OWN} == {
        k: v for k, v in other_headers.items() if k not in OWN
    }
    assert headers.keys() == other_headers.keys()
    for each in (body, other_body):
        if isinstance(each, dict):
            # Each response encrypts its cursors anew, and a report says when it was computed.
            each.pop("as_of", None)
            each["next"], each["previous"] = bool(each.get("next")), bool(each.get("previous"))
    assert body == other_body


def entries_of(send: Any, asked: dict[str, Any]) -> tuple[Answered, list[Any]]:
    """Return the response, and the audit entries that the request left."""
    last = AuditEntry.objects.order_by("-id").values_list("id", flat=True).first() or 0
    answered = send(asked)
    kept = ("actor_id", "role", "action", "patient_ids", "subject", "outcome", "reason", "channel", "address")
    return answered, list(AuditEntry.objects.filter(id__gt=last).order_by("id").values_list(*kept))


READS = [
    "/api/patients", "/api/patients?page_size=1", "/api/patients?search=Ali", "/api/patients/P1",
    "/api/patients/P1/access-log", "/api/doctors", "/api/doctors?specialty=Cardiology", "/api/doctors/D1",
    f"/api/doctors/D1/slots?from={days_from_now(1)}&to={days_from_now(2)}", "/api/appointments",
    "/api/appointments?doctor_id=D1&page_size=1", "/api/appointments/A1", "/api/prescriptions", "/api/billing",
    "/api/accounts", "/api/audit", "/api/reports/top-doctors", "/api/reports/disease-trends",
    "/api/reports/monthly-appointments-trend", "/api/reports/average-prescription-cost",
]  # fmt: skip
REFUSED = [
    "/api/patients/P0", "/api/patients/P2", "/api/appointments?from=never", "/api/patients?nonsense=1",
    "/api/patients?page_size=0", "/api/patients?cursor=made-up", "/api/doctors?specialty=a&specialty=b",
    "/api/nothing", "/api/patients/P1/anonymize",
]  # fmt: skip


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("who", ["admin", "doctor", "patient", "staff"])
def test_a_read_is_answered_alike(everything: People, who: str, path: str) -> None:
    asked = environ("GET", path, getattr(everything, who))
    expected, entries = entries_of(with_all_middleware, asked)
    is_answered = expected[0] == "200 OK"
    found, left = entries_of(by_application, asked)
    if path == "/api/audit" or path.endswith("/access-log"):
        # The response to the second request also contains the audit entries of the first.
        for _, _, body in (found, expected):
            body.pop("results", None)
        entries, left = ([each[:3] for each in some] for some in (entries, left))
    assert_alike(found, expected)
    assert left == entries
    assert entries or not is_answered or path.startswith(("/api/doctors", "/api/accounts"))


@pytest.mark.parametrize("path", REFUSED)
@pytest.mark.parametrize("who", ["admin", "patient"])
def test_a_read_that_is_refused_is_refused_alike_and_recorded_once(everything: People, who: str, path: str) -> None:
    asked = environ("GET", path, getattr(everything, who))
    expected, entries = entries_of(with_all_middleware, asked)
    found, left = entries_of(by_application, asked)
    assert_alike(found, expected)
    assert left == entries
    assert len(left) <= 1


@pytest.mark.parametrize(
    "more",
    [
        {"HTTP_AUTHORIZATION": "Bearer nonsense"},
        {"HTTP_AUTHORIZATION": "Basic YTpi"},
        {"HTTP_AUTHORIZATION": "Bearer "},
        {"HTTP_HOST": "elsewhere.example.org"},
        {"HTTP_ACCEPT": "application/json; indent=2"},
        {"HTTP_ORIGIN": "https://app.example.org"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"CONTENT_LENGTH": "99999999999"},
        {"QUERY_STRING": "format=json"},
        {"QUERY_STRING": "&".join(f"p{number}=1" for number in range(2000))},
        {"PATH_INFO": "/api/patients/"},
        {"PATH_INFO": "/api/patients/P\xc3\xa9"},
        # WSGI gives a path as one Latin-1 character for each byte.
        {"PATH_INFO": "/api/patients/\U0001f600".encode().decode("latin-1")},
        {"PATH_INFO": "/api/patients/\xff"},
        {"PATH_INFO": "/api/patients/%00"},
        {"PATH_INFO": "/api/auth/logout"},
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "PUT"},
        {"REQUEST_METHOD": "OPTIONS"},
        {"REQUEST_METHOD": "TRACE"},
    ],
)
def test_unusual_requests_are_answered_alike(everything: People, more: dict[str, str]) -> None:
    asked = environ("GET", "/api/patients/P1", everything.admin, **more)
    expected, entries = entries_of(with_all_middleware, asked)
    found, left = entries_of(by_application, asked)
    assert_alike(found, expected)
    assert left == entries


def test_a_page_for_a_token_sets_no_cookie(everything: People) -> None:
    asked = environ("GET", "/api/patients/P1", everything.admin, HTTP_ACCEPT="text/html")
    status, headers, body = by_application(asked)
    assert (status, body) == ("200 OK", "a page")
    assert "Set-Cookie" not in headers
    # A browser without a token needs the cookie for its forms.
    assert "Set-Cookie" in with_all_middleware(asked)[1]


#: Change of an account → its SQL, and the status of a later request with the account's token.
HAPPENS = {
    "disabled": ("UPDATE accounts_user SET is_active = false WHERE id = %s", "401 Unauthorized"),
    "logged out": ("UPDATE accounts_tokenfamily SET ended_at = now() WHERE user_id = %s", "401 Unauthorized"),
    "new password": ("UPDATE accounts_user SET token_version = token_version + 1 WHERE id = %s", "401 Unauthorized"),
    "removed": ("DELETE FROM accounts_tokenfamily WHERE user_id = %s", "401 Unauthorized"),
    "another role": ("UPDATE accounts_user SET role = 'admin' WHERE id = %s", "200 OK"),
    "another address": ("UPDATE accounts_user SET email = 'new@example.org' WHERE id = %s", "200 OK"),
}


def do(what: str, user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute(HAPPENS[what][0], [user.pk])


def assert_recorded(entries: list[Any], path: str, what: str) -> None:
    """Assert one entry: the read with the account's present role, or the refusal of an anonymous request."""
    found = [(role, outcome) for _, role, _, _, _, outcome, *_ in entries]
    if HAPPENS[what][1] != "200 OK":
        assert found == [("anonymous", "refused")]
    elif path.startswith("/api/doctors"):
        assert found == []
    else:
        assert found == [("admin" if what == "another role" else "doctor", "success")]


@pytest.mark.parametrize("what", HAPPENS)
@pytest.mark.parametrize("path", ["/api/patients/P1", "/api/doctors"])
def test_what_happens_to_an_account_counts_at_once(everything: People, path: str, what: str) -> None:
    asked = environ("GET", path, everything.doctor)
    # The first request reads the account from PostgreSQL; the second uses the cached account.
    assert with_api_middleware(asked)[0] == with_api_middleware(asked)[0] == "200 OK"
    do(what, everything.doctor)
    answered, entries = entries_of(by_application, asked)
    assert answered[0] == HAPPENS[what][1]
    assert_recorded(entries, path, what)


@pytest.mark.parametrize("what", HAPPENS)
@pytest.mark.parametrize("path", ["/api/patients/P1", "/api/doctors"])
def test_what_happens_while_it_is_answered_counts(
    everything: People, monkeypatch: pytest.MonkeyPatch, path: str, what: str
) -> None:
    """An account that changes after the data were read is answered by its new state, not by its cached one."""
    asked = environ("GET", path, everything.doctor)
    assert with_api_middleware(asked)[0] == "200 OK"
    render = JSONRenderer.render
    happened: list[str] = []

    def render_and_change(renderer: Any, data: Any, *args: Any) -> bytes:
        if not happened:
            happened.append(what)
            do(what, everything.doctor)
        return render(renderer, data, *args)

    monkeypatch.setattr(JSONRenderer, "render", render_and_change)
    answered, entries = entries_of(by_application, asked)
    assert happened
    assert answered[0] == HAPPENS[what][1]
    assert_recorded(entries, path, what)


@pytest.mark.parametrize("path", ["/api/patients/P1", "/api/appointments", "/api/doctors"])
def test_account_and_entry_are_one_statement(everything: People, path: str) -> None:
    asked = environ("GET", path, everything.admin)
    with_api_middleware(asked)
    with CaptureQueriesContext(connection) as captured:
        with_api_middleware(asked)
    assert len(captured) == 1
    assert "ended_at IS NULL" in captured[0]["sql"]


def test_an_entry_that_was_sent_twice_is_there_once(everything: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the connection dies before PostgreSQL confirms the entry, the entry is inserted again."""
    asked = environ("GET", "/api/patients/P1", everything.admin)
    with_api_middleware(asked)
    insert = recorder._insert

    def insert_twice(*args: Any, **given: Any) -> bool:
        assert insert(*args, **given)
        return insert(*args, **given)

    monkeypatch.setattr(recorder, "_insert", insert_twice)
    answered, entries = entries_of(with_api_middleware, asked)
    assert answered[0] == "200 OK"
    assert len(entries) == 1


def test_nothing_is_made_anew_for_an_account_that_was_changed(
    everything: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = environ("GET", "/api/reports/average-prescription-cost?fresh=true", everything.admin)
    assert with_api_middleware(asked)[0] == "200 OK"
    renewed: list[Any] = []
    monkeypatch.setattr(report_queries, "average_prescription_cost", lambda **given: renewed.append(given))
    do("disabled", everything.admin)
    assert by_application(asked)[0] == "401 Unauthorized"
    assert renewed == []


def test_a_write_reads_its_account_first(everything: People) -> None:
    """A clinical write would remain if only its audit entry were refused, so the account is checked before."""
    asked = environ("GET", "/api/patients/P1", everything.admin)
    with_api_middleware(asked)
    do("disabled", everything.admin)
    status, _, _ = by_application({**asked, "REQUEST_METHOD": "DELETE"})
    assert status == "401 Unauthorized"
    assert Patient.objects.filter(pk="P1").exists()


def test_an_account_that_was_read_long_ago_is_read_again(everything: People, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = environ("GET", "/api/patients/P1", everything.admin)
    with_api_middleware(asked)
    monkeypatch.setattr(authentication, "ASSUMED_SECONDS", -1)
    with CaptureQueriesContext(connection) as captured:
        with_api_middleware(asked)
    assert len(captured) == 2


WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/api/appointments", {"patient_id": "P1", "doctor_id": "D1", "date": str(days_from_now(9))}),
    ("POST", "/api/appointments", {"patient_id": "P1"}),
    ("POST", "/api/appointments", b"{"),
    ("POST", "/api/appointments", b"x" * 3_000_000),
    ("POST", "/api/appointments?nonsense=1", {"patient_id": "P1", "doctor_id": "D1", "date": str(days_from_now(9))}),
    ("POST", "/api/patients/P1", {}),
    ("PATCH", "/api/appointments/A1", {"status": "cancelled"}),
    ("PATCH", "/api/appointments/A0", {"status": "cancelled"}),
    ("PATCH", "/api/patients/P1", {"phone": "+49 30 1234567"}),
    ("DELETE", "/api/appointments/A1", None),
    ("POST", "/api/nothing", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("who", ["admin", "patient"])
def test_a_write_is_answered_alike(everything: People, who: str, method: str, path: str, body: Any) -> None:
    asked = environ(method, path, getattr(everything, who), body)
    one, entries = entries_of(with_all_middleware, asked)
    other, left = entries_of(by_application, asked)
    for answered in (one, other):
        if one[0] == "201 Created":
            # The server generates these for each appointment.
            for name in ("appointment_id", "created_at"):
                answered[2].pop(name)
    assert_alike(one, other)
    assert [each[:4] + each[5:] for each in left] == [each[:4] + each[5:] for each in entries]


def test_a_deleted_record_is_answered_without_a_body(everything: People) -> None:
    make_appointment(everything, appointment_id="A2", time="11:00")
    status, headers, body = with_api_middleware(environ("DELETE", "/api/appointments/A2", everything.admin))
    assert (status, body, headers["Content-Length"]) == ("204 No Content", None, "0")


def test_a_write_that_breaks_is_not_tried_again(everything: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only reads are handled a second time."""
    book, calls = services.book_appointment, []

    def book_and_break(**given: Any) -> Any:
        calls.append(book(**given))
        raise RuntimeError("no")

    monkeypatch.setattr(services, "book_appointment", book_and_break)
    before = Appointment.objects.count()
    status, headers, body = by_application(environ(*WRITES[0][:2], everything.admin, WRITES[0][2]))
    assert (status, body["status"]) == ("500 Internal Server Error", 500)
    assert headers["Content-Type"] == "application/problem+json"
    assert (len(calls), Appointment.objects.count()) == (1, before + 1)


def test_no_answer_leaves_without_its_audit_entry(everything: People, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(recorder, "_insert", refuse)
    monkeypatch.setattr(recorder.events, "enqueue_fallback", refuse)
    status, _, body = by_application(environ("GET", "/api/patients/P1", everything.admin))
    assert status == "503 Service Unavailable"
    assert "Ali" not in json.dumps(body)


@pytest.mark.parametrize(("path", "status"), [("/api/patients/P1", 200), ("/api/patients/P0", 404)])
def test_a_request_is_counted_once(everything: People, path: str, status: int) -> None:
    def counted() -> float:
        labels = {"route": "/api/patients/{patient_id}", "method": "GET", "status": str(status)}
        return metrics._registry.get_sample_value("http_requests_total", labels) or 0

    before = counted()
    by_application(environ("GET", path, everything.admin))
    assert counted() == before + 1


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7"])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_https_is_asked_for_alike(everything: People, address: str, method: str) -> None:
    body = None if method == "GET" else {"phone": "+49 30 1234567"}
    asked = environ(method, "/api/patients/P1", everything.admin, body)
    said = {**asked, "REMOTE_ADDR": address, "HTTP_X_FORWARDED_PROTO": "https"}
    with override_settings(
        SECURE_SSL_REDIRECT=True,
        SECURE_HSTS_SECONDS=600,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        TRUSTED_PROXIES=[ip_network("127.0.0.1")],
    ):
        expected = with_all_middleware(said)
        assert_alike(by_application(said), expected)
        assert expected[0] == ("200 OK" if address == "127.0.0.1" else "301 Moved Permanently")
        assert ("Strict-Transport-Security" in expected[1]) == (address == "127.0.0.1")


@pytest.mark.parametrize(
    "more", [{}, {"HTTP_ORIGIN": "https://app.example.org"}, {"HTTP_ORIGIN": "https://evil.example"}]
)
def test_pages_of_other_sites_are_answered_alike(everything: People, more: dict[str, str]) -> None:
    with override_settings(
        MIDDLEWARE=["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE],
        CORS_ALLOWED_ORIGINS=["https://app.example.org"],
    ):
        asked = environ("GET", "/api/patients/P1", everything.admin, **more)
        expected = with_all_middleware(asked)
        assert "origin" in (expected[1].get("Vary") or expected[1]["vary"])
        found = by_application(asked)
        # Upper and lower case of header names depend on which of the middleware and DRF has set them.
        one, other = ({name.lower(): value for name, value in each[1].items()} for each in (found, expected))
        assert set(one.pop("vary").split(", ")) == set(other.pop("vary").split(", "))
        assert {k: v for k, v in one.items() if k != "x-request-id"} == {
            k: v for k, v in other.items() if k != "x-request-id"
        }


# --- A middleware that is in none of the lists ------------------------------------------------------------------------


class DenyAll:
    """Middleware that denies every request, as an operator might add it to MIDDLEWARE during an incident."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseForbidden("denied")


class DenyAllViews:
    """Middleware that denies every request in `process_view`, which Django calls after it has resolved the view."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse:
        return HttpResponseForbidden("denied")


PATHS = [
    "/api", "/api/patients", "/api/patients/P1", "/api/patients/", "/api/appointments/A1", "/api/billing",
    "/api/reports/top-doctors", "/api/auth/me", "/api/nothing", "/admin/", "/admin/patients/patient/", "/docs",
    "/schema", "/healthz", "/readyz", "/metrics", "/session/login/",
]  # fmt: skip


@pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("denying", [DenyAll, DenyAllViews])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", PATHS)
def test_a_deny_all_middleware_stops_every_path(
    everything: People, path: str, method: str, denying: type, place: int
) -> None:
    added = f"{denying.__module__}.{denying.__qualname__}"
    middleware = [added, *settings.MIDDLEWARE] if place == 0 else [*settings.MIDDLEWARE, added]
    body: Any = {} if method == "POST" else None
    with override_settings(MIDDLEWARE=middleware):
        for user in (everything.admin, None):
            status, headers, _ = by_application(environ(method, path, user, body))
            assert status == "403 Forbidden"
            assert not headers["Content-Type"].endswith("json")


def test_a_middleware_that_nobody_has_assigned_fails_the_check() -> None:
    assert every_middleware_is_classified(None) == []
    with override_settings(MIDDLEWARE=[f"{__name__}.DenyAll", *settings.MIDDLEWARE]):
        (error,) = every_middleware_is_classified(None)
        assert error.id == "healthcare.E004"
        with pytest.raises(SystemCheckError, match="E004"):
            call_command("check")
    with override_settings(API_MIDDLEWARE=[f"{__name__}.DenyAll", *settings.API_MIDDLEWARE]):
        assert [error.id for error in every_middleware_is_classified(None)] == ["healthcare.E005"]
    with override_settings(BROWSER_ONLY_MIDDLEWARE={*settings.BROWSER_ONLY_MIDDLEWARE, settings.API_MIDDLEWARE[0]}):
        assert [error.id for error in every_middleware_is_classified(None)] == ["healthcare.E006"]

"""Tests of log lines: a JSON object each, with the request's id and without any sent or stored data."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.db import IntegrityError
from django.test import Client, override_settings
from rest_framework.test import APIClient

from healthcare import audit_context
from healthcare.observability import logs
from tests.people import People

pytestmark = pytest.mark.django_db

MARK = "MARKED"


class Lines:
    """Collects the lines that production would write."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(formatter)

    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    found = Lines(logs.JsonFormatter())
    root = logging.getLogger()
    root.addHandler(found.handler)
    yield found
    root.removeHandler(found.handler)


def fail_quoting(*args: Any, **kwargs: Any) -> None:
    """Fail like a driver: the error and its cause quote the row."""
    try:
        raise ValueError(f"({MARK}) is not unique")
    except ValueError as error:
        raise IntegrityError(f"Key (email)=({MARK}) already exists.") from error


def test_error_in_the_api_is_logged_without_its_text(
    people: People, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patients.services.update_patient", fail_quoting)
    client = people.client("admin")
    client.raise_request_exception = False
    answer = client.patch("/api/patients/P1", {"name": MARK, "notes": MARK}, format="json")
    assert answer.status_code == 500
    assert MARK not in lines.text()
    logged = [line for line in lines.all() if line["level"] == "error"]
    assert [line["logger"] for line in logged] == ["healthcare.errors", "django.request"]
    assert {line["request_id"] for line in logged} == {answer["X-Request-ID"]}
    assert "fail_quoting" in logged[0]["message"]
    assert logged[1]["message"] == "500 PATCH /api/patients/{patient_id}"


def test_error_in_a_page_is_logged_without_its_text(
    people: People, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patients.admin.PatientAdmin.get_queryset", fail_quoting)
    staff = Client(raise_request_exception=False)
    staff.force_login(people.admin)
    answer = staff.get(f"/admin/patients/patient/?q={MARK}")
    assert answer.status_code == 500
    assert MARK not in lines.text()
    (line,) = [line for line in lines.all() if line["level"] == "error"]
    assert line["request_id"] == answer["X-Request-ID"]
    assert line["message"] == "500 GET /admin/patients/patient/"
    # The cause comes first, then the error, each with its traceback.
    assert line["trace"].index("builtins.ValueError") < line["trace"].index("IntegrityError")
    assert "fail_quoting" in line["trace"]


def test_refused_requests_leave_no_data_in_the_log(people: People, lines: Lines) -> None:
    client = people.client("patient")
    client.get(f"/api/patients/{MARK}")
    client.get(f"/api/{MARK}?search={MARK}")
    client.post(f"/api/auth/login/{MARK}", {"email": f"{MARK}@example.org", "password": MARK}, format="json")
    client.post("/api/auth/login", {"email": f"{MARK}@example.org", "password": MARK}, format="json")
    client.get("/api/patients", HTTP_HOST=f"{MARK}.example.org")
    client.post("/session/login/", {"username": MARK, "password": MARK})
    Client(enforce_csrf_checks=True).post("/session/login/", {"username": MARK}, HTTP_REFERER=f"https://{MARK}/")
    assert MARK not in lines.text()


def test_requests_are_logged_only_if_the_setting_says_so(people: People, lines: Lines) -> None:
    assert people.client("doctor").get("/api/patients/P1").status_code == 200
    assert lines.all() == []
    with override_settings(LOG_REQUESTS=True):
        # The middleware reads the setting when it is created.
        answer = APIClient().get("/api/patients/P1")
    (line,) = lines.all()
    assert {name: line[name] for name in ("message", "method", "route", "status", "request_id")} == {
        "message": "answered",
        "method": "GET",
        "route": "/api/patients/{patient_id}",
        "status": 401,
        "request_id": answer["X-Request-ID"],
    }
    assert line["milliseconds"] > 0


def test_lines_of_a_command_have_its_id(lines: Lines) -> None:
    with audit_context.audit_context(channel="command", request_id="seed-1"):
        logging.getLogger("healthcare.outbox.events").warning("A consumer's database cannot be reached.")
    (line,) = lines.all()
    assert line["request_id"] == "seed-1"
    assert (line["level"], line["logger"]) == ("warning", "healthcare.outbox.events")
    assert line["time"].endswith("+00:00")


def test_message_with_line_breaks_is_one_line(lines: Lines) -> None:
    logging.getLogger("healthcare").warning("two\nlines\r\nand \u2028 more")
    assert len(lines.text().splitlines()) == 1 or json.loads(lines.text())["message"].startswith("two")
    assert lines.text().count("\n") == 1


def test_lines_of_gunicorn_quote_no_request() -> None:
    formatter = logs.JsonFormatter()
    for message, expected in {
        f"Error handling request GET /api/patients?search={MARK}": "Error handling request",
        f"Invalid request from ip=192.0.2.1: Invalid HTTP request line: '{MARK}'": "Invalid request",
        "Worker (pid:12) was sent SIGTERM!": "Worker (pid:12) was sent SIGTERM!",
    }.items():
        record = logging.LogRecord("gunicorn.error", logging.ERROR, __file__, 1, message, None, None)
        assert orjson.loads(formatter.format(record))["message"] == expected


@pytest.mark.parametrize("is_verbose", [False, True])
def test_lines_for_a_terminal(is_verbose: bool) -> None:
    formatter = logs.TextFormatter(is_verbose=is_verbose)
    with pytest.raises(IntegrityError) as caught:
        fail_quoting()
    info = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("healthcare", logging.ERROR, __file__, 1, "It failed", None, info)
    with audit_context.audit_context(channel="api", request_id="one"):
        text = formatter.format(record)
    assert "ERROR healthcare [one]: It failed" in text
    assert "IntegrityError" in text
    assert (MARK in text) == is_verbose

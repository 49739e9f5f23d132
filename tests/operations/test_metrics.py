"""Tests of /metrics: names and values of the metrics, and access to them."""

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from appointments.services import book_appointment
from audit import services as audit_services
from billing.models import Fee
from healthcare.errors import DomainError
from tests.people import People
from tests.records import complete, days_from_now, make_appointment

pytestmark = pytest.mark.django_db

TOKEN = "t" * 40
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? ([0-9.e+-]+|NaN)$", re.M)


@pytest.fixture(autouse=True)
def token(settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN


def scrape() -> dict[str, float]:
    answer = Client().get("/metrics", HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer["Cache-Control"] == "no-store"
    samples = {f"{name}{{{labels}}}" if labels else name: float(value)
               for name, labels, value in SAMPLE.findall(answer.content.decode())}  # fmt: skip
    assert samples
    return samples


def increase(before: dict[str, float], name: str) -> float:
    return scrape().get(name, 0) - before.get(name, 0)


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/api/patients/P1", "/api/patients/{patient_id}", 200),
        ("/api/patients/P1/", "/api/patients/{patient_id}", 200),
        ("/api/patients/P999", "/api/patients/{patient_id}", 404),
        ("/api/patients?search=Secret", "/api/patients", 200),
        ("/api/P1/secret", "unmatched", 404),
        ("/secret/P1", "unmatched", 404),
        ("/static/healthcare/admin.css", "static", 200),
        ("/admin/patients/patient/P1/change/", "/admin/patients/patient/{object_id}/change/", 302),
    ],
)
def test_requests_are_counted_by_route_and_status(people: People, path: str, route: str, status: int) -> None:
    before = scrape()
    assert people.client("doctor").get(path).status_code == status
    assert increase(before, f'http_requests_total{{method="GET",route="{route}",status="{status}"}}') == 1
    assert increase(before, f'http_request_duration_seconds_count{{method="GET",route="{route}"}}') == 1
    assert increase(before, f'http_request_duration_seconds_bucket{{le="+Inf",method="GET",route="{route}"}}') == 1


def test_no_label_contains_text_of_a_request(people: People) -> None:
    client = people.client("admin")
    for path in ("/api/patients/MARK1", "/api/MARK2", "/MARK3", "/api/patients?search=MARK4", "/static/MARK5",
                 "/api/auth/oauth/MARK6", "/admin/MARK7/"):  # fmt: skip
        client.get(path)
    client.generic("MARK8", "/api/patients")
    client.get("/api/patients", HTTP_HOST="mark9.example.org")
    samples = scrape()
    assert not [name for name in samples if "MARK" in name.upper()]
    assert 'http_requests_total{method="other",route="/api/patients",status="405"}' in samples


def test_transactions_are_counted(people: People) -> None:
    before = scrape()
    make_appointment(people, time="10:00")
    attempts = increase(before, "healthcare_clinical_transaction_attempts_total")
    assert attempts > 0
    assert increase(before, "healthcare_clinical_transaction_aborts_total") == 0
    with pytest.raises(DomainError):
        book_appointment(actor=people.admin, patient_id="P1", doctor_id="D1", date=days_from_now(7), time="10:00")
    assert increase(before, "healthcare_clinical_transaction_aborts_total") == 1
    assert increase(before, "healthcare_clinical_transaction_retries_total") == 0


@pytest.mark.django_db(transaction=True)
def test_lag_of_events_and_of_the_audit_log(people: People) -> None:
    audit_services.seal()
    before = scrape()
    assert before["healthcare_event_lag_seconds"] == before["healthcare_events_waiting"] == 0
    assert before["healthcare_audit_unsealed_entries"] == before["healthcare_audit_unsealed_age_seconds"] == 0
    Fee.objects.all().delete()
    complete(people, make_appointment(people))
    after = scrape()
    assert after["healthcare_event_lag_seconds"] > 0
    assert (after["healthcare_events_waiting"], after["healthcare_events_set_aside"]) == (1, 0)
    assert after["healthcare_audit_unsealed_entries"] > 0
    assert after["healthcare_audit_unsealed_age_seconds"] > 0
    assert after["healthcare_gauges_unavailable"] == 0


def test_page_exists_only_for_clients_with_the_token(people: People, settings: Settings) -> None:
    not_found = Client().get("/there-is-no-such-page")
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}):
        answer = Client().get("/metrics", headers=headers)
        assert (answer.status_code, answer.content) == (404, not_found.content)
    assert people.client("admin").get("/metrics").status_code == 404


@pytest.mark.parametrize(
    ("is_trial", "address", "proxies", "forwarded", "status"),
    [
        (False, "127.0.0.1", [], None, 404),
        (True, "127.0.0.1", [], None, 200),
        (True, "::1", [], None, 200),
        (True, "192.0.2.1", [], None, 404),
        (True, "", [], None, 404),
        (True, "127.0.0.1", ["127.0.0.1/32"], "192.0.2.1", 404),
    ],
)
def test_without_a_token_the_page_exists_for_a_trial_on_this_machine(
    settings: Settings, is_trial: bool, address: str, proxies: list[str], forwarded: str | None, status: int
) -> None:
    from ipaddress import ip_network

    settings.METRICS_TOKEN = ""
    settings.LOCAL_SECRETS = is_trial
    settings.TRUSTED_PROXIES = [ip_network(each) for each in proxies]
    more: dict[str, Any] = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}
    assert Client().get("/metrics", REMOTE_ADDR=address, **more).status_code == status

"""The client address: X-Forwarded-For counts only if it comes from a trusted proxy."""

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from healthcare.client_address import client_address
from tests.audit.entries import recording
from tests.people import People

PROXIES = ["10.0.0.5", "10.1.0.0/16", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("remote", "forwarded", "trusted", "expected"),
    [
        ("192.0.2.1", None, PROXIES, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", PROXIES, "192.0.2.1"),  # not a trusted proxy
        ("10.0.0.5", "203.0.113.9", [], "10.0.0.5"),  # no proxy is trusted
        ("10.0.0.5", "203.0.113.9", PROXIES, "203.0.113.9"),
        ("10.0.0.5", "198.51.100.7, 203.0.113.9", PROXIES, "203.0.113.9"),  # the client has forged the first address
        ("10.0.0.5", "203.0.113.9, 10.1.2.3", PROXIES, "203.0.113.9"),
        ("10.0.0.5", "10.1.2.3", PROXIES, "10.1.2.3"),
        ("10.0.0.5", "", PROXIES, "10.0.0.5"),
        ("10.0.0.5", "unknown", PROXIES, "10.0.0.5"),
        ("10.0.0.5", "203.0.113.9, <script>", PROXIES, "10.0.0.5"),
        ("10.0.0.5", "203.0.113.9:4711", PROXIES, "10.0.0.5"),
        ("2001:db8::1", "2001:0DB9::1", PROXIES, "2001:db9::1"),
        ("::ffff:10.0.0.5", "203.0.113.9", PROXIES, "203.0.113.9"),
        ("", "203.0.113.9", PROXIES, None),
    ],
)
def test_client_address(
    settings: Settings, remote: str, forwarded: str | None, trusted: list[str], expected: str | None
):
    settings.TRUSTED_PROXIES = [ip_network(each) for each in trusted]
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=remote)) == expected


@pytest.mark.django_db
def test_the_audit_log_has_the_clients_address(people: People, settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    with recording() as made:
        people.client("doctor").get("/api/patients/P1", HTTP_X_FORWARDED_FOR="6.6.6.6, 203.0.113.9")
    assert [entry.address for entry in made.entries] == ["203.0.113.9"]


def test_a_mistake_in_the_setting_is_said_at_the_start() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import healthcare.settings"],
        cwd=Path(__file__).resolve().parents[1], env={**os.environ, "TRUSTED_PROXIES": "10.0.0.5,nonsense"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TRUSTED_PROXIES names addresses, networks or unix" in done.stderr

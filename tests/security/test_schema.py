"""Schemathesis sends generated requests to every operation of the OpenAPI document, as each kind of account.

No response may be a 5xx, or have a status or a shape that is not documented. The requests go to the application on the
real databases. Half of the ids in paths and bodies are ids of stored records, so that the services are reached as well.
"""

import zlib
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts import tokens
from healthcare.web.handlers import Application
from tests.people import People
from tests.records import make_appointment, make_bill, make_prescription

EXAMPLES = 25
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
ACTORS = ("anonymous", "patient", "doctor", "admin")

schema = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
schema.app = Application()


@pytest.fixture
def known(people: People) -> dict[str, str]:
    """Make records, and return their ids by the parameter or field that takes them."""
    make_appointment(people, appointment_id="A1")
    return {
        "patient_id": "P1",
        "doctor_id": "D1",
        "appointment_id": "A1",
        "prescription_id": str(make_prescription(people).pk),
        "bill_id": str(make_bill(people).pk),
        "account_id": str(people.patient.pk),
    }


@pytest.mark.fuzz
@pytest.mark.django_db
@pytest.mark.usefixtures("kept_connections")
@pytest.mark.parametrize("actor", ACTORS)
@schema.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_operation(case: schemathesis.Case, actor: str, people: People, known: dict[str, str]) -> None:
    for part in (case.path_parameters, case.body):
        if isinstance(part, dict):
            for name in part.keys() & known.keys():
                if zlib.crc32(repr(part).encode()) % 2:
                    part[name] = known[name]
    if actor != "anonymous":
        account = getattr(people, actor)
        account.refresh_from_db()
        if account.is_active:
            # A new token for each example, because an example may have logged the account out or changed its password.
            case.headers["Authorization"] = f"Bearer {tokens.start_family(account)['access_token']}"
    case.call_and_validate(checks=CHECKS)

"""Measures the cost of field encryption: requests per second with it, divided by those without it, in one run.

    python -m benchmarks.api.encryption [--rounds 7] [--seconds 3] [--clients 4] [--json FILE]

Two production servers with two workers each use the same embedded servers (durable, one MongoDB node) and different
databases; one of them has PHI_MASTER_KEY. Every patient has all five encrypted fields. The servers are driven in
turns.
"""

import base64
import itertools
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks.api.comparison import (
    ADMIN,
    PATIENTS,
    WITH,
    WITHOUT,
    Case,
    compare,
    create_admin,
    parse_options,
    patient_detail,
    patients_page,
)
from benchmarks.api.driving import Request, migrate, send, serving
from devstack.ephemeral import EphemeralStack

_numbers = itertools.count()


def patient(**fields: Any) -> dict[str, Any]:
    number = next(_numbers)
    return {
        "name": "Ali Raza",
        "phone": "+41 44 123 45 67",
        "email": f"ali.raza.{number}@example.org",
        "address": "Seestrasse 1, 8002 Zürich",
        "national_id": f"756.{number}",
        "notes": "Prefers to be called on the telephone. " * 5,
        **fields,
    }


def new_patient(client: int) -> Iterator[Request]:
    while True:
        yield "POST", "/api/patients", patient()


def by_national_id(client: int) -> Iterator[Request]:
    for number in itertools.count(client):
        yield "GET", f"/api/patients?national_id=756.{number % PATIENTS}", None


CASES: dict[str, Case] = {
    "patient detail": (patient_detail, {200}),
    "page of 50 patients": (patients_page, {200}),
    "by national id": (by_national_id, {200}),
    "new patient": (new_patient, {201}),
}


def main() -> None:
    options = parse_options(__doc__)
    with ExitStack() as stack:
        servers = stack.enter_context(EphemeralStack(durable=True))
        common = {**servers.addresses, "DEVSTACK_DIR": str(servers.directory), "LOCAL_SECRETS": "1"}
        environments = {
            WITH: {**common, "PHI_MASTER_KEY": base64.b64encode(secrets.token_bytes(96)).decode()},
            WITHOUT: {**common, "MONGODB_DB": "healthcare_plain"},
        }
        for environment in environments.values():
            migrate(environment)
        create_admin(common)
        ports = {
            name: stack.enter_context(serving("healthcare.wsgi", environment))
            for name, environment in environments.items()
        }
        # The accounts are in PostgreSQL, which both servers use.
        token = send(ports[WITH], "POST", "/api/auth/login", ADMIN)["access_token"]
        for port in ports.values():
            for number in range(PATIENTS):
                body = patient(patient_id=f"B{number}", national_id=f"756.{number}")
                send(port, "POST", "/api/patients", body, token=token)
        compare(CASES, ports, token, options)


if __name__ == "__main__":
    main()

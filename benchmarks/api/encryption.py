"""What field encryption costs: requests per second with it, divided by those without it, in one run.

    python -m benchmarks.api.encryption [--rounds 7] [--seconds 3] [--clients 4] [--json FILE]

Two production servers with two workers each on the same embedded servers (durable, one MongoDB node) and a database
each, one of them with PHI_MASTER_KEY. Every patient has all five encrypted fields. The two are driven in turns.
"""

import argparse
import base64
import itertools
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.api.audit import ADMIN, WITH, WITHOUT, measure, patient_detail, patients_page, show
from benchmarks.api.driving import Request, ask, manage, serving
from devstack.ephemeral import EphemeralStack

PATIENTS = 50
_made = itertools.count()


def patient(**fields: Any) -> dict[str, Any]:
    number = next(_made)
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


CASES: dict[str, tuple[Callable[[int], Iterator[Request]], set[int]]] = {
    "patient detail": (patient_detail, {200}),
    "page of 50 patients": (patients_page, {200}),
    "by national id": (by_national_id, {200}),
    "new patient": (new_patient, {201}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each server is driven (7)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each time (3)")
    parser.add_argument("--clients", type=int, default=4, help="connections at once (4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    with ExitStack() as stack:
        servers = stack.enter_context(EphemeralStack(durable=True))
        common = {**servers.addresses, "DEVSTACK_DIR": str(servers.directory), "LOCAL_SECRETS": "1"}
        environments = {
            WITH: {**common, "PHI_MASTER_KEY": base64.b64encode(secrets.token_bytes(96)).decode()},
            WITHOUT: {**common, "MONGODB_DB": "healthcare_plain"},
        }
        account = {"DJANGO_SUPERUSER_EMAIL": ADMIN["email"], "DJANGO_SUPERUSER_PASSWORD": ADMIN["password"]}
        manage(common, "migrate", "--verbosity", "0")
        for environment in environments.values():
            manage(environment, "migrate", "--database", "clinical", "--verbosity", "0")
        manage({**common, **account}, "createsuperuser", "--noinput", "--verbosity", "0")
        ports = {
            name: stack.enter_context(serving("healthcare.wsgi", environment))
            for name, environment in environments.items()
        }
        # Accounts are in PostgreSQL, which the two share.
        token = ask(ports[WITH], "POST", "/api/auth/login", ADMIN)["access_token"]
        for port in ports.values():
            for number in range(PATIENTS):
                body = patient(patient_id=f"B{number}", national_id=f"756.{number}")
                ask(port, "POST", "/api/patients", body, token=token)
        figures = {}
        for case, (requests, expected) in CASES.items():
            figures[case] = measure(requests, expected, ports, token, options)
            show(case, figures[case])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

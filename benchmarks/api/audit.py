"""Measures the cost of the audit log: requests per second with it, divided by those without it, in one run.

    python -m benchmarks.api.audit [--rounds 7] [--seconds 3] [--clients 4] [--json FILE]

Two production servers with two workers each use the same databases (embedded, durable, one MongoDB node): the system,
and the system without audit entries (benchmarks/api/without_audit.py). The two servers are driven in turns. A read
inserts its audit entry before the response is sent; the entry of a booking is stored with its event and inserted after
the commit.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, timedelta

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


def booking(client: int) -> Iterator[Request]:
    """Yield bookings of the client's own doctor and patient, each at another time."""
    first = date(2030, 1, 1)
    while True:
        day, slot = divmod(next(_numbers), 40)
        yield "POST", "/api/appointments", {
            "patient_id": f"B{client}", "doctor_id": f"B{client}", "date": str(first + timedelta(days=day)),
            "time": f"{8 + slot // 4:02}:{slot % 4 * 15:02}", "duration_minutes": 15,
        }  # fmt: skip


CASES: dict[str, Case] = {
    "patient detail": (patient_detail, {200}),
    "page of 50 patients": (patients_page, {200}),
    "booking": (booking, {201}),
}


def main() -> None:
    options = parse_options(__doc__)
    with ExitStack() as stack:
        servers = stack.enter_context(EphemeralStack(durable=True))
        environment = {**servers.addresses, "DEVSTACK_DIR": str(servers.directory), "LOCAL_SECRETS": "1"}
        migrate(environment)
        create_admin(environment)
        ports = {
            WITH: stack.enter_context(serving("healthcare.wsgi", environment)),
            WITHOUT: stack.enter_context(serving("benchmarks.api.without_audit", environment)),
        }
        token = send(ports[WITH], "POST", "/api/auth/login", ADMIN)["access_token"]
        for number in range(PATIENTS):
            send(ports[WITH], "POST", "/api/patients", {"patient_id": f"B{number}", "name": "Ali Raza"}, token=token)
        for number in range(options.clients):
            doctor = {"doctor_id": f"B{number}", "name": "Amara Okafor", "specialty": "Cardiology"}
            send(ports[WITH], "POST", "/api/doctors", doctor, token=token)
        compare(CASES, ports, token, options)


if __name__ == "__main__":
    main()

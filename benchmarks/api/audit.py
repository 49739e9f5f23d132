"""What the audit trail costs: requests per second with it, divided by those without it, in one run.

    python -m benchmarks.api.audit [--rounds 7] [--seconds 3] [--clients 4] [--json FILE]

Two production servers with two workers each on the same databases (embedded, durable, one MongoDB node): the system,
and the system whose trail writes nothing (bench/without_audit.py). They are driven in turns. A read inserts its entry
before the answer leaves; a booking's entry rides its event and is inserted after the commit.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path

from benchmarks.api.driving import Request, ask, drive, manage, serving
from devstack.ephemeral import EphemeralStack

ADMIN = {"email": "bench@example.org", "password": "an uncommon phrase for benchmarks"}  # pragma: allowlist secret
WITH, WITHOUT = "with", "without"
_booked = itertools.count()


def patient_detail(client: int) -> Iterator[Request]:
    for number in itertools.count(client):
        yield "GET", f"/api/patients/B{number % 50}", None


def patients_page(client: int) -> Iterator[Request]:
    while True:
        yield "GET", "/api/patients", None


def booking(client: int) -> Iterator[Request]:
    """A visit of the client's own doctor and patient, each at another time."""
    first = date(2030, 1, 1)
    while True:
        number = next(_booked)
        day, slot = divmod(number, 40)
        yield "POST", "/api/appointments", {
            "patient_id": f"B{client}", "doctor_id": f"B{client}", "date": str(first + timedelta(days=day)),
            "time": f"{8 + slot // 4:02}:{slot % 4 * 15:02}", "duration_minutes": 15,
        }  # fmt: skip


CASES: dict[str, tuple[Callable[[int], Iterator[Request]], set[int]]] = {
    "patient detail": (patient_detail, {200}),
    "page of 50 patients": (patients_page, {200}),
    "booking": (booking, {201}),
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
        environment = {**servers.addresses, "DEVSTACK_DIR": str(servers.directory), "LOCAL_SECRETS": "1"}
        manage(environment, "migrate", "--verbosity", "0")
        manage(environment, "migrate", "--database", "clinical", "--verbosity", "0")
        account = {"DJANGO_SUPERUSER_EMAIL": ADMIN["email"], "DJANGO_SUPERUSER_PASSWORD": ADMIN["password"]}
        manage({**environment, **account}, "createsuperuser", "--noinput", "--verbosity", "0")
        ports = {
            WITH: stack.enter_context(serving("healthcare.wsgi", environment)),
            WITHOUT: stack.enter_context(serving("benchmarks.api.without_audit", environment)),
        }
        token = ask(ports[WITH], "POST", "/api/auth/login", ADMIN)["access_token"]
        for number in range(50):
            ask(ports[WITH], "POST", "/api/patients", {"patient_id": f"B{number}", "name": "Ali Raza"}, token=token)
        for number in range(options.clients):
            doctor = {"doctor_id": f"B{number}", "name": "Amara Okafor", "specialty": "Cardiology"}
            ask(ports[WITH], "POST", "/api/doctors", doctor, token=token)
        figures = {}
        for case, (requests, expected) in CASES.items():
            figures[case] = measure(requests, expected, ports, token, options)
            show(case, figures[case])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(
    requests: Callable[[int], Iterator[Request]],
    expected: set[int],
    ports: dict[str, int],
    token: str,
    options: argparse.Namespace,
) -> dict[str, float]:
    rates: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    medians: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for port in ports.values():
        drive(port, requests, seconds=1, clients=options.clients, token=token)
    for _ in range(options.rounds):
        for name, port in ports.items():
            run = drive(port, requests, seconds=options.seconds, clients=options.clients, token=token)
            if run.statuses != expected:
                raise SystemExit(f"Answers other than {expected}: {run.statuses}.")
            rates[name].append(run.per_second)
            medians[name].append(run.quantile_ms(0.5))
    ratios = [one / other for one, other in zip(rates[WITH], rates[WITHOUT], strict=True)]
    return {
        "with_per_second": statistics.median(rates[WITH]),
        "without_per_second": statistics.median(rates[WITHOUT]),
        "with_p50_ms": statistics.median(medians[WITH]),
        "without_p50_ms": statistics.median(medians[WITHOUT]),
        "ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
    }


def show(case: str, figures: dict[str, float]) -> None:
    print(
        f"{case:<22} with {figures['with_per_second']:6.0f}/s {figures['with_p50_ms']:6.2f} ms"
        f"   without {figures['without_per_second']:6.0f}/s {figures['without_p50_ms']:6.2f} ms"
        f"   ratio {figures['ratio']:.2f} ({figures['lowest_ratio']:.2f}–{figures['highest_ratio']:.2f})"
    )


if __name__ == "__main__":
    main()

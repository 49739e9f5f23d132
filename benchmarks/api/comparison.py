"""Compares a server with a feature and one without it: requests per second, driven in turns in one run."""

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.api.driving import Request, drive, run_command
from benchmarks.options import write_json

ADMIN = {"email": "bench@example.org", "password": "an uncommon phrase for benchmarks"}  # pragma: allowlist secret
WITH, WITHOUT = "with", "without"
PATIENTS = 50

#: The requests of a client, and the expected statuses.
Case = tuple[Callable[[int], Iterator[Request]], set[int]]


def patient_detail(client: int) -> Iterator[Request]:
    for number in itertools.count(client):
        yield "GET", f"/api/patients/B{number % PATIENTS}", None


def patients_page(client: int) -> Iterator[Request]:
    while True:
        yield "GET", "/api/patients", None


def parse_options(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds for each server (7)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of a round (3)")
    parser.add_argument("--clients", type=int, default=4, help="number of connections (4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


def create_admin(environment: Mapping[str, str]) -> None:
    account = {"DJANGO_SUPERUSER_EMAIL": ADMIN["email"], "DJANGO_SUPERUSER_PASSWORD": ADMIN["password"]}
    run_command({**environment, **account}, "createsuperuser", "--noinput", "--verbosity", "0")


def compare(cases: Mapping[str, Case], ports: Mapping[str, int], token: str, options: argparse.Namespace) -> None:
    """Measure and print each case; write the figures to the file of --json."""
    figures: dict[str, Any] = {}
    for name, (requests, expected) in cases.items():
        figures[name] = _measure(requests, expected, ports, token, options)
        _print_case(name, figures[name])
    if options.json:
        write_json(figures, options.json)


def _measure(
    requests: Callable[[int], Iterator[Request]],
    expected: set[int],
    ports: Mapping[str, int],
    token: str,
    options: argparse.Namespace,
) -> dict[str, float]:
    rates: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    medians: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for port in ports.values():
        # Warm up.
        drive(port, requests, seconds=1, clients=options.clients, token=token)
    for _ in range(options.rounds):
        for name, port in ports.items():
            run = drive(port, requests, seconds=options.seconds, clients=options.clients, token=token)
            if run.statuses != expected:
                raise SystemExit(f"Statuses other than {expected}: {run.statuses}.")
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


def _print_case(name: str, figures: Mapping[str, float]) -> None:
    print(
        f"{name:<22} with {figures['with_per_second']:6.0f}/s {figures['with_p50_ms']:6.2f} ms"
        f"   without {figures['without_per_second']:6.0f}/s {figures['without_p50_ms']:6.2f} ms"
        f"   ratio {figures['ratio']:.2f} ({figures['lowest_ratio']:.2f}–{figures['highest_ratio']:.2f})"
    )

"""Measures the reports at 1,000,000 and at 100,000 appointments, and the cost of their projections for a booking.

    python -m benchmarks.api.reports [--patients 100000] [--rounds 200] [--json FILE]

Seeds two systems on embedded servers, with ten appointments, five prescriptions and five bills per patient; the second
has a tenth of the first's patients. Both are queried in turns. The figures are medians of the calls that the endpoints
make, without HTTP.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.api.driving import ROOT, migrate, print_line, run_command
from benchmarks.options import write_json
from devstack.ephemeral import EphemeralStack

FEW, MANY = 5, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000, help="patients of the larger system (100,000)")
    parser.add_argument("--rounds", type=int, default=200, help="calls of each report (200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_calls()
        return
    with ExitStack() as stack:
        systems = {}
        for name, patients in (("large", options.patients), ("small", options.patients // 10)):
            servers = stack.enter_context(EphemeralStack())
            environment = {**servers.addresses, "DEVSTACK_DIR": str(servers.directory), "LOCAL_SECRETS": "1"}
            began = time.monotonic()
            migrate(environment)
            run_command(environment, "seed", "--patients", str(patients), "--verbosity", "0")
            print_line(
                f"{patients:,} patients and {10 * patients:,} appointments seeded in {time.monotonic() - began:.0f} s"
            )
            systems[name] = stack.enter_context(SystemProcess(environment))
        figures = measure(systems, options.rounds)
    if options.json:
        write_json(figures, options.json)


#: Executes a named call in a system and returns the time in ms.
Measure = Callable[[str], float]


class SystemProcess:
    """A process for one system, because Django's settings name the databases of one. Executes and times calls."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.api.reports", "--serve"],
            cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Measure:
        return self._measure

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")
        self._process.wait()

    def _measure(self, call: str) -> float:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(f"{call}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def measure(systems: dict[str, Measure], rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in ("top-doctors", "disease-trends by prescriptions", "disease-trends by appointments", "monthly trend"):
        times = in_turns({size: call_of(measure_call, name) for size, measure_call in systems.items()}, rounds)
        figures[name] = {**times, "ratio": times["large"] / times["small"]}
        print_line(
            f"{name:<34} {times['large']:8.2f} ms, small {times['small']:8.2f} ms: {figures[name]['ratio']:.2f} times"
        )
    for name in ("average-prescription-cost, recomputed", "top-doctors of one year"):
        times = in_turns({size: call_of(measure_call, name) for size, measure_call in systems.items()}, FEW)
        figures[name] = times
        print_line(f"{name:<34} {times['large']:8.0f} ms, small {times['small']:8.0f} ms")
    booking = in_turns(
        {each: call_of(systems["large"], each) for each in ("booking", "booking without projections")}, MANY
    )
    ratio = booking["booking"] / booking["booking without projections"]
    figures["booking"] = {**booking, "ratio": ratio}
    print_line(f"{'booking':<34} {booking['booking']:8.2f} ms, without projections {ratio:.2f} times less")
    return figures


def in_turns(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Execute the calls in turns and return the median time of each, after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            milliseconds = call()
            if number >= 2:
                times[name].append(milliseconds)
    return {name: statistics.median(values) for name, values in times.items()}


def call_of(measure_call: Measure, name: str) -> Callable[[], float]:
    return lambda: measure_call(name)


def serve_calls() -> None:
    """Execute the calls that standard input names, and print the milliseconds of each."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "healthcare.settings"
    import django

    django.setup()
    from django.db.models.functions import Mod

    from accounts.models import Role, User
    from appointments import services as appointment_services
    from billing.models import Bill
    from doctors.services import create_doctor
    from healthcare.outbox import events
    from patients.models import Patient
    from patients.services import create_patient
    from reports import queries

    # `seed` bills every completed visit. About five bills per patient are kept, selected by number, because with a list
    # PostgreSQL would compare every bill with half a million ids.
    kept = 1000 * 5 * Patient.objects.count() // Bill.objects.count()
    Bill.objects.alias(place=Mod("pk", 1000)).filter(place__gte=kept).delete()
    admin = User.objects.create_user("bench@example.org", "an uncommon phrase", role=Role.ADMIN)
    create_patient(actor=admin, patient_id="BENCH", name="Ali Raza")
    create_doctor(actor=admin, doctor_id="BENCH", name="Amara Okafor", specialty="Cardiology")
    slots = booking_times()
    year = date.today().year - 1  # noqa: DTZ011 - last year is complete in every time zone

    def book() -> None:
        appointment_services.book_appointment(
            actor=admin, patient_id="BENCH", doctor_id="BENCH", disease="Asthma", **next(slots)
        )

    def book_without_projections() -> None:
        projections = events._projections[:]
        events._projections.clear()
        try:
            book()
        finally:
            events._projections.extend(projections)

    calls: dict[str, Callable[[], object]] = {
        "top-doctors": queries.top_doctors,
        "disease-trends by prescriptions": queries.disease_trends,
        "disease-trends by appointments": lambda: queries.disease_trends(basis="appointments"),
        "monthly trend": lambda: queries.monthly_appointments_trend(year=year),
        "average-prescription-cost, recomputed": lambda: queries.average_prescription_cost(fresh=True),
        "top-doctors of one year": lambda: queries.top_doctors(since=date(year, 1, 1), until=date(year, 12, 31)),
        "booking": book,
        "booking without projections": book_without_projections,
    }
    for line in sys.stdin:
        began = time.perf_counter()
        calls[line.strip()]()
        print(1000 * (time.perf_counter() - began), flush=True)


def booking_times() -> Iterator[dict[str, Any]]:
    day = date(2030, 1, 1)
    while True:
        for hour in range(8, 18):
            yield {"date": day, "time": f"{hour:02}:00"}
        day += timedelta(days=1)


if __name__ == "__main__":
    main()

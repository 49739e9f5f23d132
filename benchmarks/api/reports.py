"""What the reports cost: at 1,000,000 appointments against 100,000, and what their projections add to a booking.

    python -m benchmarks.api.reports [--patients 100000] [--rounds 200] [--json FILE]

Seeds two systems of its own (embedded servers), the second a tenth of the first, ten appointments, five prescriptions
and five bills a patient, and asks both in turns. The figures are medians of the calls that the endpoints make, without
HTTP.
"""

import argparse
import json
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

from benchmarks.api.driving import ROOT, manage
from devstack.ephemeral import EphemeralStack

FEW, MANY = 5, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000, help="of the larger system (100,000)")
    parser.add_argument("--rounds", type=int, default=200, help="how often each report is asked for (200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer()
        return
    with ExitStack() as stack:
        systems = {}
        for name, patients in (("large", options.patients), ("small", options.patients // 10)):
            servers = stack.enter_context(EphemeralStack())
            environment = {**servers.addresses, "DEVSTACK_DIR": str(servers.directory), "LOCAL_SECRETS": "1"}
            began = time.monotonic()
            manage(environment, "migrate", "--verbosity", "0")
            manage(environment, "migrate", "--database", "clinical", "--verbosity", "0")
            manage(environment, "seed", "--patients", str(patients), "--verbosity", "0")
            say(f"{patients:,} patients and {10 * patients:,} appointments seeded in {time.monotonic() - began:.0f} s")
            systems[name] = stack.enter_context(asking(environment))
        figures = measure(systems, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


Ask = Callable[[str], float]


class asking:  # noqa: N801 - reads like a function
    """A process of its own on a system, since settings name one: asks for something, says how many ms it took."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.api.reports", "--answer"],
            cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Ask:
        return self._ask

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")
        self._process.wait()

    def _ask(self, what: str) -> float:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def measure(systems: dict[str, Ask], rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in ("top-doctors", "disease-trends by prescriptions", "disease-trends by appointments", "monthly trend"):
        times = in_turns({size: ask_for(ask, name) for size, ask in systems.items()}, rounds)
        figures[name] = {**times, "ratio": times["large"] / times["small"]}
        say(f"{name:<34} {times['large']:8.2f} ms, small {times['small']:8.2f} ms: {figures[name]['ratio']:.2f} times")
    for name in ("average-prescription-cost, made anew", "top-doctors of one year"):
        times = in_turns({size: ask_for(ask, name) for size, ask in systems.items()}, FEW)
        figures[name] = times
        say(f"{name:<34} {times['large']:8.0f} ms, small {times['small']:8.0f} ms")
    booking = in_turns(
        {each: ask_for(systems["large"], each) for each in ("booking", "booking without projections")}, MANY
    )
    ratio = booking["booking"] / booking["booking without projections"]
    figures["booking"] = {**booking, "ratio": ratio}
    say(f"{'booking':<34} {booking['booking']:8.2f} ms, without projections {ratio:.2f} times less")
    return figures


def in_turns(askers: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each, after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in askers}
    for number in range(rounds + 2):
        for name, ask in askers.items():
            taken = ask()
            if number >= 2:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def ask_for(ask: Ask, what: str) -> Callable[[], float]:
    return lambda: ask(what)


def answer() -> None:
    """Answer questions from stdin with the milliseconds that they took, as one of the systems."""
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

    # The seeder bills every completed visit; about five a patient are kept, by number, as PostgreSQL would compare
    # every bill with a list of half a million.
    kept = 1000 * 5 * Patient.objects.count() // Bill.objects.count()
    Bill.objects.alias(place=Mod("pk", 1000)).filter(place__gte=kept).delete()
    admin = User.objects.create_user("bench@example.org", "an uncommon phrase", role=Role.ADMIN)
    create_patient(actor=admin, patient_id="BENCH", name="Ali Raza")
    create_doctor(actor=admin, doctor_id="BENCH", name="Amara Okafor", specialty="Cardiology")
    slots = when()
    year = date.today().year - 1  # noqa: DTZ011 - the year before this one is whole in every zone

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

    actions: dict[str, Callable[[], object]] = {
        "top-doctors": queries.top_doctors,
        "disease-trends by prescriptions": queries.disease_trends,
        "disease-trends by appointments": lambda: queries.disease_trends(basis="appointments"),
        "monthly trend": lambda: queries.monthly_appointments_trend(year=year),
        "average-prescription-cost, made anew": lambda: queries.average_prescription_cost(fresh=True),
        "top-doctors of one year": lambda: queries.top_doctors(since=date(year, 1, 1), until=date(year, 12, 31)),
        "booking": book,
        "booking without projections": book_without_projections,
    }
    for line in sys.stdin:
        began = time.perf_counter()
        actions[line.strip()]()
        print(1000 * (time.perf_counter() - began), flush=True)


def when() -> Iterator[dict[str, Any]]:
    day = date(2030, 1, 1)
    while True:
        for hour in range(8, 18):
            yield {"date": day, "time": f"{hour:02}:00"}
        day += timedelta(days=1)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()

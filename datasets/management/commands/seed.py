"""`manage.py seed` fills the databases with invented records."""

import sys
import time
from argparse import ArgumentParser
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import date
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.utils import timezone

from datasets.seed import demo, progress, records, staff, workers, writing
from datasets.seed.plan import MAX_PER_PATIENT, Plan, Sizes
from healthcare.routers import CLINICAL

DEFAULT_PATIENTS = 1_000
#: The share of the slots that visits may take, so that each visit finds a slot near the day that it should have.
MAX_UTILISATION = 0.85
#: An ObjectId counts seconds from 1970 in 32 bits, and the first visit is three years before --as-of.
FIRST_DAY = date(1980, 1, 1)
LAST_DAY = date(2100, 1, 1)


class Command(BaseCommand):
    help = (
        "Fill the databases with invented patients and doctors and three years of appointments, prescriptions and "
        "bills. The same --seed and --as-of give the same data. Every completed visit has a bill; --bills adds bills "
        "without a visit."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        sizes = parser.add_argument_group("sizes", "sizes that are not given follow from the number of patients")
        sizes.add_argument("--patients", type=int, default=DEFAULT_PATIENTS, metavar="N", help="default: 1000")
        sizes.add_argument("--doctors", type=int, metavar="N", help="default: one for 200 patients, at least 24")
        sizes.add_argument("--appointments", type=int, metavar="N", help="default: ten for each patient")
        sizes.add_argument("--prescriptions", type=int, metavar="N", help="default: five for each patient")
        sizes.add_argument(
            "--bills", type=int, metavar="N", help="bills without a visit; default: one for each two patients"
        )
        parser.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the random numbers; default: 1")
        parser.add_argument(
            "--as-of",
            metavar="DATE",
            help="the present day of the data: earlier visits are completed or cancelled; default: today",
        )
        existing = parser.add_mutually_exclusive_group()
        existing.add_argument("--append", action="store_true", help="add to the existing records")
        existing.add_argument(
            "--flush",
            action="store_true",
            help="first delete all patients, doctors, appointments, prescriptions, bills and events; accounts stay",
        )
        existing.add_argument(
            "--if-empty", action="store_true", help="if there are records already, add nothing and exit with 0"
        )
        parser.add_argument(
            "--demo-accounts",
            action="store_true",
            help="create one account for each role, with a public password, linked to a doctor and a patient",
        )
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="do not ask before --flush deletes",
        )
        parser.add_argument(
            "--workers",
            type=int,
            metavar="N",
            help="processes that write; default: one for each core, at most 4",
        )

    def handle(self, **options: Any) -> None:
        started = time.monotonic()
        plan = Plan(seed=options["seed"], as_of=_as_of_day(options["as_of"]), sizes=_sizes(options))
        if options["workers"] is not None and options["workers"] < 1:
            raise CommandError("--workers must be 1 or more.")
        _check(plan)
        if options["flush"]:
            self._flush(is_interactive=options["interactive"])
        elif writing.is_unfinished():
            raise CommandError(
                "An earlier run was interrupted, or another one is still running. Use --flush to delete its "
                "records and start again."
            )
        elif not writing.is_empty():
            if options["if_empty"]:
                self._print(options, "There are records already: nothing was added.")
                self._make_demo_accounts(options, None)
                return
            if not options["append"]:
                raise CommandError(
                    "There are records already. Use --append to add to them, or --flush to delete them first."
                )
            plan = _appended(plan)
        written = self._write(plan, options)
        pair = None
        if plan.sizes.patients and plan.sizes.doctors:
            pair = demo.Pair(staff.doctor_id(plan, 0), records.patient_id(plan, 0))
        self._make_demo_accounts(options, pair)
        self._print(options, _table(written, time.monotonic() - started))

    def _write(self, plan: Plan, options: dict[str, Any]) -> writing.Written:
        """Store the whole run.

        Raises: CommandError if the run ends early. The next run sees that this one is unfinished.
        """
        count = options["workers"] or workers.default_count(plan)
        hint = "only a part of the records is stored. Start again with `manage.py seed --flush`."
        try:
            writing.mark_unfinished(plan)
            plan = replace(plan, first_bill=writing.reserve_bill_numbers(plan.sizes.appointments + plan.sizes.bills))
            with progress.progress_of(plan.sizes.total, self.stdout if options["verbosity"] else None) as advance:
                written = writing.write_doctors(plan)
                advance(written.doctors)
                for block in workers.write_blocks(plan, count=count):
                    written = written.plus(block)
                    advance(sum(block) - block.visit_bills)
            writing.mark_finished()
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted: {hint}", returncode=130) from None
        except BrokenProcessPool as error:
            raise CommandError(f"A worker process was killed: {hint}") from error
        except DatabaseError as error:
            raise CommandError(f"A database failed ({type(error).__name__}): {hint}") from error
        return written

    def _flush(self, *, is_interactive: bool) -> None:
        if is_interactive:
            self._confirm()
        writing.flush()

    def _confirm(self) -> None:
        """Ask the operator to confirm. Outside of a trial the answer is the name of the database."""
        existing = ", ".join(f"{count:,} {name}" for name, count in writing.counts().items())
        is_trial = settings.DEBUG or (settings.EMBEDDED_MONGODB and settings.EMBEDDED_POSTGRESQL)
        answer = "yes" if is_trial else str(connections[CLINICAL].settings_dict["NAME"])
        if not sys.stdin.isatty():
            raise CommandError("--flush deletes records. Without a terminal on which to confirm, add --noinput.")
        if input(f"This deletes {existing}. Type {answer!r} to continue: ") != answer:
            raise CommandError("Nothing was deleted.")

    def _make_demo_accounts(self, options: dict[str, Any], pair: demo.Pair | None) -> None:
        if not options["demo_accounts"]:
            return
        logins = demo.ensure_demo_accounts(pair)
        self._print(options, "Demo accounts (with these passwords unless they were changed):")
        for login in logins:
            self._print(options, f"  {login.role:<8} {login.email:<22} {login.password}")

    def _print(self, options: dict[str, Any], text: str) -> None:
        if options["verbosity"]:
            self.stdout.write(text)


def _as_of_day(asked: date | str | None) -> date:
    """Return the present day of the data. Raises: CommandError."""
    if asked is None:
        return timezone.localdate()
    try:
        day = asked if isinstance(asked, date) else date.fromisoformat(asked)
    except ValueError:
        raise CommandError("--as-of must be a date such as 2025-09-12.") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise CommandError(f"--as-of must be a day from {FIRST_DAY} to {LAST_DAY}.")
    return day


def _sizes(options: dict[str, Any]) -> Sizes:
    """Return the sizes of the run. Raises: CommandError for a negative number."""
    patients = options["patients"]
    derived = Sizes(
        patients=patients,
        doctors=max(24, patients // 200) if patients else 0,
        appointments=10 * patients,
        prescriptions=5 * patients,
        bills=patients // 2,
    )
    asked = {name: options[name] for name in Sizes._fields if options[name] is not None}
    for name, number in asked.items():
        if number < 0:
            raise CommandError(f"--{name} must be 0 or more.")
    return derived._replace(**asked)


def _check(plan: Plan) -> None:
    """Raise CommandError if the sizes contradict one another or do not fit into the doctors' hours."""
    sizes = plan.sizes
    for name in ("appointments", "prescriptions", "bills"):
        number = getattr(sizes, name)
        if number and not sizes.patients:
            raise CommandError(f"--{name} {number} needs patients: --patients is 0.")
        if number and name != "bills" and not sizes.doctors:
            raise CommandError(f"--{name} {number} needs doctors: --doctors is 0.")
        if number > MAX_PER_PATIENT * sizes.patients:
            raise CommandError(f"--{name} {number} is more than {MAX_PER_PATIENT} for each patient.")
    if sizes.appointments:
        places = int(staff.capacity(plan) * MAX_UTILISATION)
        if sizes.appointments > places:
            needed = -(-sizes.appointments * sizes.doctors // places)
            raise CommandError(
                f"--appointments {sizes.appointments} do not fit into the working hours of {sizes.doctors} doctors, "
                f"which hold {places:,} visits in three years: about {needed} doctors are needed."
            )


def _appended(plan: Plan) -> Plan:
    """Return a plan for other people with other keys, to be added to the existing records."""
    existing = " ".join(map(str, writing.counts().values()))
    attempt = 0
    while True:
        appended = replace(plan, run=f"after {existing} {attempt}")
        if not writing.has_keys_of(appended):
            return appended
        attempt += 1


def _table(written: writing.Written, seconds: float) -> str:
    rows = {
        "patients": written.patients,
        "doctors": written.doctors,
        "appointments": written.appointments,
        "prescriptions": written.prescriptions,
        "bills of visits": written.visit_bills,
        "other bills": written.other_bills,
    }
    lines = [f"  {name:<16}{count:>12,}" for name, count in rows.items()]
    total = sum(rows.values())
    lines.append(f"  {'total':<16}{total:>12,}  in {seconds:.1f} s ({total / seconds:,.0f}/s)")
    return "\n".join(["Stored:", *lines])

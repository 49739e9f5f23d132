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
from datasets.seed.plan import MOST_PER_PATIENT, Plan, Sizes
from healthcare.routers import CLINICAL

DEFAULT_PATIENTS = 1_000
MOST_OF_CAPACITY = 0.85
#: Object ids count seconds from 1970 in 32 bits, and the first visit is three years before.
FIRST_DAY = date(1980, 1, 1)
LAST_DAY = date(2100, 1, 1)


class Command(BaseCommand):
    help = (
        "Fill the system with invented patients, doctors, three years of appointments, prescriptions and bills. The "
        "same seed and date give the same data. Every completed visit is billed; --bills adds bills without a visit."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        sizes = parser.add_argument_group("sizes", "those that are left out follow from the number of patients")
        sizes.add_argument("--patients", type=int, default=DEFAULT_PATIENTS, metavar="N", help="default: 1000")
        sizes.add_argument("--doctors", type=int, metavar="N", help="default: one for 200 patients, 24 at least")
        sizes.add_argument("--appointments", type=int, metavar="N", help="default: ten for each patient")
        sizes.add_argument("--prescriptions", type=int, metavar="N", help="default: five for each patient")
        sizes.add_argument(
            "--bills", type=int, metavar="N", help="bills without a visit; default: one for two patients"
        )
        parser.add_argument("--seed", type=int, default=1, metavar="S", help="what the dice begin with; default: 1")
        parser.add_argument(
            "--as-of",
            metavar="DATE",
            help="the day that is the present: visits before it took place or were cancelled; default: today",
        )
        there = parser.add_mutually_exclusive_group()
        there.add_argument("--append", action="store_true", help="add to what is there")
        there.add_argument(
            "--flush",
            action="store_true",
            help="first delete every patient, doctor, appointment, prescription, bill and event; accounts stay",
        )
        there.add_argument("--if-empty", action="store_true", help="add nothing when there is data, and do not fail")
        parser.add_argument(
            "--demo-accounts",
            action="store_true",
            help="make one account per role with a password that everybody knows, tied to a doctor and a patient",
        )
        parser.add_argument(
            "--noinput", "--no-input", action="store_false", dest="interactive", help="delete without asking"
        )
        parser.add_argument(
            "--workers",
            type=int,
            metavar="N",
            help="processes that write; default: as many as there are cores, 4 at most",
        )

    def handle(self, **options: Any) -> None:
        began = time.monotonic()
        plan = Plan(seed=options["seed"], as_of=_day(options["as_of"]), sizes=_sizes(options))
        if options["workers"] is not None and options["workers"] < 1:
            raise CommandError("--workers must be 1 or more.")
        _check(plan)
        if options["flush"]:
            self._flush(is_interactive=options["interactive"])
        elif writing.is_unfinished():
            raise CommandError(
                "An earlier run was interrupted (or another is at work now). Use --flush to delete what is there and "
                "begin anew."
            )
        elif not writing.is_empty():
            if options["if_empty"]:
                self._say(options, "There is data already: nothing added.")
                self._make_demo_accounts(options, None)
                return
            if not options["append"]:
                raise CommandError(
                    "There is data already. Use --append to add to it, or --flush to delete all of it first."
                )
            plan = _appended(plan)
        written = self._write(plan, options)
        pair = None
        if plan.sizes.patients and plan.sizes.doctors:
            pair = demo.Pair(staff.doctor_id(plan, 0), records.patient_id(plan, 0))
        self._make_demo_accounts(options, pair)
        self._say(options, _table(written, time.monotonic() - began))

    def _write(self, plan: Plan, options: dict[str, Any]) -> writing.Written:
        """Store the whole run. Raises: CommandError when it ends early, which the next run will know."""
        count = options["workers"] or workers.default_count(plan)
        mend = "a part of the data is there. `manage.py seed --flush` begins anew."
        try:
            writing.begin(plan)
            plan = replace(plan, first_bill=writing.reserve_bill_numbers(plan.sizes.appointments + plan.sizes.bills))
            with progress.shown(plan.sizes.total, self.stdout if options["verbosity"] else None) as advance:
                written = writing.write_doctors(plan)
                advance(written.doctors)
                for some in workers.write_blocks(plan, count=count):
                    written = written.plus(some)
                    advance(sum(some) - some.visit_bills)
            writing.finish()
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted: {mend}", returncode=130) from None
        except BrokenProcessPool as error:
            raise CommandError(f"A worker process was killed: {mend}") from error
        except DatabaseError as error:
            raise CommandError(f"A database refused the data ({type(error).__name__}): {mend}") from error
        return written

    def _flush(self, *, is_interactive: bool) -> None:
        if is_interactive:
            self._confirm()
        writing.flush()

    def _confirm(self) -> None:
        """Have a person type the answer; where it is no trial, the name of the database."""
        found = ", ".join(f"{count:,} {name}" for name, count in writing.counts().items())
        is_trial = settings.DEBUG or (settings.EMBEDDED_MONGODB and settings.EMBEDDED_POSTGRESQL)
        answer = "yes" if is_trial else str(connections[CLINICAL].settings_dict["NAME"])
        if not sys.stdin.isatty():
            raise CommandError("--flush deletes data: without a terminal to ask on it needs --noinput.")
        if input(f"This deletes {found}. Type {answer!r} to go on: ") != answer:
            raise CommandError("Nothing was deleted.")

    def _make_demo_accounts(self, options: dict[str, Any], pair: demo.Pair | None) -> None:
        if not options["demo_accounts"]:
            return
        logins = demo.ensure_demo_accounts(pair)
        self._say(options, "Demo accounts (unless their passwords were changed):")
        for login in logins:
            self._say(options, f"  {login.role:<8} {login.email:<22} {login.password}")

    def _say(self, options: dict[str, Any], text: str) -> None:
        if options["verbosity"]:
            self.stdout.write(text)


def _day(asked: date | str | None) -> date:
    """The day that is the present. Raises: CommandError."""
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
    """What was asked for. Raises: CommandError for a negative number."""
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
    """Raises: CommandError for what cannot be."""
    sizes = plan.sizes
    for name in ("appointments", "prescriptions", "bills"):
        number = getattr(sizes, name)
        if number and not sizes.patients:
            raise CommandError(f"--{name} {number} needs patients: --patients is 0.")
        if number and name != "bills" and not sizes.doctors:
            raise CommandError(f"--{name} {number} needs doctors: --doctors is 0.")
        if number > MOST_PER_PATIENT * sizes.patients:
            raise CommandError(f"--{name} {number} is more than {MOST_PER_PATIENT} for each patient.")
    if sizes.appointments:
        room = int(staff.capacity(plan) * MOST_OF_CAPACITY)
        if sizes.appointments > room:
            needed = -(-sizes.appointments * sizes.doctors // room)
            raise CommandError(
                f"--appointments {sizes.appointments} do not fit into the working hours of {sizes.doctors} doctors, "
                f"which hold {room:,} visits in three years: about {needed} doctors are needed."
            )


def _appended(plan: Plan) -> Plan:
    """The plan as an addition to what is there: other people, other keys."""
    there = " ".join(map(str, writing.counts().values()))
    attempt = 0
    while True:
        found = replace(plan, run=f"after {there} {attempt}")
        if not writing.has_keys_of(found):
            return found
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
    lines.append(f"  {'together':<16}{total:>12,}  in {seconds:.1f} s ({total / seconds:,.0f}/s)")
    return "\n".join(["Made:", *lines])

"""Measures the pages of the admin at 100,000 patients and 200,000 appointments, and counts their database queries.

    python -m benchmarks.api.admin [--patients 100000] [--appointments 200000] [--rounds 20] [--keep DIR] [--json FILE]

Seeds a system on embedded servers, starts the production server with one worker, and requests each page over HTTP with
a session, one request after the other. With --keep the servers' data are kept in a folder for later runs. The figures
are medians after a warm-up. Queries are counted in a separate request.
"""

import argparse
import http.client
import os
import statistics
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.api.driving import HOST, migrate, print_line, run_command, serving
from benchmarks.options import write_json
from devstack.ephemeral import EphemeralStack
from devstack.stack import DevStack

WARM_UP = 3
LIST, PATIENTS = "/admin/appointments/appointment/", "/admin/patients/patient/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000, help="number of patients (100,000)")
    parser.add_argument("--appointments", type=int, default=200_000, help="number of appointments (200,000)")
    parser.add_argument("--rounds", type=int, default=20, help="requests for each page (20)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the servers' data in DIR for later runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args()
    with ExitStack() as stack:
        # Django's settings read the environment once, so the environment is set first.
        if options.keep:
            servers = DevStack(options.keep.resolve())
            servers.up()
            stack.callback(servers.down)
        else:
            servers = stack.enter_context(EphemeralStack())
        os.environ.update(
            servers.addresses, DEVSTACK_DIR=str(servers.directory), LOCAL_SECRETS="1", DEBUG="0", HTTPS_ONLY="0",
            DJANGO_SETTINGS_MODULE="healthcare.settings",
        )  # fmt: skip
        seed(options.patients, options.appointments)
        figures = measure(options.rounds)
    if options.json:
        write_json(figures, options.json)


def seed(patients: int, appointments: int) -> None:
    began = time.monotonic()
    migrate({})
    sizes = {
        "patients": patients, "appointments": appointments, "prescriptions": appointments // 2,
        "bills": appointments // 4,
    }  # fmt: skip
    options = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    run_command({}, "seed", "--if-empty", "--verbosity", "0", "--demo-accounts", *options)
    print_line(
        f"{patients:,} patients and {appointments:,} appointments are stored after {time.monotonic() - began:.0f} s"
    )


def pages() -> dict[str, tuple[str, str]]:
    """Return by name the role that requests a page, and the page's path."""
    from accounts.models import User
    from appointments.models import Appointment
    from billing.models import Bill
    from doctors.models import Doctor
    from patients.models import Patient
    from prescriptions.models import Prescription
    from reports.admin import PAGES

    doctor = Doctor.objects.get(user_id=User.objects.get(email="doctor@example.org").pk)
    visit = Appointment.objects.filter(doctor_id=doctor.pk).order_by("-date").first()
    assert visit is not None  # noqa: S101 - visits are seeded
    patient = Patient.objects.get(pk=visit.patient_id)
    words = patient.name.split()
    course, bill = Prescription.objects.first(), Bill.objects.first()
    assert course is not None  # noqa: S101
    assert bill is not None  # noqa: S101
    year = date.today().year  # noqa: DTZ011 - the seeded data begin years earlier
    by_admin = {
        "dashboard": "/admin/",
        **{f"dashboard, chart of {page.name}": f"/admin/reports/{page.name}/?format=brief" for page in PAGES},
        **{f"report {page.name}": f"/admin/reports/{page.name}/" for page in PAGES},
        "report top-doctors of a year": f"/admin/reports/top-doctors/?since={year}-01-01&until={year}-12-31",
        "patients": PATIENTS,
        "patients, the last page": f"{PATIENTS}?p=20",
        "patients by first name": f"{PATIENTS}?q={words[0]}",
        "patients by last name": f"{PATIENTS}?q={words[-1]}",
        "patients by whole name": f"{PATIENTS}?q={'+'.join(words)}",
        "patients by id": f"{PATIENTS}?q={patient.pk}",
        "patients by a name that does not exist": f"{PATIENTS}?q=Zzyzx",
        "patients found while typing": f"{PATIENTS}autocomplete/?q={words[-1][:3]}",
        "patient": f"{PATIENTS}{patient.pk}/change/",
        "appointments of today": LIST,
        "appointments of tomorrow": f"{LIST}?day=tomorrow",
        "appointments of seven days": f"{LIST}?day=week",
        "appointments, all": f"{LIST}?day=all",
        "appointments, all, the last page": f"{LIST}?day=all&p=20",
        "appointments, all completed": f"{LIST}?day=all&status__exact=completed",
        "appointments, all cancelled": f"{LIST}?day=all&status__exact=cancelled",
        "appointments, all scheduled": f"{LIST}?day=all&status__exact=scheduled",
        "appointments of a patient": f"{LIST}?q={patient.pk}",
        "appointments of a doctor": f"{LIST}?q={doctor.pk}",
        "appointments of a doctor today": f"{LIST}?q={doctor.pk}&day=today",
        "appointments of a doctor, cancelled": f"{LIST}?q={doctor.pk}&status__exact=cancelled",
        "appointment": f"{LIST}{visit.pk}/change/",
        "appointment, new": f"{LIST}add/?doctor_id={doctor.pk}",
        "free slots": f"{LIST}slots/?doctor_id={doctor.pk}",
        "week of a doctor": f"{LIST}week/{doctor.pk}/",
        "doctors": "/admin/doctors/doctor/",
        "doctor": f"/admin/doctors/doctor/{doctor.pk}/change/",
        "prescriptions": "/admin/prescriptions/prescription/",
        "prescriptions of a patient": f"/admin/prescriptions/prescription/?q={patient.pk}",
        "prescription": f"/admin/prescriptions/prescription/{course.pk}/change/",
        "bills": "/admin/billing/bill/",
        "bills, open": "/admin/billing/bill/?status__exact=open",
        "bills of a patient": f"/admin/billing/bill/?q={patient.pk}",
        "bill": f"/admin/billing/bill/{bill.pk}/change/",
        "accounts": "/admin/accounts/user/",
        "audit log": "/admin/healthcare/auditentry/",
        "events": "/admin/healthcare/event/",
    }
    by_others = {
        "dashboard of the front desk": ("staff", "/admin/"),
        "dashboard of a doctor": ("doctor", "/admin/"),
        "a doctor's appointments": ("doctor", f"{LIST}?day=all"),
    }
    return {**{name: ("admin", path) for name, path in by_admin.items()}, **by_others}


def measure(rounds: int) -> dict[str, Any]:
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from healthcare.mongodb.explain import profiled

    figures: dict[str, Any] = {}
    browsers: dict[str, Client] = {}
    for role in ("admin", "staff", "doctor"):
        browsers[role] = Client(HTTP_HOST="localhost")
        browsers[role].force_login(get_user_model().objects.get(email=f"{role}@example.org"))
    with serving("healthcare.wsgi", {}, workers=1) as port:
        for name, (role, path) in pages().items():
            cookie = browsers[role].cookies.output(header="", sep=";", attrs=[])
            times = [1000 * seconds_of(port, path, cookie) for _ in range(WARM_UP + rounds)][WARM_UP:]
            with profiled() as commands, CaptureQueriesContext(connection) as queries:
                browsers[role].get(path)
            figures[name] = {
                "p50_ms": round(statistics.median(times), 1),
                "longest_ms": round(max(times), 1),
                "postgresql_queries": len(queries),
                "mongodb_commands": len(commands),
                "documents_examined": sum(each.documents_examined for each in commands),
                "keys_examined": sum(each.keys_examined for each in commands),
            }
            measured = figures[name]
            print_line(
                f"{name:<44} {measured['p50_ms']:7.1f} ms (at most {measured['longest_ms']:7.1f})  PostgreSQL "
                f"{measured['postgresql_queries']:2}, MongoDB {measured['mongodb_commands']:2}, which read "
                f"{measured['documents_examined']:,} documents and {measured['keys_examined']:,} keys"
            )
    return figures


def seconds_of(port: int, path: str, cookie: str) -> float:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("GET", path, headers={"Cookie": cookie})
    response = connection.getresponse()
    response.read()
    seconds = time.perf_counter() - began
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise SystemExit(f"{path} answered {response.status}")
    return seconds


if __name__ == "__main__":
    main()

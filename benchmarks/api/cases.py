"""The requests that `python -m benchmarks.api` sends to the API and to the floor, and the records that they need."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pymongo import MongoClient

from benchmarks.api.driving import Request, run_command, send
from benchmarks.api.records import ADMIN

#: The account that writes prescriptions, which only a doctor may.
DOCTOR = {"email": "bench-doctor@example.org", "password": "another uncommon phrase"}  # pragma: allowlist secret
DOCTORS = [f"BENCH-{number}" for number in range(64)]
#: Matches every record that the benchmark has written, because each names one of these doctors.
WRITTEN = {"doctor_id": {"$regex": "^BENCH-"}}
SAMPLE = 4_000


@dataclass
class Records:
    """Ids of seeded records, and the number of visits that were booked so far."""

    patients: Sequence[str]
    doctors: Sequence[str]
    specialties: Sequence[str]
    month: tuple[date, date]
    booked: int = 0


@dataclass(frozen=True)
class Case:
    """A kind of request to measure."""

    name: str
    requests: Callable[[Records], Iterator[Request]]
    #: The required share of the floor's requests per second; None if no share is required.
    at_least: float | None = None
    role: str = "admin"
    is_write: bool = False
    #: The shortest round, in which each connection can send a request: bcrypt takes a quarter of a second of a core.
    least_seconds: int = 1


def _patient_details(records: Records) -> Iterator[Request]:
    return (("GET", f"/api/patients/{each}", None) for each in records.patients)


def _patients_page(records: Records) -> Iterator[Request]:
    yield "GET", "/api/patients?page_size=50", None


def _doctors_by_specialty(records: Records) -> Iterator[Request]:
    return (("GET", f"/api/doctors?specialty={each.replace(' ', '%20')}", None) for each in records.specialties)


def _appointments_of_month(records: Records) -> Iterator[Request]:
    since, until = records.month
    return (("GET", f"/api/appointments?doctor_id={each}&from={since}&to={until}", None) for each in records.doctors)


def _bookings(records: Records) -> Iterator[Request]:
    """Yield bookings of 64 doctors with 4,000 patients, of which no two overlap."""
    first, slots = date(2031, 1, 1), 20
    at_once = min(len(DOCTORS), len(records.patients))
    while True:
        number = records.booked
        records.booked += 1
        day, slot = divmod(number // at_once, slots)
        yield "POST", "/api/appointments", {
            "patient_id": records.patients[number % len(records.patients)],
            "doctor_id": DOCTORS[number % at_once],
            "date": str(first + timedelta(days=day)),
            "time": f"{8 + slot // 2:02}:{slot % 2 * 30:02}",
            "duration_minutes": 30,
            "disease": "Asthma",
        }  # fmt: skip


def _prescriptions(records: Records) -> Iterator[Request]:
    while True:
        for each in records.patients:
            yield "POST", "/api/prescriptions", {
                "patient_id": each, "doctor_id": DOCTORS[0], "drug": "Salbutamol", "dosage": "100mcg",
                "frequency": "Twice daily", "disease": "Asthma", "duration_days": 30, "cost": "12.50",
            }  # fmt: skip


def _logins(records: Records) -> Iterator[Request]:
    yield "POST", "/api/auth/login", ADMIN


def _report(name: str) -> Case:
    def requests(records: Records) -> Iterator[Request]:
        yield "GET", f"/api/reports/{name}", None

    return Case(name, requests)


CASES = {
    "detail": Case("patient detail", _patient_details, 0.35),
    "page": Case("page of 50 patients", _patients_page, 0.5),
    "doctors": Case("doctors by specialty", _doctors_by_specialty, 0.5),
    "range": Case("appointments of a doctor's month", _appointments_of_month, 0.5),
    "booking": Case("POST appointment", _bookings, 0.35, is_write=True),
    "prescription": Case("POST prescription", _prescriptions, 0.35, role="doctor", is_write=True),
    "login": Case("login", _logins, least_seconds=4),
    "top-doctors": _report("top-doctors"),
    "disease-trends": _report("disease-trends"),
    "monthly-trend": _report("monthly-appointments-trend"),
    "prescription-cost": _report("average-prescription-cost"),
}


def prepare(environment: dict[str, str], port: int) -> tuple[Records, dict[str, str]]:
    """Create the missing records of the cases; return the records, and a token for each role."""
    admin = send(port, "POST", "/api/auth/login", ADMIN)["access_token"]
    client: MongoClient[dict[str, Any]] = MongoClient(environment["MONGODB_URI"])
    with client:
        database = client["healthcare"]
        if database.doctors.count_documents({"_id": {"$in": DOCTORS}}) < len(DOCTORS):
            make_doctors(port, admin)
        seeded = {"_id": {"$not": {"$regex": "^BENCH-"}}}
        patients = [each["_id"] for each in database.patients.find({}, ["_id"]).sort("_id", 1)]
        doctors = [each["_id"] for each in database.doctors.find(seeded, ["_id"])]
        specialties = database.doctors.distinct("specialty", seeded)
    last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    step = max(1, len(patients) // SAMPLE)
    records = Records(patients[::step], doctors, specialties, (last.replace(day=1), last))
    doctor = send(port, "POST", "/api/auth/login", DOCTOR)["access_token"]
    return records, {"admin": admin, "doctor": doctor}


def make_doctors(port: int, admin: str) -> None:
    """Create doctors who work every day. The first of them has an account."""
    found = send(port, "GET", f"/api/accounts?email={DOCTOR['email']}", token=admin)["results"]
    account = {**DOCTOR, "role": "doctor", "name": "Bench"}
    user_id = (found[0] if found else send(port, "POST", "/api/accounts", account, token=admin))["id"]
    hours = [{"weekday": day, "start": "08:00", "end": "18:00"} for day in range(7)]
    for each in DOCTORS:
        doctor = {"doctor_id": each, "name": "Bench", "specialty": "Benchmarks", "availability": hours}
        send(port, "POST", "/api/doctors", {**doctor, "user_id": user_id}, token=admin)
        user_id = None


def delete_written_records(environment: dict[str, str]) -> None:
    """Delete the records of earlier runs, so that each run finds the same data."""
    client: MongoClient[dict[str, Any]] = MongoClient(environment["MONGODB_URI"])
    with client:
        database = client["healthcare"]
        visits = [each["_id"] for each in database.appointments.find(WRITTEN, ["_id"])]
        if not visits and database.prescriptions.find_one(WRITTEN) is None:
            return
        for collection in (database.appointments, database.prescriptions):
            collection.delete_many(WRITTEN)
        database.claims.delete_many({"appointment_id": {"$in": visits}})
        database.patients.update_many(
            {"$or": [{"appointments": {"$elemMatch": WRITTEN}}, {"prescriptions": {"$elemMatch": WRITTEN}}]},
            {"$pull": {"appointments": WRITTEN, "prescriptions": WRITTEN}},
        )
    run_command(environment, "rebuild_reports", "--verbosity", "0")


def as_lines(requests: Iterator[Request], limit: int) -> Iterator[str]:
    """Yield the first requests as lines for `requests.lua`."""
    for (method, path, body), _ in zip(requests, range(limit), strict=False):
        yield f"{method}\t{path}\t{'' if body is None else json.dumps(body)}\n"

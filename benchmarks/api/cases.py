"""What `python -m bench` asks for, of the API and of the floor alike, and the records that it needs for that."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pymongo import MongoClient

from benchmarks.api.driving import Request, ask, manage
from benchmarks.api.records import ADMIN

#: Writes the prescriptions, which only a doctor may.
DOCTOR = {"email": "bench-doctor@example.org", "password": "another uncommon phrase"}  # pragma: allowlist secret
DOCTORS = [f"BENCH-{number}" for number in range(64)]
#: Everything that the benchmark has written names one of them.
OURS = {"doctor_id": {"$regex": "^BENCH-"}}
SAMPLE = 4_000


@dataclass
class Records:
    """Ids of the seeded records to ask for, and how many visits were booked so far."""

    patients: Sequence[str]
    doctors: Sequence[str]
    specialties: Sequence[str]
    month: tuple[date, date]
    booked: int = 0


@dataclass(frozen=True)
class Case:
    name: str
    requests: Callable[[Records], Iterator[Request]]
    #: What it must reach of the floor's requests per second; None where nobody has set a bound.
    at_least: float | None = None
    asker: str = "admin"
    is_write: bool = False
    #: So that one request of each connection is through: bcrypt takes a quarter of a second of a core.
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
    """Visits of 64 doctors with 4,000 patients; nobody has two at one time."""
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
    "prescription": Case("POST prescription", _prescriptions, 0.35, asker="doctor", is_write=True),
    "login": Case("login", _logins, least_seconds=4),
    "top-doctors": _report("top-doctors"),
    "disease-trends": _report("disease-trends"),
    "monthly-trend": _report("monthly-appointments-trend"),
    "prescription-cost": _report("average-prescription-cost"),
}


def prepare(environment: dict[str, str], port: int) -> tuple[Records, dict[str, str]]:
    """What the cases need, made where it is missing, and a token for each asker."""
    admin = ask(port, "POST", "/api/auth/login", ADMIN)["access_token"]
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
    doctor = ask(port, "POST", "/api/auth/login", DOCTOR)["access_token"]
    return records, {"admin": admin, "doctor": doctor}


def make_doctors(port: int, admin: str) -> None:
    """Doctors who work every day, the first of whom has an account."""
    found = ask(port, "GET", f"/api/accounts?email={DOCTOR['email']}", token=admin)["results"]
    account = {**DOCTOR, "role": "doctor", "name": "Bench"}
    user_id = (found[0] if found else ask(port, "POST", "/api/accounts", account, token=admin))["id"]
    hours = [{"weekday": day, "start": "08:00", "end": "18:00"} for day in range(7)]
    for each in DOCTORS:
        doctor = {"doctor_id": each, "name": "Bench", "specialty": "Benchmarks", "availability": hours}
        ask(port, "POST", "/api/doctors", {**doctor, "user_id": user_id}, token=admin)
        user_id = None


def forget(environment: dict[str, str]) -> None:
    """Delete what earlier runs have written, so that each finds the same data."""
    client: MongoClient[dict[str, Any]] = MongoClient(environment["MONGODB_URI"])
    with client:
        database = client["healthcare"]
        visits = [each["_id"] for each in database.appointments.find(OURS, ["_id"])]
        if not visits and database.prescriptions.find_one(OURS) is None:
            return
        for collection in (database.appointments, database.prescriptions):
            collection.delete_many(OURS)
        database.claims.delete_many({"appointment_id": {"$in": visits}})
        database.patients.update_many(
            {"$or": [{"appointments": {"$elemMatch": OURS}}, {"prescriptions": {"$elemMatch": OURS}}]},
            {"$pull": {"appointments": OURS, "prescriptions": OURS}},
        )
    manage(environment, "rebuild_reports", "--verbosity", "0")


def as_lines(requests: Iterator[Request], most: int) -> Iterator[str]:
    """The first requests as lines of `requests.lua`."""
    for (method, path, body), _ in zip(requests, range(most), strict=False):
        yield f"{method}\t{path}\t{'' if body is None else json.dumps(body)}\n"

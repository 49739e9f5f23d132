"""The floor: the API's endpoints without a framework, with WSGI, pymongo, psycopg and orjson only.

The floor returns the same JSON from the same documents as the API, and uses the driver options of the settings. It
reads no account, checks no permission and writes no audit entry. A write is an insert and a push to the chart, without
a transaction, claims, an event or rollups. `python -m benchmarks.api` compares the API with it.
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import bcrypt
import jwt
import orjson
import psycopg
from bson import Decimal128, ObjectId
from pymongo import MongoClient

from reports import pipelines

PAGE = 50
CHART_LENGTH = 50
SIGNING_KEY = "the key of the floor, whose tokens no server accepts"

Response = tuple[str, Any]
Query = Mapping[str, list[str]]

# The options of the settings, so that an acknowledged write is as safe as one of the API.
client: MongoClient[dict[str, Any]] = MongoClient(
    os.environ["MONGODB_URI"], w="majority", wTimeoutMS=5000, readConcernLevel="majority", maxPoolSize=20
)
database: Any = client["healthcare"]
_local = threading.local()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method == "GET":
        folder, _, key = path.removeprefix("/api/").partition("/")
        if folder == "reports":
            status, content = REPORTS[key]()
        elif key:
            status, content = DETAILS[folder](key)
        else:
            status, content = LISTS[folder](parse_qs(environ["QUERY_STRING"]))
    else:
        body = orjson.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        status, content = WRITES[path](body)
    text = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


# --- Reads -----------------------------------------------------------------------------------------------------------


def patient(patient_id: str) -> Response:
    found = database.patients.find_one({"_id": patient_id})
    return ("404 Not Found", None) if found is None else ("200 OK", patient_row(found))


def patients(query: Query) -> Response:
    found = database.patients.find({}).sort([("name", 1), ("_id", 1)]).limit(PAGE + 1)
    return page([patient_row(each) for each in found], ("name", "patient_id"))


def doctors(query: Query) -> Response:
    key = " ".join(query["specialty"][0].casefold().split())
    found = database.doctors.find({"specialty_key": key}).sort([("name", 1), ("_id", 1)]).limit(PAGE + 1)
    return page([doctor_row(each) for each in found], ("name", "doctor_id"))


def appointments(query: Query) -> Response:
    period = {"$gte": datetime.fromisoformat(query["from"][0]), "$lte": datetime.fromisoformat(query["to"][0])}
    where = {"doctor_id": query["doctor_id"][0], "date": period}
    found = database.appointments.find(where).sort([("date", -1), ("time", -1), ("_id", -1)]).limit(PAGE + 1)
    return page([appointment_row(each) for each in found], ("date", "time", "appointment_id"))


def page(rows: list[dict[str, Any]], order: tuple[str, ...]) -> Response:
    next_page = None
    if len(rows) > PAGE:
        rows = rows[:PAGE]
        next_page = "?cursor=" + orjson.dumps([rows[-1][name] for name in order]).decode()
    return "200 OK", {"next": next_page, "previous": None, "results": rows}


def patient_row(found: dict[str, Any]) -> dict[str, Any]:
    born = found["birth_date"]
    return {
        "patient_id": found["_id"],
        "name": found["name"],
        "birth_date": day(born),
        "age": None if born is None else age(born),
        "sex": found["sex"],
        "diseases": found["diseases"],
        "phone": found["phone"],
        "email": found["email"],
        "address": found["address"],
        "national_id": found["national_id"],
        "notes": found["notes"],
        "user_id": found["user_id"],
        "appointments": [
            {
                "appointment_id": each["appointment_id"],
                "doctor_id": each["doctor_id"],
                "date": day(each["date"]),
                "time": each["time"] or None,
                "duration_minutes": each["duration_minutes"],
                "status": each["status"],
                "disease": each["disease"],
            }
            for each in found["appointments"]
        ],
        "prescriptions": [
            {
                "id": str(each["prescription_id"]),
                "doctor_id": each["doctor_id"],
                "drug": each["drug"],
                "dosage": each["dosage"],
                "frequency": each["frequency"],
                "start_date": day(each["start_date"]),
                "duration_days": each["duration_days"],
                "disease": each["disease"],
            }
            for each in found["prescriptions"]
        ],
        "created_at": instant(found["created_at"]),
    }


def doctor_row(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "doctor_id": found["_id"],
        "name": found["name"],
        "specialty": found["specialty"],
        "availability": [
            {name: each[name] for name in ("weekday", "start", "end", "slot_minutes")} for each in found["availability"]
        ],
        "exceptions": [
            {"date": day(each["date"]), "start": each["start"], "end": each["end"], "closed": each["closed"]}
            for each in found["exceptions"]
        ],
        "accepting_patients": found["accepting_patients"],
        "time_zone": found["time_zone"],
        "user_id": found["user_id"],
        "created_at": instant(found["created_at"]),
    }


def appointment_row(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "appointment_id": found["_id"],
        "patient_id": found["patient_id"],
        "doctor_id": found["doctor_id"],
        "date": day(found["date"]),
        "time": found["time"] or None,
        "duration_minutes": found["duration_minutes"],
        "status": found["status"],
        "disease": found["disease"],
        "starts_at": instant(found["starts_at"]),
        "created_at": instant(found["created_at"]),
    }


def prescription_row(found: dict[str, Any]) -> dict[str, Any]:
    cost = found["cost"]
    return {
        "id": str(found["_id"]),
        "patient_id": found["patient_id"],
        "doctor_id": found["doctor_id"],
        "appointment_id": found["appointment_id"],
        "drug": found["drug"],
        "dosage": found["dosage"],
        "frequency": found["frequency"],
        "cost": None if cost is None else format(cost.to_decimal(), ".2f"),
        "disease": found["disease"],
        "start_date": day(found["start_date"]),
        "duration_days": found["duration_days"],
        "instructions": found["instructions"],
        "created_at": instant(found["created_at"]),
    }


def day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def instant(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def age(born: datetime) -> int:
    today = datetime.now(UTC)
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


# --- Writes ----------------------------------------------------------------------------------------------------------


def book(body: dict[str, Any]) -> Response:
    on = datetime.fromisoformat(body["date"])
    visit = {
        "_id": "A" + secrets.token_hex(8),
        "patient_id": body["patient_id"],
        "doctor_id": body["doctor_id"],
        "date": on,
        "time": body["time"],
        "duration_minutes": body["duration_minutes"],
        "status": "scheduled",
        "disease": body["disease"],
        "starts_at": on + timedelta(hours=int(body["time"][:2]), minutes=int(body["time"][3:])),
        "created_at": datetime.now(UTC).replace(tzinfo=None),
    }
    database.appointments.insert_one(visit)
    entry = {
        "appointment_id": visit["_id"],
        **{name: visit[name] for name in ("doctor_id", "date", "time", "duration_minutes", "status", "disease")},
    }
    push("appointments", body["patient_id"], entry, ("date", "time", "appointment_id"))
    return "201 Created", appointment_row(visit)


def prescribe(body: dict[str, Any]) -> Response:
    now = datetime.now(UTC).replace(tzinfo=None)
    copied = ("patient_id", "doctor_id", "drug", "dosage", "frequency", "disease", "duration_days")
    prescription = {
        "_id": ObjectId(),
        **{name: body[name] for name in copied},
        "appointment_id": None,
        "cost": Decimal128(Decimal(body["cost"])),
        "start_date": datetime(now.year, now.month, now.day),  # noqa: DTZ001 - midnight, as days are stored
        "instructions": None,
        "created_at": now,
    }
    database.prescriptions.insert_one(prescription)
    chart_fields = ("doctor_id", "drug", "dosage", "frequency", "start_date", "duration_days", "disease")
    entry = {"prescription_id": prescription["_id"], **{name: prescription[name] for name in chart_fields}}
    push("prescriptions", body["patient_id"], entry, ("start_date", "prescription_id"))
    return "201 Created", prescription_row(prescription)


def push(kind: str, patient_id: str, entry: dict[str, Any], order: tuple[str, ...]) -> None:
    pushed = {"$each": [entry], "$sort": dict.fromkeys(order, -1), "$slice": CHART_LENGTH}
    database.patients.update_one({"_id": patient_id}, {"$push": {kind: pushed}})


def log_in(body: dict[str, Any]) -> Response:
    row = sql().execute("SELECT id, password FROM accounts_user WHERE email = %s", [body["email"]]).fetchone()
    if row is None or not is_password(body["password"], row[1]):
        return "400 Bad Request", None
    ends_at = datetime.now(UTC) + timedelta(minutes=15)
    tokens = {
        f"{kind}_token": jwt.encode({"sub": str(row[0]), "kind": kind, "exp": ends_at}, SIGNING_KEY, algorithm="HS256")
        for kind in ("access", "refresh")
    }
    return "200 OK", {**tokens, "token_type": "Bearer", "expires_in": 900}


def is_password(password: str, stored: str) -> bool:
    """Return whether the password matches a hash of Django's BCryptSHA256PasswordHasher."""
    digest = hashlib.sha256(password.encode()).hexdigest().encode()
    hashed = stored.partition("$")[2].encode()
    return secrets.compare_digest(bcrypt.hashpw(digest, hashed), hashed)


def sql() -> psycopg.Connection[Any]:
    if not hasattr(_local, "connection"):
        _local.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    return _local.connection


# --- Reports: the same pipelines over the same rollups ---------------------------------------------------------------


def top_doctors() -> Response:
    pipeline = pipelines.top_doctors(limit=5, by="patients")
    found = list(database.report_counters.aggregate(pipeline, hint=pipelines.ORDER_INDEXES["patients"]))
    ids = [each["doctor_id"] for each in found]
    named = {each["_id"]: each for each in database.doctors.find({"_id": {"$in": ids}}, ["name", "specialty"])}
    rows = [
        {
            "doctor_id": each["doctor_id"],
            "name": named[each["doctor_id"]]["name"],
            "specialty": named[each["doctor_id"]]["specialty"],
            "patients": each["patients"],
            "appointments": each["appointments"],
        }
        for each in found
    ]
    return report(rows)


def disease_trends() -> Response:
    rows = [
        {
            "disease": each["disease"],
            "patients": each["patients"],
            "ongoing": each["ongoing"],
            "average_treatment_days": mean(each["days"], each["patients"] - each["ongoing"]),
        }
        for each in database.report_counters.aggregate(pipelines.diseases(basis="prescriptions"))
    ]
    return report(sorted(rows, key=lambda row: str(row["disease"])))


def monthly_trend() -> Response:
    counted = {
        (int(each["_id"]["month"]), each["_id"]["status"]): each["appointments"]
        for each in database.report_counters.aggregate(pipelines.months(year=datetime.now(UTC).year))
    }
    statuses = ("completed", "cancelled", "scheduled")
    return report(
        [{"month": month, **{each: counted.get((month, each), 0) for each in statuses}} for month in range(1, 13)]
    )


def prescription_cost() -> Response:
    """Return the stored result, as the API does, which computes it at most once a minute."""
    found = database.report_results.find_one({"_id": "average-prescription-cost"}) or {"rows": []}
    amounts = ("average_prescription_cost", "average_total_cost")
    return report(
        [{**row, **{name: amount(row[name]) for name in amounts}} for row in found["rows"]],
    )


def report(rows: list[dict[str, Any]]) -> Response:
    return "200 OK", {"results": rows, "as_of": datetime.now(UTC)}


def mean(total: int, number: int) -> str | None:
    return format(Decimal(total) / number, ".2f") if number else None


def amount(value: Decimal128 | None) -> str | None:
    return None if value is None else format(value.to_decimal(), ".2f")


LISTS = {"patients": patients, "doctors": doctors, "appointments": appointments}
DETAILS = {"patients": patient}
WRITES = {"/api/appointments": book, "/api/prescriptions": prescribe, "/api/auth/login": log_in}
REPORTS = {
    "top-doctors": top_doctors,
    "disease-trends": disease_trends,
    "monthly-appointments-trend": monthly_trend,
    "average-prescription-cost": prescription_cost,
}

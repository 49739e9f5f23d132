"""Query plans of the lists: an index gives filter and order of a page of 50 among 50,000 rows, also of a deep page.

The requests go through the API. MongoDB's profiler gives the command that found a page, and Django gives the SQL. The
tests ask each database for the plan of that command, and measure no times. The module fixture inserts the documents
once.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from accounts.models import User
from appointments.models import Appointment
from billing.models import Bill
from doctors.models import Doctor
from healthcare.api.pagination import Order
from healthcare.mongodb.explain import Plan, explain, read_plan
from patients.models import Patient
from prescriptions.models import Prescription
from tests.databases import clinical_database
from tests.people import client_of, make_account

MANY = 50_000
PAGE = 50
BEGIN = datetime(2023, 1, 1)  # noqa: DTZ001 - naive, as the engine stores dates
#: A scan may skip index keys if the status follows the date in the index. It must not skip the keys of all visits on
#: one date (see `a_day`).
MOST_KEYS = 2 * (PAGE + 1)

ORDERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "patients": (Patient, ("name", "patient_id")),
    "doctors": (Doctor, ("name", "doctor_id")),
    "appointments": (Appointment, ("-date", "-time", "-appointment_id")),
    "prescriptions": (Prescription, ("-start_date", "-id")),
}

# --- 50,000 of each --------------------------------------------------------------------------------------------------

FIRST_NAMES = [f"First{n:03}" for n in range(200)]
LAST_NAMES = [f"Last{n:03}" for n in range(50)]


def a_day(chance: Random) -> datetime:
    """Return one of 1,000 days, in a quarter of the calls the middle one: deep pages lie among 12,500 equal dates."""
    return BEGIN + timedelta(days=500 if chance.random() < 0.25 else chance.randrange(1_000))


def patients(chance: Random) -> Iterator[dict[str, Any]]:
    for n in range(1, MANY + 1):
        yield {
            "_id": f"P{n}", "name": f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}", "birth_date": BEGIN,
            "sex": None, "phone": None, "email": None, "address": None, "notes": None,
            "diseases": ["Rare", "Asthma"] if n % 2_500 == 0 else ["Asthma", "Diabetes"] if n % 2 else [],
            "national_id": f"N{n}" if n % 5 else "shared", "user_id": n if n <= 2 else None,
            "appointments": [], "prescriptions": [], "created_at": BEGIN, "revision": 0,
        }  # fmt: skip


def doctors(chance: Random) -> Iterator[dict[str, Any]]:
    for n in range(1, MANY + 1):
        specialty = "Rare" if n % 2_500 == 0 else "Cardiology" if n % 2 else chance.choice(["Neurology", "Oncology"])
        yield {
            "_id": f"D{n}", "name": f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}",
            "specialty": specialty, "specialty_key": specialty.casefold(), "availability": [], "exceptions": [],
            "accepting_patients": n % 100 != 0, "time_zone": "UTC", "user_id": n + 2 if n <= 2 else None,
            "created_at": BEGIN,
        }  # fmt: skip


def appointments(chance: Random) -> Iterator[dict[str, Any]]:
    for n in range(1, MANY + 1):
        yield {
            "_id": f"A{n}", "patient_id": "P1" if n % 2 else f"P{chance.randint(2, 5_000)}",
            "doctor_id": "D1" if n % 5 else f"D{chance.randint(2, 500)}", "date": a_day(chance),
            "time": chance.choice(["", "09:00", "10:30", "14:05"]), "duration_minutes": 30,
            "status": "scheduled" if n % 1_000 == 0 else chance.choice(["completed", "completed", "cancelled"]),
            "disease": None, "starts_at": None, "created_at": BEGIN,
        }  # fmt: skip


def prescriptions(chance: Random) -> Iterator[dict[str, Any]]:
    for n in range(1, MANY + 1):
        yield {
            "_id": ObjectId(f"{n:024x}"), "patient_id": "P1" if n % 2 else f"P{chance.randint(2, 5_000)}",
            "doctor_id": "D1" if n % 5 else f"D{chance.randint(2, 500)}", "appointment_id": None, "drug": "Salbutamol",
            "dosage": "2 puff", "frequency": "Daily", "cost": Decimal128("1.50"),
            "disease": "Rare" if n % 2_500 == 0 else chance.choice(["Asthma", "Asthma", "Diabetes"]),
            "start_date": a_day(chance), "duration_days": None,
            "instructions": None, "created_at": BEGIN,
        }  # fmt: skip


ACCOUNTS = """
    INSERT INTO accounts_user (id, password, email, name, role, is_active, token_version, created_at)
    SELECT n, '!', 'account' || n || '@example.org', '', CASE WHEN n % 2500 = 0 THEN 'staff' ELSE 'patient' END,
           n % 1000 <> 0, 0, now()
    FROM generate_series(1001, 51000) n
"""
BILLS = """
    INSERT INTO billing (id, patient_id, appointment_id, disease, total_cost, status, created_at)
    SELECT n, CASE WHEN n % 2 = 0 THEN 'P1' ELSE 'P' || (n % 5000 + 2) END, 'A' || n,
           CASE WHEN n % 2500 = 0 THEN 'Rare' WHEN n % 3 = 0 THEN NULL ELSE 'Asthma' END, 10,
           CASE WHEN n % 1000 = 0 THEN 'void' WHEN n % 3 = 0 THEN 'open' ELSE 'paid' END, now()
    FROM generate_series(1, 50000) n
"""


@pytest.fixture(scope="module")
def clients(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, APIClient]]:
    """Fill both databases, and yield clients of accounts 1 to 5 with the records P1, P2, D1, D2 and none (an admin).

    No test in this module declares a database, so nothing is rolled back or emptied between the tests. The fixture
    empties both databases at the end.
    """
    database = clinical_database()
    makers = {"patients": patients, "doctors": doctors, "appointments": appointments, "prescriptions": prescriptions}
    tables = "accounts_user, billing"
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
            roles = {"patient": "patient", "few_patient": "patient", "doctor": "doctor", "few_doctor": "doctor"}
            roles["admin"] = "admin"
            people = {who: make_account(role, f"{who}@example.org") for who, role in roles.items()}
            assert [person.pk for person in people.values()] == [1, 2, 3, 4, 5]
            cursor.execute(ACCOUNTS)
            cursor.execute(BILLS)
            cursor.execute("ANALYZE")
        for name, make in makers.items():
            database[name].delete_many({})
            database[name].insert_many(make(Random(name)), ordered=False)
        yield {who: client_of(person) for who, person in people.items()}
        for name in makers:
            database[name].delete_many({})
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")


def ask(client: APIClient, url: str) -> dict[str, Any]:
    response = client.get(url)
    assert response.status_code == 200, response.content
    return response.json()


def find_of(client: APIClient, url: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Request a page, and return the command that found it and its rows."""
    database = clinical_database()
    collection = url.removeprefix("http://testserver").removeprefix("/api/").split("?")[0]
    database.command("profile", 2)
    try:
        rows = ask(client, url)["results"]
    finally:
        database.command("profile", 0)
    ran = list(database["system.profile"].find({"op": "query", "command.find": collection}).sort("ts", 1))
    database["system.profile"].drop()
    # The request also looks up the account's own record; only the query of the page has a sort.
    pages = [entry["command"] for entry in ran if "sort" in entry["command"]]
    assert len(pages) == 1
    return {name: pages[0][name] for name in ("find", "filter", "sort", "limit")}, rows


def plan_of(client: APIClient, url: str) -> tuple[Plan, list[dict[str, Any]]]:
    command, rows = find_of(client, url)
    return read_plan(clinical_database().command("explain", command, verbosity="executionStats")), rows


def count_of(command: dict[str, Any]) -> int:
    return clinical_database()[command["find"]].count_documents(command["filter"])


def pages_around(client: APIClient, url: str) -> tuple[str, str]:
    """Return the URLs of the pages after and before the middle row of the list: page 500 of 1,000 without a filter."""
    command, _ = find_of(client, url)
    model, order = ORDERS[command["find"]]
    found = clinical_database()[command["find"]].find(command["filter"], ["_id"])
    middle = found.sort(list(command["sort"].items())).skip(count_of(command) // 2).limit(1)[0]
    row, places = model.objects.get(pk=middle["_id"]), Order(model.objects.order_by(*order))
    link = f"{url}{'&' if '?' in url else '?'}cursor="
    return link + places.cursor(row), link + places.cursor(row, backwards=True)


# --- MongoDB ---------------------------------------------------------------------------------------------------------

#: (client, list with its filters) whose first page is full: a request must read at least 51 documents.
FULL_PAGES = [
    ("admin", "patients"),
    ("doctor", "patients"),
    ("admin", "patients?disease=Asthma"),
    ("admin", "patients?national_id=shared"),
    ("admin", "doctors"),
    ("patient", "doctors"),
    ("admin", "doctors?specialty=CARDIOLOGY"),
    ("admin", "doctors?available=true"),
    ("admin", "doctors?available=false"),
    ("admin", "doctors?specialty=cardiology&available=true"),
    ("admin", "appointments"),
    ("patient", "appointments"),
    ("doctor", "appointments"),
    ("admin", "appointments?patient_id=P1"),
    ("admin", "appointments?doctor_id=D1"),
    ("admin", "appointments?status=completed"),
    ("admin", "appointments?from=2023-06-01&to=2024-06-01"),
    ("admin", "appointments?status=cancelled&from=2023-06-01&to=2024-06-01"),
    ("admin", "appointments?doctor_id=D1&status=completed"),
    ("admin", "appointments?doctor_id=D1&from=2023-06-01&to=2024-06-01"),
    ("patient", "appointments?status=cancelled"),
    ("patient", "appointments?from=2023-06-01&to=2024-06-01"),
    ("doctor", "appointments?status=completed&from=2023-06-01&to=2024-06-01"),
    ("admin", "prescriptions"),
    ("doctor", "prescriptions"),
    ("patient", "prescriptions"),
    ("admin", "prescriptions?patient_id=P1"),
    ("admin", "prescriptions?doctor_id=D1"),
    ("admin", "prescriptions?disease=Asthma"),
]
#: (client, list with its filters) with fewer rows than a page holds: a request must read no other documents.
SHORT_PAGES = [
    ("admin", "patients?disease=Rare"),
    ("admin", "patients?national_id=N7"),
    ("admin", "doctors?specialty=rare"),
    ("admin", "doctors?specialty=rare&available=true"),
    ("admin", "doctors?specialty=rare&available=false"),
    ("few_patient", "appointments"),
    ("admin", "appointments?patient_id=P2"),
    ("admin", "appointments?status=scheduled"),
    ("admin", "appointments?from=2023-06-01&to=2023-06-01&status=cancelled"),
    ("few_doctor", "appointments?status=completed"),
    ("few_patient", "appointments?status=completed"),
    ("few_patient", "prescriptions"),
    ("admin", "prescriptions?patient_id=P2"),
    ("admin", "prescriptions?disease=Rare"),
    ("admin", "appointments?patient_id=P0"),
]
#: (client, list with two filters, list with the rarer filter) without an index for both filters: a request may read
#: the rows of the rarer filter, which are few.
RARER_FILTER = [
    ("admin", "appointments?patient_id=P2&doctor_id=D1", "appointments?patient_id=P2"),
    ("doctor", "appointments?patient_id=P2", "appointments?patient_id=P2"),
    ("patient", "appointments?doctor_id=D2", "appointments?doctor_id=D2"),
    ("admin", "prescriptions?patient_id=P2&doctor_id=D1", "prescriptions?patient_id=P2"),
    ("admin", "prescriptions?patient_id=P1&disease=Rare", "prescriptions?disease=Rare"),
    ("patient", "prescriptions?disease=Rare", "prescriptions?disease=Rare"),
    ("admin", "patients?disease=Rare&national_id=shared", "patients?disease=Rare"),
]


def assert_reads_page_only(plan: Plan) -> None:
    assert not plan.reads_all
    assert not plan.sorts_in_memory, plan
    assert plan.documents_examined <= PAGE + 1, plan
    assert plan.keys_examined <= MOST_KEYS, plan


@pytest.mark.parametrize(("who", "url"), FULL_PAGES)
def test_first_page_reads_51_documents(clients: dict[str, APIClient], who: str, url: str):
    plan, rows = plan_of(clients[who], f"/api/{url}")
    assert len(rows) == PAGE
    assert_reads_page_only(plan)


@pytest.mark.parametrize(("who", "url"), FULL_PAGES)
def test_page_500_reads_51_documents_in_both_directions(clients: dict[str, APIClient], who: str, url: str):
    for page in pages_around(clients[who], f"/api/{url}"):
        plan, rows = plan_of(clients[who], page)
        assert len(rows) == PAGE
        assert_reads_page_only(plan)


@pytest.mark.parametrize(("who", "url"), SHORT_PAGES)
def test_short_page_reads_its_rows(clients: dict[str, APIClient], who: str, url: str):
    plan, rows = plan_of(clients[who], f"/api/{url}")
    assert not plan.reads_all
    assert not plan.sorts_in_memory, plan
    assert plan.documents_examined <= min(len(rows), PAGE) + 1, plan


@pytest.mark.parametrize(("who", "url", "rarer"), RARER_FILTER)
def test_two_filters_read_the_rows_of_the_rarer(clients: dict[str, APIClient], who: str, url: str, rarer: str):
    plan, _ = plan_of(clients[who], f"/api/{url}")
    rows = count_of(find_of(clients["admin"], f"/api/{rarer}")[0])
    assert rows < 500
    assert not plan.reads_all
    assert not plan.sorts_in_memory, plan
    assert plan.documents_examined <= rows, plan


@pytest.mark.parametrize("collection", ["patients", "doctors"])
def test_search_reads_what_it_finds(clients: dict[str, APIClient], collection: str):
    """Only a search is sorted in memory, because a text index has no order (MongoDB manual, $text)."""
    url = f"/api/{collection}?search=first007 last003"
    plan, rows = plan_of(clients["admin"], url)
    assert rows
    assert {row["name"] for row in rows} == {"First007 Last003"}
    assert not plan.reads_all
    assert f"{collection[:-1]}_name_text" in plan.indexes
    # MongoDB looks up each word separately, and keeps the documents that contain all words.
    assert plan.documents_examined <= MANY / len(FIRST_NAMES) * 1.5 + MANY / len(LAST_NAMES) * 1.5


def test_own_record_is_found_by_an_index(clients: dict[str, APIClient]):
    """Every request of a patient or doctor begins with this query."""
    for model in (Patient, Doctor):
        plan = explain(model.objects.filter(user_id=3))
        assert not plan.reads_all
        assert plan.documents_examined <= 1


# --- PostgreSQL ------------------------------------------------------------------------------------------------------

#: PostgreSQL may follow the primary key and discard every second row, if that costs less than another index.
SQL_MOST_ROWS = 4 * (PAGE + 1)

SQL_LISTS = [
    ("admin", "billing"),
    ("patient", "billing"),
    ("few_patient", "billing"),
    ("admin", "billing?patient_id=P1"),
    ("admin", "billing?patient_id=P7"),
    ("admin", "billing?patient_id=P0"),
    ("admin", "billing?appointment_id=A7"),
    ("admin", "billing?disease=Asthma"),
    ("admin", "billing?disease=Rare"),
    ("admin", "billing?status=paid"),
    ("admin", "billing?status=void"),
    ("admin", "billing?status=paid&disease=Asthma"),
    ("admin", "billing?status=void&disease=Asthma"),
    ("patient", "billing?status=paid"),
    ("admin", "accounts"),
    ("admin", "accounts?role=patient"),
    ("admin", "accounts?role=staff"),
    ("admin", "accounts?is_active=true"),
    ("admin", "accounts?is_active=false"),
    ("admin", "accounts?email=account2000@example.org"),
    ("admin", "accounts?role=patient&is_active=true"),
]


def sql_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from sql_nodes(inner)


def sql_plan_of(client: APIClient, url: str) -> list[dict[str, Any]]:
    with CaptureQueriesContext(connection) as captured:
        ask(client, url)
    pages = [query["sql"] for query in captured if "ORDER BY" in query["sql"]]
    assert len(pages) == 1
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {pages[0]}")
        (answer,) = cursor.fetchone()
    plan = json.loads(answer) if isinstance(answer, str) else answer
    return list(sql_nodes(plan[0]["Plan"]))


@pytest.mark.parametrize(("who", "url"), SQL_LISTS)
def test_page_of_sql_list_is_read_by_an_index(clients: dict[str, APIClient], who: str, url: str):
    model, order = (Bill, "-id") if url.startswith("billing") else (User, "id")
    places = Order(model.objects.order_by(order))
    # The row of accounts or bills at which a page in the middle begins.
    row = model(pk=25_000)
    link = f"/api/{url}{'&' if '?' in url else '?'}cursor="
    for page in (f"/api/{url}", link + places.cursor(row), link + places.cursor(row, backwards=True)):
        nodes = sql_plan_of(clients[who], page)
        kinds = {node["Node Type"] for node in nodes}
        assert "Seq Scan" not in kinds
        read = [node for node in nodes if "Relation Name" in node]
        assert sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read) <= SQL_MOST_ROWS, nodes
        # PostgreSQL may sort the few rows of a rare value instead of following the index.
        if "Sort" in kinds:
            assert sum(node["Actual Rows"] for node in read) <= PAGE, nodes
        if "?" not in url and who == "admin":
            assert kinds == {"Limit", "Index Scan"}
            assert [node["Actual Rows"] for node in read] == [PAGE + 1]

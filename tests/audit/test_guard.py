"""The audit log is not optional: code that reads or writes personal data without an entry fails, at runtime or here."""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from bson import ObjectId
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient

from accounts.models import Role, User
from billing.models import Bill
from healthcare import audit_context
from healthcare.api.serializers import OutSerializer
from healthcare.api.views import ResourceViewSet
from healthcare.audit_log import recorder
from healthcare.audit_log.models import AuditEntry
from healthcare.mongodb import raw
from healthcare.outbox import events
from healthcare.outbox.models import Event
from healthcare.postgresql import circuit_breaker
from healthcare.staff_admin.model_admin import AuditedAdmin
from patients import queries as patient_queries
from patients import services as patient_services
from patients.models import Patient
from tests.audit.entries import recording
from tests.databases import clinical_database
from tests.people import People, make_account
from tests.records import complete, make_appointment

pytestmark = pytest.mark.django_db

# --- Views without an entry -----------------------------------------------------------------------------------------


class UnauditedView(ResourceViewSet):
    """A view that returns a patient's name without the serializer that would record the access."""

    resource = "patient"
    allowed = {"retrieve": {Role.ADMIN}}

    def retrieve(self, request: Request) -> Response:
        assert isinstance(request.user, User)
        patient = patient_queries.get_visible(request.user, "P1")
        return Response({"name": patient["name"]})


def unaudited_page(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)
    RETURNED_NAMES[:] = [document["name"] for document in patient_queries.matching(user).read()]
    return HttpResponse(", ".join(RETURNED_NAMES))


#: The names in the last response of `unaudited_page`, which show that the page itself has worked.
RETURNED_NAMES: list[str] = []

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/unaudited", UnauditedView.as_view({"get": "retrieve"})),
    path("admin/unaudited", admin.site.admin_view(unaudited_page)),
    path("", include("healthcare.urls")),
]


@override_settings(ROOT_URLCONF=__name__)
def test_a_view_that_records_no_access_is_an_error(people: People) -> None:
    client = people.client("admin")
    client.raise_request_exception = False
    answer = client.get("/api/unaudited")
    assert (answer.status_code, answer.json()["status"]) == (500, 500)
    assert "Ali" not in answer.content.decode()
    # Views that record the access work through the same URLs.
    assert client.get("/api/patients/P1").status_code == 200


@override_settings(ROOT_URLCONF=__name__)
def test_an_admin_page_that_records_no_access_is_an_error(people: People) -> None:
    browser = Client(raise_request_exception=False)
    browser.force_login(people.admin)
    answer = browser.get("/admin/unaudited")
    assert RETURNED_NAMES == ["Ali Raza", "Noor Haddad"]
    assert answer.status_code == 500
    assert "Ali" not in answer.content.decode()


def query_modules_with(name: str) -> Iterator[ModuleType]:
    for config in apps.get_app_configs():
        if (Path(config.path) / "queries.py").is_file() and config.path.startswith(str(settings.BASE_DIR)):
            module = import_module(f"{config.name}.queries")
            if hasattr(module, name):
                yield module


#: Queries about public data: everybody may know who the doctors are.
ABOUT_NOBODY = {"doctors.queries"}


def test_every_visibility_query_marks_its_resource_as_queried(people: People) -> None:
    modules = {module.__name__: module for module in query_modules_with("visible_to")}
    assert {"patients.queries", "appointments.queries", "billing.queries", "accounts.queries"} <= set(modules)
    for name, module in modules.items():
        for account in (people.admin, people.patient, people.doctor, people.staff):
            with audit_context.audit_context(channel="api") as current:
                module.visible_to(account)
            assert bool(current.queried) == (name not in ABOUT_NOBODY), name


def serializers_of_answers() -> set[type[OutSerializer]]:
    return {kind for kind in every_subclass(OutSerializer) if not kind.__module__.startswith("tests")}


def every_subclass(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        yield child
        yield from every_subclass(child)


def test_every_serializer_with_a_patient_id_records_the_access() -> None:
    named = {kind for kind in serializers_of_answers() if "patient_id" in kind().fields}
    assert len(named) >= 5
    # `me` shows an account the id of its own record.
    assert {kind.__name__ for kind in named if not kind.resource} == {"MeOut"}


def test_every_admin_page_records_the_access() -> None:
    from audit.admin import AuditEntryAdmin

    assert len(admin.site._registry) >= 9
    without_people = set()
    for model, model_admin in admin.site._registry.items():
        assert isinstance(model_admin, AuditedAdmin), model
        assert model_admin.resource
        without_people |= set() if model_admin.names_people else {model_admin.resource}
    assert admin.site._registry[AuditEntry].__class__ is AuditEntryAdmin
    assert without_people == {"doctor", "fee", "group"}


# --- Services without an entry --------------------------------------------------------------------------------------

#: Functions that write an audit entry.
RECORDING_CALLS = {"events.publish", "recorder.record", "recorder.record_consequence"}


def services() -> Iterator[ModuleType]:
    for config in apps.get_app_configs():
        if (Path(config.path) / "services.py").is_file() and config.path.startswith(str(settings.BASE_DIR)):
            yield import_module(f"{config.name}.services")


def calls_of(module: ModuleType) -> dict[str, set[str]]:
    """Return, for each function, the dotted names of the functions that it calls."""
    tree = ast.parse(inspect.getsource(module))
    return {
        node.name: {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def records(calls: dict[str, set[str]], everywhere: dict[str, dict[str, set[str]]], name: str, seen: set[str]) -> bool:
    """Tell whether a function writes an entry, itself or by a function that it calls in any app's services."""
    if name in seen:
        return False
    seen.add(name)
    for called in calls.get(name, ()):
        if called in RECORDING_CALLS:
            return True
        module, _, function = called.rpartition(".")
        elsewhere = everywhere.get(f"{module.removesuffix('_services')}s.services") if module else None
        elsewhere = elsewhere or everywhere.get(f"{module.removesuffix('_services')}.services")
        if records(calls, everywhere, called, seen) or (elsewhere and records(elsewhere, everywhere, function, set())):
            return True
    return False


def test_every_service_with_an_actor_leads_to_an_entry() -> None:
    everywhere = {module.__name__: calls_of(module) for module in services()}
    acting = [
        (module, name)
        for module in services()
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and "actor" in inspect.signature(function).parameters
        if not name.startswith("_")
    ]
    assert len(acting) >= 18
    silent = [
        f"{module.__name__}.{name}"
        for module, name in acting
        if not records(everywhere[module.__name__], everywhere, name, set())
    ]
    assert silent == []


# --- While PostgreSQL cannot be reached -----------------------------------------------------------------------------


@pytest.fixture
def postgresql_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the audit log fail, as if the server went after the account was read. (Whole outages: tests/live.)"""

    def gone(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(recorder, "_insert", gone)


def test_a_read_leaves_an_event_and_is_delivered_once(
    people: People, postgresql_is_out: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = people.client("doctor")
    with recording() as made:
        answer = client.get("/api/patients/P1")
        assert (answer.status_code, answer.json()["patient_id"]) == (200, "P1")
        (event,) = raw.collection(Event).find({"kind": "patient.viewed"})
    assert made.entries == []
    assert (event["pending"], event["audit"]["patient_ids"]) == (["audit"], ["P1"])
    assert event["audit"]["actor_id"] == people.doctor.pk
    monkeypatch.undo()
    monkeypatch.setattr(circuit_breaker, "postgresql", circuit_breaker.CircuitBreaker())
    with recording() as made:
        list(events.relay())
        events.deliver(event)
    viewed = [entry for entry in made.entries if entry.action == "patient.viewed"]
    assert [(entry.at, entry.request_id, entry.source) for entry in viewed] == [
        (event["at"], answer["X-Request-ID"], str(event["_id"]))
    ]


def test_a_read_whose_insert_went_through_unanswered_is_one_entry(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server executes the statement when it resumes, and a server that dies may have executed it."""
    insert = recorder._insert

    def go_unanswered(*args: Any, **kwargs: Any) -> None:
        insert(*args, **kwargs)
        raise OperationalError("server closed the connection unexpectedly")

    client = people.client("doctor")
    with recording() as made:
        with monkeypatch.context() as patched:
            patched.setattr(circuit_breaker, "postgresql", circuit_breaker.CircuitBreaker())
            patched.setattr(recorder, "_insert", go_unanswered)
            assert client.get("/api/patients/P1").status_code == 200
        list(events.relay())
    assert [(entry.action, entry.patient_ids) for entry in made.entries] == [("patient.viewed", ["P1"])]


def test_an_event_without_audit_facts_is_delivered(people: People) -> None:
    visit = complete(people, make_appointment(people))
    event = raw.collection(Event).find_one({"kind": "appointment.completed"})
    assert event
    del event["audit"]
    Bill.objects.all().delete()
    with recording() as made:
        assert events.deliver({**event, "_id": ObjectId(), "pending": ["billing"]})
    assert Bill.objects.get().appointment_id == visit.appointment_id
    assert [(entry.action, entry.actor_id, entry.patient_ids) for entry in made.entries] == [
        ("bill.created", None, ["P1"])
    ]


def test_without_either_database_nothing_is_answered(
    people: People, postgresql_is_out: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("no primary")

    monkeypatch.setattr(events, "enqueue_fallback", gone)
    answer = people.client("doctor").get("/api/patients/P1")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "Ali" not in answer.content.decode()


def test_an_entry_that_cannot_be_written_is_no_silent_loss(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a mistake")

    client = people.client("doctor")
    client.raise_request_exception = False
    monkeypatch.setattr(recorder, "_insert", broken)
    answer = client.get("/api/patients/P1")
    assert answer.status_code == 500
    assert "Ali" not in answer.content.decode()


# --- Contents of an entry -------------------------------------------------------------------------------------------


def test_a_list_of_fifty_is_one_entry_with_fifty_ids(people: People) -> None:
    for number in range(10, 63):
        Patient(patient_id=f"P{number}", name="Lin Tao").save(force_insert=True)
    with recording() as made:
        rows = people.client("doctor").get("/api/patients").json()["results"]
    (entry,) = made.entries
    assert (entry.action, entry.patient_ids) == ("patient.listed", [row["patient_id"] for row in rows])
    assert len(entry.patient_ids) == 50


def test_entries_hold_no_data(people: People) -> None:
    secret = {"name": "Zsuzsanna Quarx", "phone": "+41 44 999 77 33", "notes": "Quarx notes", "address": "Quarx street"}
    with recording() as made:
        admin_client = people.client("admin")
        assert admin_client.patch("/api/patients/P1", secret, format="json").status_code == 200
        assert admin_client.get("/api/patients?search=Quarx").json()["results"]
        assert admin_client.get("/api/patients/Quarx").status_code == 404
        assert admin_client.get("/api/patients/Quarx%20street").status_code == 404
        assert admin_client.get("/api/audit?patient_id=Quarx%20notes&action=Quarx").status_code == 200
        people.client("anonymous").post(
            "/api/auth/login", {"email": "quarx@example.org", "password": "Quarx phrase"}, format="json"
        )
    assert len(made.entries) == 6
    for entry in made.entries:
        said = str([getattr(entry, field.name) for field in entry._meta.concrete_fields])
        # A made-up id is recorded as the id that was requested; a text that cannot be an id is not recorded.
        assert ("Quarx" in said) == (entry.patient_ids == ["Quarx"])
        # The phone number must not occur with or without spaces. (Its groups of digits alone can occur in ids.)
        assert "9997733" not in said.replace(" ", "")
    assert "Quarx" not in str(list(clinical_database()["events"].find()))


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/patients?page_size=0", 400), ("/api/nowhere", 404), ("/api/patients?search=" + "a" * 5000, 400)],
)
def test_a_malformed_request_is_not_recorded_as_refused(people: People, path: str, status: int) -> None:
    client = people.client("doctor")
    with recording() as made:
        assert client.get(path).status_code == status
    assert made.entries == []


def test_requests_refused_by_services_are_recorded(people: People) -> None:
    visit = {"patient_id": "P1", "doctor_id": "D1", "date": "2031-05-05", "time": "09:00"}
    client = people.client("admin")
    assert client.post("/api/appointments", visit, format="json").status_code == 201
    with recording() as made:
        assert client.post("/api/appointments", visit, format="json").status_code == 409
        assert client.post("/api/appointments", {**visit, "doctor_id": "D9"}, format="json").status_code == 400
        assert client.post("/api/patients", {"patient_id": "P1", "name": "X"}, format="json").status_code == 409
    assert [(e.action, e.outcome, e.reason, e.patient_ids) for e in made.entries] == [
        ("appointment.booked", "refused", "slot_taken", ["P1"]),
        ("appointment.booked", "refused", "unknown", ["P1"]),
        ("patient.created", "refused", "duplicate", ["P1"]),
    ]


def test_a_request_refused_after_an_undone_write_is_recorded(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registration makes the account first; when the patient record is refused the account is rolled back."""

    def refuse(**_: Any) -> None:
        raise patient_services.DuplicatePatient("email")

    monkeypatch.setattr(patient_services, "create_patient", refuse)
    body = {"email": "new@example.org", "password": "an uncommon phrase", "name": "Lin Tao"}
    with recording() as made:
        assert APIClient().post("/api/auth/register", body, format="json").status_code == 409
    assert [(e.action, e.outcome, e.reason) for e in made.entries] == [("account.created", "refused", "duplicate")]


def test_an_event_that_outlives_the_surrounding_transaction_is_delivered(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registration commits the patient record before the account; when the account fails the entry must stay."""
    create = patient_services.create_patient

    def create_and_crash(**values: Any) -> None:
        create(**values)
        raise RuntimeError

    monkeypatch.setattr(patient_services, "create_patient", create_and_crash)
    client = APIClient(raise_request_exception=False)
    body = {"email": "new@example.org", "password": "an uncommon phrase", "name": "Lin Tao"}
    with recording() as made:
        assert client.post("/api/auth/register", body, format="json").status_code == 500
        record = Patient.objects.exclude(pk__in=("P1", "P2")).get()
        list(events.relay())
    assert [(e.action, e.outcome, e.patient_ids) for e in made.entries] == [("patient.created", "success", [record.pk])]


def test_an_invalid_token_has_one_reason(people: People) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Bearer nonsense")
    with recording() as made:
        answer = client.get("/api/patients/P1")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "token_not_valid")
    assert [(e.action, e.reason, e.patient_ids) for e in made.entries] == [
        ("patient.viewed", "token_not_valid", ["P1"])
    ]


def test_logins_and_account_changes(people: People) -> None:
    anonymous = APIClient()
    with recording() as made:
        for email, password in (("nobody@example.org", "x"), ("doctor@example.org", "x")):
            body = {"email": email, "password": password}
            assert anonymous.post("/api/auth/login", body, format="json").status_code == 401
        client = people.client("admin")
        number = people.doctor.pk
        assert client.patch(f"/api/accounts/{number}", {"is_active": False}, format="json").status_code == 200
    who = ("admin", people.admin.pk)
    assert [(e.action, e.outcome, e.reason, e.subject, (e.role, e.actor_id)) for e in made.entries] == [
        ("account.logged_in", "refused", "unknown_email", None, ("anonymous", None)),
        ("account.logged_in", "refused", "wrong_password", str(number), ("anonymous", None)),
        ("account.amended", "success", None, str(number), who),
    ]


def test_a_replayed_refresh_token_is_recorded(people: People) -> None:
    from accounts import tokens

    pair = tokens.start_family(people.doctor)
    anonymous = APIClient()
    body = {"refresh_token": pair["refresh_token"]}
    assert anonymous.post("/api/auth/refresh", body, format="json").status_code == 200
    with recording() as made:
        assert anonymous.post("/api/auth/refresh", body, format="json").status_code == 401
    (entry,) = made.entries
    assert (entry.action, entry.reason, entry.subject) == ("account.refreshed", "token_replayed", str(people.doctor.pk))


def test_another_account_leaves_its_own_name(people: People) -> None:
    """Two requests of two accounts, one after the other in one process, do not mix."""
    other = make_account(Role.DOCTOR, "third.doctor@example.org")
    from tests.people import client_of

    with recording() as made:
        first = people.client("doctor").get("/api/patients/P1")
        second = client_of(other).get("/api/patients/P2")
    assert [(e.actor_id, e.patient_ids, e.request_id) for e in made.entries] == [
        (people.doctor.pk, ["P1"], first["X-Request-ID"]),
        (other.pk, ["P2"], second["X-Request-ID"]),
    ]

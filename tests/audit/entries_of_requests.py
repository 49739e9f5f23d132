"""The audit entries that each request of the permission matrix leaves: none missing, and none twice.

`tests/test_permission_matrix.py` sends the requests, and compares their answers and their entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from healthcare.audit_log.models import AuditEntry
from reports.queries import NAMES
from tests.people import People

if TYPE_CHECKING:
    from tests.test_permission_matrix import Row

Entry = tuple[str, str, tuple[str, int | None], list[str]]

#: Row → the action of the entry when the request is refused, and the action and patients of each entry, in order, when
#: it is answered. A row without either is about no person and cannot be refused.
P1 = ["P1"]
EXPECTED: dict[str, tuple[str | None, list[tuple[str, list[str]]]]] = {
    "GET /api": (None, []),
    "GET /schema": (None, []),
    "GET /docs": (None, []),
    "GET /redoc": (None, []),
    "GET /healthz": (None, []),
    "GET /readyz": (None, []),
    "POST /api/auth/register": ("account.created", [("account.created", []), ("patient.created", ["new"])]),
    **{
        f"GET /api/auth/oauth/{provider}{end}": (f"account.{action_name}", [])
        for provider in ("google", "github")
        for end, action_name in (("", "sent_to_provider"), ("/callback", "logged_in"))
    },
    "POST /api/auth/login": ("account.logged_in", [("account.logged_in", [])]),
    "POST /api/auth/refresh": ("account.refreshed", []),
    "POST /api/auth/logout": ("account.logged_out", [("account.logged_out", [])]),
    "POST /api/auth/logout with the patient's token": ("account.logged_out", [("account.logged_out", [])]),
    "GET /api/auth/me": ("account.viewed", []),
    "POST /api/auth/password": ("account.password_changed", [("account.password_changed", [])]),
    "GET /api/accounts": ("account.listed", [("account.listed", [])]),
    "POST /api/accounts": ("account.created", [("account.created", [])]),
    "GET /api/accounts/{id}": ("account.viewed", [("account.viewed", [])]),
    "PATCH /api/accounts/{id}": ("account.amended", [("account.amended", [])]),
    "GET /api/patients": ("patient.listed", [("patient.listed", ["P1", "P2"])]),
    "POST /api/patients": ("patient.created", [("patient.created", ["new"])]),
    "GET /api/patients/{id}": ("patient.viewed", [("patient.viewed", P1)]),
    "PATCH /api/patients/{id}": ("patient.amended", [("patient.amended", P1)]),
    "PATCH /api/patients/{id} diseases": ("patient.amended", [("patient.amended", P1)]),
    "DELETE /api/patients/{id}": ("patient.deleted", [("patient.deleted", P1)]),
    "GET /api/patients/{id}/access-log": ("patient.access_log_viewed", [("patient.access_log_viewed", P1)]),
    "GET /api/doctors": ("doctor.listed", []),
    "POST /api/doctors": ("doctor.created", [("doctor.created", [])]),
    "GET /api/doctors/{id}": ("doctor.viewed", []),
    "PATCH /api/doctors/{id}": ("doctor.amended", [("doctor.amended", [])]),
    "PATCH /api/doctors/{id} account": ("doctor.amended", [("doctor.amended", [])]),
    "DELETE /api/doctors/{id}": ("doctor.deleted", [("doctor.deleted", [])]),
    "GET /api/doctors/{id}/slots": ("doctor.viewed", []),
    "GET /api/appointments": ("appointment.listed", [("appointment.listed", [])]),
    "POST /api/appointments": ("appointment.booked", [("appointment.booked", P1)]),
    "GET /api/appointments/{id}": ("appointment.viewed", [("appointment.viewed", P1)]),
    "PATCH /api/appointments/{id} move": ("appointment.amended", [("appointment.moved", P1)]),
    "PATCH /api/appointments/{id} cancel": ("appointment.amended", [("appointment.cancelled", P1)]),
    "PATCH /api/appointments/{id} complete": (
        "appointment.amended",
        [("appointment.completed", P1), ("bill.created", P1)],
    ),
    "DELETE /api/appointments/{id}": ("appointment.deleted", [("appointment.deleted", P1)]),
    "GET /api/prescriptions": ("prescription.listed", [("prescription.listed", [])]),
    "POST /api/prescriptions": ("prescription.issued", [("prescription.issued", P1)]),
    "POST /api/prescriptions as the doctor": ("prescription.issued", [("prescription.issued", P1)]),
    "GET /api/prescriptions/{id}": ("prescription.viewed", [("prescription.viewed", P1)]),
    "PATCH /api/prescriptions/{id}": ("prescription.amended", [("prescription.amended", P1)]),
    "DELETE /api/prescriptions/{id}": ("prescription.deleted", [("prescription.deleted", P1)]),
    "GET /api/billing": ("bill.listed", [("bill.listed", [])]),
    "POST /api/billing": ("bill.created", [("bill.created", P1)]),
    "GET /api/billing/{id}": ("bill.viewed", [("bill.viewed", P1)]),
    "PATCH /api/billing/{id}": ("bill.amended", [("bill.amended", P1)]),
    "DELETE /api/billing/{id}": ("bill.deleted", [("bill.deleted", P1)]),
    "GET /api/audit": ("audit.listed", [("audit.listed", [])]),
    **{f"GET /api/reports/{name}": ("report.viewed", [("report.viewed", [])]) for name in NAMES},
}

#: Row → actors whose role is admitted and whom the service refuses after it has read whose record it is.
SERVICE_REFUSES = {
    "POST /api/appointments": ("other_patient", "other_doctor"),
    "PATCH /api/appointments/{id} complete": ("patient",),
    "POST /api/prescriptions as the doctor": ("other_doctor",),
    "PATCH /api/prescriptions/{id}": ("other_doctor",),
    "DELETE /api/prescriptions/{id}": ("other_doctor",),
}


def expected_entries(row: Row, actor: str, status: int, people: People, response: Any) -> list[Entry]:
    """Return the action, outcome, role and account, and patients of each entry that the request must leave."""
    account = None if actor == "anonymous" else getattr(people, actor)
    who = ("anonymous", None) if account is None else (account.role, account.pk)
    refused_action, entries = EXPECTED[str(row)]
    if status < 300:
        return [
            (action, "success", _recorded_actor(row, action, people, who, response), patients)
            for action, patients in entries
        ]
    if status in (401, 403, 404) and refused_action:
        return [(refused_action, "refused", who, _patients_of_refused_request(row, actor, status))]
    return []


def described(entries: list[AuditEntry]) -> list[Entry]:
    """Describe stored entries as `expected_entries` does; a patient whom the request has made is "new"."""
    return [
        (
            entry.action,
            entry.outcome,
            (entry.role, entry.actor_id),
            sorted(name if name in ("P1", "P2") else "new" for name in entry.patient_ids),
        )
        for entry in entries
    ]


def _patients_of_refused_request(row: Row, actor: str, status: int) -> list[str]:
    """Return the patients whom a refusal names: that of the path or of a record that was read, otherwise none."""
    if "{id}" in row.path and row.path.startswith("api/patients/"):
        return P1
    was_read = status == 404 or (status == 403 and actor in SERVICE_REFUSES.get(str(row), ()))
    return P1 if was_read and not row.path.startswith(("api/doctors", "api/auth")) else []


def _recorded_actor(
    row: Row, action: str, people: People, who: tuple[str, int | None], response: Any
) -> tuple[str, int | None]:
    """Return the account that the entry names: the actor, unless the request logs in or registers somebody."""
    if row.path == "api/auth/login":
        return ("patient", people.patient.pk)
    if row.path == "api/auth/register":
        return ("patient", response.json()["user_id"]) if action == "patient.created" else ("anonymous", None)
    return who

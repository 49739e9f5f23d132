"""A walk over every endpoint as everybody: exactly the entries that are expected, none missing, none twice.

The endpoints and what they answer are the permission matrix's rows; here stands what each of them leaves on record.
"""

from typing import Any

import pytest

from reports.queries import NAMES
from tests.audit.entries import recording
from tests.people import People
from tests.test_permission_matrix import ACTORS, CELLS, ROWS, Row, send

pytestmark = pytest.mark.django_db

#: Row → what it is when it is refused, and what is on record when it is not: action and patients, in order.
#: Rows that are about no person and cannot be refused leave nothing.
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


def test_every_row_is_expected_to_leave_something_or_nothing() -> None:
    assert set(EXPECTED) == {str(row) for row in ROWS}


def patients_of_refusal(row: Row, actor: str, status: int) -> list[str]:
    """Whom a refusal names: the patient of the path or of the row that was there, not one that nobody looked up."""
    if "{id}" in row.path and row.path.startswith("api/patients/"):
        return P1
    was_looked_up = status == 404 or (status == 403 and actor in SERVICE_REFUSES.get(str(row), ()))
    return P1 if was_looked_up and not row.path.startswith(("api/doctors", "api/auth")) else []


#: Where the role is admitted and the service refuses, having read whose row it is.
SERVICE_REFUSES = {
    "POST /api/appointments": ("other_patient", "other_doctor"),
    "PATCH /api/appointments/{id} complete": ("patient",),
    "POST /api/prescriptions as the doctor": ("other_doctor",),
    "PATCH /api/prescriptions/{id}": ("other_doctor",),
    "DELETE /api/prescriptions/{id}": ("other_doctor",),
}


def actor_of(row: Row, action: str, people: People, who: tuple[str, int | None], answer: Any) -> tuple[str, int | None]:
    """Who is on record: whoever asked, but for the ways to become somebody."""
    if row.path == "api/auth/login":
        return ("patient", people.patient.pk)
    if row.path == "api/auth/register":
        return ("patient", answer.json()["user_id"]) if action == "patient.created" else ("anonymous", None)
    return who


def named(patient_ids: list[str]) -> list[str]:
    return sorted(name if name in ("P1", "P2") else "new" for name in patient_ids)


@pytest.mark.parametrize(("row", "actor"), CELLS)
def test_cell_leaves_its_entries(people: People, row: Row, actor: str) -> None:
    status = row.statuses[ACTORS.index(actor)]
    attempt, success = EXPECTED[str(row)]
    account = None if actor == "anonymous" else getattr(people, actor)
    who = ("anonymous", None) if account is None else (account.role, account.pk)
    with recording() as made:
        response, _ = send(people.client(actor), row, people, actor)
    assert response.status_code == status
    # What the test itself prepared by calling services came through no channel of the system's.
    entries = [entry for entry in made.entries if entry.channel != "shell"]
    if status < 300:
        expected = [
            (action, "success", actor_of(row, action, people, who, response), patients) for action, patients in success
        ]
    elif status in (401, 403, 404) and attempt:
        expected = [(attempt, "refused", who, patients_of_refusal(row, actor, status))]
    else:
        expected = []
    assert [(e.action, e.outcome, (e.role, e.actor_id), named(e.patient_ids)) for e in entries] == expected
    for entry in entries:
        assert (entry.channel, entry.address, entry.request_id) == ("api", "127.0.0.1", response["X-Request-ID"])
        assert (entry.reason is None) == (entry.outcome == "success")
        assert entry.subject or "{id}" not in row.path

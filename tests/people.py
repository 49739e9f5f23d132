"""The people of the tests: accounts of every role, two patients and two doctors with their records."""

from dataclasses import dataclass
from typing import Any, Self

from rest_framework.test import APIClient, ForceAuthClientHandler

from accounts import tokens
from accounts.models import Role, User
from doctors import services as doctor_services
from doctors.models import Doctor
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.web.handlers import ApiHandler, has_api_token
from patients import services as patient_services
from patients.models import Patient

PASSWORD = "correct horse battery staple"


def make_account(role: str, email: str) -> User:
    return User.objects.create_user(email, PASSWORD, role=role, name=f"{role} {email.split('@')[0]}")


class ApiClientHandler(ForceAuthClientHandler):
    """The test client's handler with the middleware of `ApiHandler`."""

    load_middleware = ApiHandler.load_middleware


class ServerHandler(ForceAuthClientHandler):
    """Handle a test client's requests as the WSGI application does, which has a middleware list for API tokens."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._api = ApiClientHandler(*args, **kwargs)

    def __call__(self, environ: dict[str, Any]) -> Any:
        return self._api(environ) if has_api_token(environ) else super().__call__(environ)


def client_of(user: User | None) -> APIClient:
    """A client with the account's Bearer token; an anonymous one for None."""
    client = APIClient()
    client.handler = ServerHandler()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.start_family(user)['access_token']}")
    return client


@dataclass
class People:
    """`patient` and `doctor` are whom things belong to, `other_…` are strangers of the same role."""

    admin: User
    staff: User
    patient: User
    other_patient: User
    doctor: User
    other_doctor: User
    patient_record: Patient
    other_patient_record: Patient
    doctor_record: Doctor
    other_doctor_record: Doctor

    @classmethod
    def make(cls) -> Self:
        admin = make_account(Role.ADMIN, "admin@example.org")
        accounts = {
            "staff": make_account(Role.STAFF, "staff@example.org"),
            "patient": make_account(Role.PATIENT, "patient@example.org"),
            "other_patient": make_account(Role.PATIENT, "other.patient@example.org"),
            "doctor": make_account(Role.DOCTOR, "doctor@example.org"),
            "other_doctor": make_account(Role.DOCTOR, "other.doctor@example.org"),
        }
        return cls(admin=admin, **accounts, **_make_records(admin, accounts))

    def client(self, who: str) -> APIClient:
        """A client for "anonymous", "admin", "other_doctor" …"""
        return client_of(None if who == "anonymous" else getattr(self, who))


@clinical_transaction
def _make_records(admin: User, accounts: dict[str, User]) -> dict[str, Any]:
    """In one transaction, as most tests begin with it."""
    return {
        "patient_record": make_patient(admin, "P1", user_id=accounts["patient"].pk),
        "other_patient_record": make_patient(admin, "P2", name="Noor Haddad", user_id=accounts["other_patient"].pk),
        "doctor_record": make_doctor(admin, "D1", user_id=accounts["doctor"].pk),
        "other_doctor_record": make_doctor(
            admin, "D2", name="Ingrid Solberg", specialty="Neurology", user_id=accounts["other_doctor"].pk
        ),
    }


def make_patient(actor: User, patient_id: str, **fields: Any) -> Patient:
    return patient_services.create_patient(
        actor=actor, patient_id=patient_id, **{"name": "Ali Raza", "age": 47, **fields}
    )


def make_doctor(actor: User, doctor_id: str, **fields: Any) -> Doctor:
    return doctor_services.create_doctor(
        actor=actor, doctor_id=doctor_id, **{"name": "Amara Okafor", "specialty": "Cardiology", **fields}
    )

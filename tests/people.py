"""The people who act in tests: an account of every role, and two patients and two doctors with their records."""

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
    """Return a client that sends a bearer token of the account; an anonymous client for None."""
    client = APIClient()
    client.handler = ServerHandler()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.start_family(user)['access_token']}")
    return client


@dataclass
class People:
    """`patient` and `doctor` own the records of a test; `other_patient` and `other_doctor` are strangers to them."""

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
        """Make the people by the services. The fixture `people` restores them from a template instead."""
        admin = make_account(Role.ADMIN, "admin@example.org")
        accounts: dict[str, Any] = {
            "staff": make_account(Role.STAFF, "staff@example.org"),
            "patient": make_account(Role.PATIENT, "patient@example.org"),
            "other_patient": make_account(Role.PATIENT, "other.patient@example.org"),
            "doctor": make_account(Role.DOCTOR, "doctor@example.org"),
            "other_doctor": make_account(Role.DOCTOR, "other.doctor@example.org"),
        }
        return cls(admin=admin, **accounts, **_make_records(admin, accounts))

    def client(self, who: str) -> APIClient:
        """Return a client of one of the people by field name, or of "anonymous"."""
        return client_of(None if who == "anonymous" else getattr(self, who))


@clinical_transaction
def _make_records(admin: User, accounts: dict[str, User]) -> dict[str, Any]:
    """Make the records in one transaction, which is faster than one for each."""
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

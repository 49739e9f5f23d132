"""The accounts that a trial logs in with: one of each role, all with one password that everybody can read here."""

from typing import NamedTuple

from django.contrib.auth.models import Group

from accounts.models import Role, User
from accounts.services import EmailTaken, create_account
from appointments.models import Appointment, Status
from doctors.models import Doctor
from doctors.services import update_doctor
from healthcare.mongodb import raw
from patients.models import Patient
from patients.services import update_patient

DEMO_PASSWORD = "SmartHealthcare-demo"  # noqa: S105  # pragma: allowlist secret
STAFF_GROUP = "Front desk"
#: Visits that are looked through for a doctor and a patient without an account.
_VISITS_READ = 500


class DemoLogin(NamedTuple):
    role: str
    email: str
    password: str


class Pair(NamedTuple):
    """A doctor and a patient of theirs."""

    doctor_id: str
    patient_id: str


def demo_logins() -> list[DemoLogin]:
    """One login per role, the admin's first."""
    roles = (Role.ADMIN, Role.STAFF, Role.DOCTOR, Role.PATIENT)
    return [DemoLogin(str(role.value), f"{role.value}@example.org", DEMO_PASSWORD) for role in roles]


def ensure_demo_accounts(pair: Pair | None = None) -> list[DemoLogin]:
    """Make the demo accounts that are missing and tie the doctor's and the patient's to records that fit.

    An account that is there keeps its password, role and record. `pair` is whom to tie to, when they are known; else
    they are found among the visits. Without any the two accounts have no record. Returns all demo logins.
    """
    users = {login.role: _account(login) for login in demo_logins()}
    admin, doctor, patient = (users[role] for role in (Role.ADMIN, Role.DOCTOR, Role.PATIENT))
    is_doctor_tied = Doctor.objects.filter(user_id=doctor.pk).exists()
    is_patient_tied = Patient.objects.filter(user_id=patient.pk).exists()
    if not (is_doctor_tied and is_patient_tied):
        pair = pair or _pair_of_some_visit()
    if pair and not is_doctor_tied and doctor.role == Role.DOCTOR:
        update_doctor(actor=admin, doctor_id=pair.doctor_id, user_id=doctor.pk)
    if pair and not is_patient_tied and patient.role == Role.PATIENT:
        update_patient(actor=admin, patient_id=pair.patient_id, user_id=patient.pk)
    return demo_logins()


def _account(login: DemoLogin) -> User:
    found = User.objects.filter(email=login.email).first()
    if found is not None:
        return found
    try:
        made = create_account(
            actor=None, email=login.email, password=login.password, role=login.role, name=f"Demo {login.role}"
        )
    except EmailTaken:  # by another process, just now
        return User.objects.get(email=login.email)
    if made.role == Role.STAFF:
        # Else there is nothing in the admin to see.
        made.groups.add(*Group.objects.filter(name=STAFF_GROUP))
    return made


def _pair_of_some_visit() -> Pair | None:
    """Doctor and patient of the latest completed visit of two who have no account."""
    visits = raw.collection(Appointment).find(
        {"status": Status.COMPLETED.value},
        projection=["doctor_id", "patient_id"],
        sort=[("date", -1), ("time", -1), ("_id", -1)],
        limit=_VISITS_READ,
    )
    free = {
        model: {
            each["_id"]
            for each in raw.collection(model).find(
                {"_id": {"$in": [visit[name] for visit in visits]}, "user_id": None}, projection=["_id"]
            )
        }
        for model, name in ((Doctor, "doctor_id"), (Patient, "patient_id"))
    }
    for visit in visits:
        if visit["doctor_id"] in free[Doctor] and visit["patient_id"] in free[Patient]:
            return Pair(visit["doctor_id"], visit["patient_id"])
    return None

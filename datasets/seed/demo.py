"""Demo accounts for trials: one account of each role. All have one password, which is public."""

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
#: The number of visits among which a doctor and a patient without an account are searched.
_VISITS_SEARCHED = 500


class DemoLogin(NamedTuple):
    role: str
    email: str
    password: str


class Pair(NamedTuple):
    """A doctor and one of the doctor's patients."""

    doctor_id: str
    patient_id: str


def demo_logins() -> list[DemoLogin]:
    """Return one login for each role, the admin's first."""
    roles = (Role.ADMIN, Role.STAFF, Role.DOCTOR, Role.PATIENT)
    return [DemoLogin(str(role.value), f"{role.value}@example.org", DEMO_PASSWORD) for role in roles]


def ensure_demo_accounts(pair: Pair | None = None) -> list[DemoLogin]:
    """Create the missing demo accounts, link the doctor's and the patient's to records, and return all demo logins.

    An existing account keeps its password, role and record. `pair` names the records to link. If it is None, they are
    those of a recent visit. If there is no visit either, the two accounts stay without a record.
    """
    users = {login.role: _get_or_create_account(login) for login in demo_logins()}
    admin, doctor, patient = (users[role] for role in (Role.ADMIN, Role.DOCTOR, Role.PATIENT))
    has_doctor_record = Doctor.objects.filter(user_id=doctor.pk).exists()
    has_patient_record = Patient.objects.filter(user_id=patient.pk).exists()
    if not (has_doctor_record and has_patient_record):
        pair = pair or _pair_of_some_visit()
    if pair and not has_doctor_record and doctor.role == Role.DOCTOR:
        update_doctor(actor=admin, doctor_id=pair.doctor_id, user_id=doctor.pk)
    if pair and not has_patient_record and patient.role == Role.PATIENT:
        update_patient(actor=admin, patient_id=pair.patient_id, user_id=patient.pk)
    return demo_logins()


def _get_or_create_account(login: DemoLogin) -> User:
    found = User.objects.filter(email=login.email).first()
    if found is not None:
        return found
    try:
        account = create_account(
            actor=None, email=login.email, password=login.password, role=login.role, name=f"Demo {login.role}"
        )
    except EmailTaken:  # Another process has just created the account.
        return User.objects.get(email=login.email)
    if account.role == Role.STAFF:
        # Without a group the account has no permission in the admin.
        account.groups.add(*Group.objects.filter(name=STAFF_GROUP))
    return account


def _pair_of_some_visit() -> Pair | None:
    """Return the doctor and the patient of the latest completed visit at which neither of them had an account."""
    visits = raw.collection(Appointment).find(
        {"status": Status.COMPLETED.value},
        projection=["doctor_id", "patient_id"],
        sort=[("date", -1), ("time", -1), ("_id", -1)],
        limit=_VISITS_SEARCHED,
    )
    without_account = {
        model: {
            each["_id"]
            for each in raw.collection(model).find(
                {"_id": {"$in": [visit[name] for visit in visits]}, "user_id": None}, projection=["_id"]
            )
        }
        for model, name in ((Doctor, "doctor_id"), (Patient, "patient_id"))
    }
    for visit in visits:
        if visit["doctor_id"] in without_account[Doctor] and visit["patient_id"] in without_account[Patient]:
            return Pair(visit["doctor_id"], visit["patient_id"])
    return None

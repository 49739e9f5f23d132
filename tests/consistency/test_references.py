"""Tests of the check `references`: records that name a record which does not exist."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import User
from appointments.models import Appointment, Claim
from billing.models import Bill
from doctors.models import Doctor
from healthcare import clock
from healthcare.mongodb import raw
from patients.models import Patient
from prescriptions.models import Prescription
from tests.consistency.commands import assert_clean, check
from tests.people import People, make_patient
from tests.records import make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db


@pytest.fixture
def records(people: People) -> dict[str, Any]:
    """Appointment A1, a prescription and two bills of P1, one of them without the appointment."""
    make_appointment(people, appointment_id="A1")
    prescription = make_prescription(people, appointment_id="A1")
    bill = make_bill(people, appointment_id="A1")
    other = make_bill(people)
    assert_clean(check())
    return {"prescription": prescription.pk, "bill": bill.pk, "other": other.pk}


def found(*options: str) -> tuple[int, set[str]]:
    result = check("--only", "references", *options)
    sentences = {
        line.removeprefix("references: ") for line in result.text.splitlines() if line.startswith("references: ")
    }
    assert result.figures["references"][1] == len(sentences)
    return result.code, sentences


def test_patient_who_does_not_exist(records):
    raw.collection(Patient).delete_one({"_id": "P1"})
    sentences = {
        "Appointment A1 names patient P1, who does not exist.",
        f"Prescription {records['prescription']} names patient P1, who does not exist.",
        f"Bill {records['other']} names patient P1, who does not exist.",
    }
    assert found() == (1, sentences)
    stored = (raw.collection(Appointment).find({}), raw.collection(Prescription).find({}), Bill.objects.count())
    assert found("--repair") == (1, {f"{sentence} Not repaired: a person must decide." for sentence in sentences})
    assert stored == (
        raw.collection(Appointment).find({}), raw.collection(Prescription).find({}), Bill.objects.count()
    )  # fmt: skip


def test_doctor_who_does_not_exist(records):
    raw.collection(Doctor).delete_one({"_id": "D1"})
    assert found() == (
        1,
        {
            "Appointment A1 names doctor D1, who does not exist.",
            f"Prescription {records['prescription']} names doctor D1, who does not exist.",
        },
    )


def test_appointment_that_does_not_exist(records):
    raw.collection(Appointment).delete_one({"_id": "A1"})
    assert found() == (
        1,
        {
            f"Prescription {records['prescription']} names appointment A1, which does not exist.",
            f"Bill {records['bill']} names appointment A1, which does not exist.",
        },
    )


def test_appointment_of_another_patient(records):
    raw.collection(Appointment).update_one({"_id": "A1"}, {"$set": {"patient_id": "P2"}})
    assert found() == (
        1,
        {
            f"Prescription {records['prescription']} names appointment A1, which is another patient's.",
            f"Bill {records['bill']} names appointment A1, which is another patient's.",
        },
    )


def test_bill_without_patient_and_appointment_is_two_differences(records):
    Bill.objects.filter(pk=records["bill"]).update(patient_id="P9", appointment_id="A9")
    assert found() == (
        1,
        {
            f"Bill {records['bill']} names appointment A9, which does not exist.",
            f"Bill {records['bill']} names patient P9, who does not exist.",
        },
    )


def test_absent_reference(records):
    raw.collection(Appointment).update_one({"_id": "A1"}, {"$unset": {"doctor_id": ""}})
    code, sentences = found()
    assert code == 1
    assert "Appointment A1 names doctor None, who does not exist." in sentences


# --- Accounts


@pytest.mark.parametrize(("model", "key", "who"), [(Patient, "P1", "patient"), (Doctor, "D1", "doctor")])
def test_account_that_does_not_exist_is_unlinked(people: People, model, key, who):
    account = getattr(people, who)
    number = account.pk
    account.delete()
    raw.collection(model).update_one({"_id": key}, {"$set": {"created_at": clock.now() - timedelta(minutes=2)}})
    before = raw.collection(model).find({}, sort=[("_id", 1)])
    sentence = f"{who.capitalize()} {key} belongs to account {number}, which does not exist."
    assert found() == (1, {sentence})
    assert raw.collection(model).find({}, sort=[("_id", 1)]) == before
    assert found("--repair") == (0, {f"{sentence} Repaired."})
    document = raw.collection(model).find_one({"_id": key})
    assert document is not None
    assert document["user_id"] is None
    assert {**document, "user_id": number} == {**before[0], **({"revision": 1} if model is Patient else {})}
    assert_clean(check())


def test_record_within_the_grace_period_is_no_difference(people: People):
    make_patient(people.admin, "P3")
    raw.collection(Patient).update_one({"_id": "P3"}, {"$set": {"user_id": 9_999}})
    assert found("--repair") == (0, set())
    raw.collection(Patient).update_one({"_id": "P3"}, {"$set": {"created_at": clock.now() - timedelta(minutes=2)}})
    assert found()[0] == 1


def test_account_of_another_role_needs_a_decision(people: People):
    User.objects.filter(pk=people.patient.pk).update(role="staff")
    sentence = f"Patient P1 belongs to account {people.patient.pk}, which is not a patient's."
    assert found("--repair") == (1, {f"{sentence} Not repaired: a person must decide."})
    assert Patient.objects.get(pk="P1").user_id == people.patient.pk


def test_account_without_a_record_is_no_difference(people: People):
    raw.collection(Patient).delete_one({"_id": "P1"})
    assert_clean(check())


def test_output_contains_no_personal_data(people: People, records):
    raw.collection(Claim).delete_many({})
    raw.collection(Patient).delete_one({"_id": "P1"})
    raw.collection(Patient).update_one({"_id": "P2"}, {"$set": {"appointments": [{"appointment_id": "A1"}]}})
    result = check()
    assert len(result.differences) == 3
    for name in ("Raza", "Haddad", "Okafor", "Solberg", "example.org", "Asthma", "Salbutamol"):
        assert name not in result.text + result.error

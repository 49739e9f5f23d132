from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from datasets.synthea import mapping
from datasets.synthea.files import RowRejected
from tests.synthea.exports import row

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
BOSTON = "America/New_York"


def visit_of(*, time_zone: str = BOSTON, **cells: str):
    return mapping.to_visit(row("encounters", **cells), time_zone=time_zone, now=NOW)


def prescription_of(**cells: str):
    key = mapping.prescription_id(mapping.medication_key(row("medications", **cells)), 0)
    return mapping.to_prescription(row("medications", **cells), visit_of(), key=key, time_zone=BOSTON)


def bill_of(*, is_paid: bool = True, **cells: str):
    return mapping.to_bill(row("encounters", **cells), visit_of(**cells), is_paid=is_paid, now=NOW)


# --- Patients and doctors


def test_patient():
    patient = mapping.to_patient(row("patients", DEATHDATE="2020-03-01"), ["Asthma"])
    assert (patient.patient_id, patient.name, patient.birth_date) == ("p1", "Ali Raza", date(1980, 2, 29))
    assert (patient.sex, patient.diseases, patient.national_id) == ("male", ["Asthma"], "999-17-5017")
    assert patient.address == "1 High Street, Boston, Massachusetts 02155"
    assert patient.notes == "Died on 2020-03-01."


def test_patient_of_whom_little_is_known():
    cells = dict.fromkeys(("BIRTHDATE", "SSN", "GENDER", "ADDRESS", "CITY", "STATE", "ZIP"), "")
    patient = mapping.to_patient(row("patients", **cells), [])
    assert (patient.birth_date, patient.sex, patient.address, patient.national_id) == (None, None, None, None)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"Id": "-p1"}, "patient_id: Must be 1 to 64"),
        ({"Id": ""}, "patient_id: "),
        ({"FIRST": "", "LAST": ""}, "name: "),
        ({"FIRST": "A" * 201}, "name: "),
        ({"FIRST": "A\x00"}, "name: Must not hold control characters"),
        ({"BIRTHDATE": "2999-01-01"}, "birth_date: "),
        ({"BIRTHDATE": "1980-02-30"}, "birth_date: "),
        ({"BIRTHDATE": "1870-01-01"}, "birth_date: "),
        ({"GENDER": "X"}, "GENDER"),
        ({"DEATHDATE": "soon"}, "DEATHDATE"),
    ],
)
def test_patient_that_the_api_would_not_accept(cells, reason):
    with pytest.raises(RowRejected, match=f"^{reason}"):
        mapping.to_patient(row("patients", **cells), [])


def test_birth_date_in_the_future_is_refused_by_the_rule_of_the_app():
    with pytest.raises(RowRejected, match="birth_date: The birth date lies in the future"):
        mapping.to_patient(row("patients", BIRTHDATE="2150-01-01"), [])


def test_doctor():
    doctor = mapping.to_doctor(row("providers"), "CA")
    assert (doctor.doctor_id, doctor.name, doctor.specialty) == ("d1", "Amara Okafor", "General Practice")
    assert (doctor.specialty_key, doctor.time_zone) == ("general practice", BOSTON)


def test_doctor_without_a_state_is_where_the_organization_is():
    assert mapping.to_doctor(row("providers", STATE=""), "CA").time_zone == "America/Los_Angeles"
    assert mapping.to_doctor(row("providers", STATE=""), "").time_zone == "UTC"


# --- Visits


def test_visit_keeps_its_instant():
    visit = visit_of()
    assert visit.starts_at == datetime(2023, 1, 27, 16, 17, 47, tzinfo=UTC)
    assert (visit.date, visit.time, visit.duration_minutes) == (date(2023, 1, 27), "11:17", 15)
    assert (visit.status, visit.disease) == ("completed", "Acute bronchitis")


def test_visit_is_on_the_day_of_the_doctor():
    visit = visit_of(START="2023-07-02T03:30:00Z", STOP="2023-07-02T03:45:00Z")
    assert (visit.date, visit.time) == (date(2023, 7, 1), "23:30")


@pytest.mark.parametrize(
    ("stop", "minutes"),
    [
        ("2023-01-27T16:17:47Z", 1),
        ("2023-01-27T16:18:48Z", 2),
        ("2023-01-28T16:17:47Z", 1440),
        ("2023-12-27T16:17:47Z", mapping.MAX_VISIT_MINUTES),
        ("", 30),
    ],
)
def test_duration_is_whole_minutes_within_what_the_field_holds(stop, minutes):
    assert visit_of(STOP=stop).duration_minutes == minutes


def test_a_reason_that_is_no_disease_is_none():
    assert visit_of(REASONDESCRIPTION="Stress (finding)").disease is None


def test_visit_in_the_future_is_scheduled_and_on_the_grid():
    visit = visit_of(START="2026-02-01T15:17:47Z", STOP="2026-02-01T15:32:47Z")
    assert (visit.status, visit.date, visit.time) == ("scheduled", date(2026, 2, 1), "10:15")
    assert visit.starts_at == datetime(2026, 2, 1, 15, 15, tzinfo=UTC)
    assert visit.duration_minutes == 20


def test_the_present_is_no_future():
    assert visit_of(START="2026-01-15T12:00:00Z", STOP="2026-01-15T12:15:00Z").status == "completed"


def test_the_hour_that_comes_twice():
    """A completed visit keeps its instant. A scheduled visit is rejected: it would become the first of the two."""
    cells = {"START": "2022-11-06T06:30:00Z", "STOP": "2022-11-06T06:45:00Z"}
    visit = visit_of(**cells)
    assert (visit.time, visit.starts_at) == ("01:30", datetime(2022, 11, 6, 6, 30, tzinfo=UTC))
    with pytest.raises(RowRejected, match="clocks of America/New_York go back"):
        visit_of(START="2026-11-01T06:30:00Z", STOP="2026-11-01T06:45:00Z")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"START": "yesterday"}, "START is not an instant"),
        ({"START": ""}, "START is not an instant"),
        ({"START": "2023-01-27"}, "START has no time of day"),
        ({"START": "0001-01-01T00:00:00Z"}, "START lies outside"),
        ({"START": "1700-01-01T00:00:00Z", "STOP": "1700-01-01T01:00:00Z"}, "date: Must lie between"),
        ({"STOP": "2023-01-27T16:00:00Z"}, "STOP lies before START"),
        ({"STOP": "x"}, "STOP is not an instant"),
        ({"Id": "e 1"}, "appointment_id: "),
        ({"REASONDESCRIPTION": "A" * 121}, "disease: "),
        ({"START": "2026-02-01T15:00:00Z", "STOP": "2026-02-02T15:00:00Z"}, "duration_minutes: "),
    ],
)
def test_visit_that_cannot_be(cells, reason):
    with pytest.raises(RowRejected, match=f"^{reason}"):
        visit_of(**cells)


# --- Bills


def test_bill():
    bill = bill_of()
    assert (bill.patient_id, bill.appointment_id, bill.disease) == ("p1", "e1", "Acute bronchitis")
    assert (bill.total_cost, bill.status) == (Decimal("129.16"), "paid")
    assert bill.created_at == datetime(2023, 1, 27, 16, 32, 47, tzinfo=UTC)
    assert bill_of(is_paid=False).status == "open"


@pytest.mark.parametrize(("cost", "cents"), [("0.005", "0.00"), ("0.015", "0.02"), ("2.675", "2.68"), ("7", "7.00")])
def test_costs_are_rounded_half_even(cost, cents):
    assert bill_of(TOTAL_CLAIM_COST=cost).total_cost == Decimal(cents)


def test_no_bill_without_a_cost_or_before_the_visit():
    assert bill_of(TOTAL_CLAIM_COST="") is None
    assert bill_of(START="2026-02-01T15:00:00Z", STOP="2026-02-01T15:15:00Z") is None


@pytest.mark.parametrize("cost", ["-1", "free", "NaN", "Infinity", "1e400", "10000000000"])
def test_bill_that_cannot_be(cost):
    with pytest.raises(RowRejected):
        bill_of(TOTAL_CLAIM_COST=cost)


@pytest.mark.parametrize(
    ("states", "closed"),
    [
        (("CLOSED", "", "CLOSED"), True),
        (("CLOSED", "CLOSED", "CLOSED"), True),
        (("BILLED", "", "BILLED"), False),
        (("CLOSED", "BILLED", "CLOSED"), False),
        (("", "", ""), False),
    ],
)
def test_claim_is_closed_when_nobody_owes(states, closed):
    given = dict(zip(("STATUS1", "STATUS2", "STATUSP"), states, strict=True))
    assert mapping.is_closed(row("claims", **given)) is closed


# --- Prescriptions


def test_prescription():
    prescription = prescription_of()
    assert (prescription.patient_id, prescription.doctor_id, prescription.appointment_id) == ("p1", "d1", "e1")
    assert (prescription.drug, prescription.dosage, prescription.frequency) == (
        "Acetaminophen",
        "325 mg",
        "As directed",
    )
    assert prescription.instructions == "Acetaminophen 325 MG Oral Tablet"
    assert (prescription.start_date, prescription.duration_days) == (date(2023, 1, 27), 15)
    assert (prescription.cost, prescription.disease) == (Decimal("5.16"), "Acute bronchitis")


def test_prescription_without_stop_is_open_ended():
    assert prescription_of(STOP="").duration_days is None


def test_prescription_of_one_day():
    assert prescription_of(STOP="2023-01-27T16:17:47Z").duration_days == 1


def test_older_exports_give_days():
    prescription = prescription_of(START="2023-01-01", STOP="2023-01-14")
    assert (prescription.start_date, prescription.duration_days) == (date(2023, 1, 1), 14)


def test_prescription_id_is_the_rows():
    first, again, other = prescription_of(), prescription_of(), prescription_of(CODE="1")
    assert first.pk == again.pk != other.pk
    key = mapping.medication_key(row("medications"))
    assert mapping.prescription_id(key, 0) != mapping.prescription_id(key, 1)
    assert str(first.pk) == "bf3917f23a17408b7781e039"  # pragma: allowlist secret


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"PATIENT": "p2"}, "ENCOUNTER is the visit of another patient"),
        ({"DESCRIPTION": " "}, "DESCRIPTION is empty"),
        ({"STOP": "2023-01-20T16:17:47Z"}, "STOP lies before START"),
        ({"STOP": "2193-01-20T16:17:47Z"}, "duration_days: "),
        ({"BASE_COST": "-1"}, "cost: "),
        ({"BASE_COST": "much"}, "BASE_COST"),
        ({"START": "x"}, "START"),
    ],
)
def test_prescription_that_cannot_be(cells, reason):
    with pytest.raises(RowRejected, match=f"^{reason}"):
        prescription_of(**cells)

"""Seeded records without a database: the vocabulary, and the pure functions that make a run."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from datasets.seed import keys, medicine, names, places, records, staff
from datasets.seed.plan import Plan, Sizes
from doctors.hours import instant
from healthcare.ids import ALPHABET
from patients.models import CHART_LENGTH
from prescriptions.dosage import parse_dosage
from prescriptions.frequency import parse_frequency

AS_OF = date(2025, 9, 12)
# Two practices with several blocks each.
SIZES = Sizes(patients=600, doctors=90, appointments=6_000, prescriptions=3_000, bills=400)


class Everything:
    """All records of a run, from all blocks."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.doctors = [staff.doctor(plan, number) for number in range(plan.sizes.doctors)]
        blocks = [records.make_block(plan, number) for number in range(plan.block_count)]
        self.patients = [each for block in blocks for each in block.patients]
        self.appointments = [each for block in blocks for each in block.appointments]
        self.prescriptions = [each for block in blocks for each in block.prescriptions]
        self.bills = [each for block in blocks for each in block.bills]
        self.doctor = {each.doctor_id: each for each in self.doctors}
        self.patient = {each["_id"]: each for each in self.patients}
        self.appointment = {each["_id"]: each for each in self.appointments}


@pytest.fixture(scope="module")
def made() -> Everything:
    return Everything(Plan(seed=7, as_of=AS_OF, sizes=SIZES))


@pytest.fixture(scope="module")
def crowded() -> Everything:
    """A run with few doctors whose slots are nearly all taken, and many blocks in one practice."""
    return Everything(Plan(seed=3, as_of=AS_OF, sizes=Sizes(500, 3, 25_000, 100, 0)))


def test_every_drug_has_a_dosage_and_a_frequency_that_the_api_takes():
    drugs = {drug for disease in medicine.DISEASES for drug in disease.drugs}
    assert len(drugs) > 50
    for drug in drugs:
        assert drug.courses
        assert parse_frequency(drug.frequency) == drug.frequency
        for dosage in drug.dosages:
            parse_dosage(dosage)


def test_every_disease_belongs_to_a_specialty_that_has_doctors():
    assert (
        {each.specialty for each in medicine.DISEASES} == set(medicine.SPECIALTIES) == set(medicine.SPECIALTY_ROTATION)
    )
    assert len({each.name for each in medicine.DISEASES}) == len(medicine.DISEASES)
    # General practitioners treat a disease that patients of every age and sex may have.
    of_all_ages = [each for each in medicine.DISEASES if each.specialty == medicine.GENERAL_PRACTICE]
    assert any(each.ages == (0, 110) and each.sex is None for each in of_all_ages)


def test_names_are_many_and_from_many_places():
    assert len(names.REGIONS) >= 12
    for region in names.REGIONS:
        for some in (region.female, region.male, region.family):
            assert len(some) >= 20
            assert all(each == each.strip() and each for each in some)
            assert len(set(some)) == len(some)


def test_names_become_mail_addresses():
    assert [names.mail_part(each) for each in ("Nguyễn", "O'Brien", "Groß", "van der Merwe", "Şahin")] == [
        "nguyen",
        "obrien",
        "gross",
        "vandermerwe",
        "sahin",
    ]
    everybody = [each for region in names.REGIONS for each in (*region.female, *region.male, *region.family)]
    assert all(names.mail_part(each).isascii() and names.mail_part(each) for each in everybody)


def test_keys_have_the_form_of_the_system_and_are_all_different():
    space = keys.key_space("P", 3, 1, "")
    some = [space.key(2**35 - 500 + number) for number in range(100_000)]
    assert len(set(some)) == len(some)
    assert all(len(each) == 11 and each[0] == "P" and set(each[1:]) <= set(ALPHABET) for each in some[:1000])
    assert len({each[4:7] for each in some[:1000]}) > 900
    assert len({keys.key_space("P", block, 1, "").prefix for block in range(2**15)}) == 2**15


def test_sizes_are_met_exactly(made):
    assert len(made.patient) == len(made.patients) == SIZES.patients
    assert len(made.doctor) == SIZES.doctors
    assert len(made.appointment) == len(made.appointments) == SIZES.appointments
    assert len({each["_id"] for each in made.prescriptions}) == len(made.prescriptions) == SIZES.prescriptions
    assert sum(each.appointment_id is None for each in made.bills) == SIZES.bills
    assert len({each.id for each in made.bills}) == len(made.bills)


@pytest.mark.parametrize("run", ["made", "crowded"])
def test_no_visits_of_one_doctor_or_patient_overlap(run, request):
    everything = request.getfixturevalue(run)
    for name in ("doctor_id", "patient_id"):
        schedules = defaultdict(list)
        for visit in everything.appointments:
            if visit["starts_at"]:
                ends_at = visit["starts_at"] + timedelta(minutes=visit["duration_minutes"])
                schedules[visit[name]].append((visit["starts_at"], ends_at))
        assert len(schedules) > 2
        for schedule in schedules.values():
            assert all(earlier[1] <= later[0] for earlier, later in pairwise(sorted(schedule)))


@pytest.mark.parametrize("run", ["made", "crowded"])
def test_visits_lie_in_the_hours_of_their_doctors(run, request):
    everything = request.getfixturevalue(run)
    for visit in everything.appointments:
        doctor = everything.doctor[visit["doctor_id"]]
        document = doctor.document(everything.plan)
        day = visit["date"].date()
        assert everything.plan.first_day <= day <= everything.plan.last_day
        assert visit["date"] not in [each["date"] for each in document["exceptions"]]
        rows = [row for row in document["availability"] if row["weekday"] == day.weekday()]
        if not visit["time"]:
            assert visit["starts_at"] is None
            continue
        minute = staff.minutes(visit["time"])
        assert minute % 5 == 0
        assert visit["duration_minutes"] == doctor.slot_minutes
        assert any(
            staff.minutes(row["start"]) <= minute and minute + doctor.slot_minutes <= staff.minutes(row["end"])
            for row in rows
        )
        assert visit["starts_at"] == instant(day, visit["time"], doctor.place.time_zone)


def test_instants_follow_summer_time(made):
    by_zone = defaultdict(set)
    for visit in made.appointments:
        if visit["starts_at"]:
            zone = made.doctor[visit["doctor_id"]].place.time_zone
            by_zone[zone].add(visit["starts_at"].astimezone(ZoneInfo(zone)).utcoffset())
    assert len(by_zone) >= 6
    assert len(by_zone["Europe/Zurich"]) == len(by_zone["America/New_York"]) == 2
    assert len(by_zone["Asia/Kolkata"]) == 1


@pytest.mark.parametrize("place", places.PLACES, ids=lambda place: place.city)
def test_days_on_which_the_clocks_change_are_recognised(place):
    zone = ZoneInfo(place.time_zone)
    for number in range(800):
        day = date(2024, 1, 1) + timedelta(days=number)
        ahead = staff.minutes_ahead_of_utc(place.time_zone, day)
        offsets = {datetime(day.year, day.month, day.day, hour, tzinfo=zone).utcoffset() for hour in range(24)}
        assert (ahead is None) == (len(offsets) > 1)
        if ahead is not None:
            assert offsets == {timedelta(minutes=ahead)}


def test_past_visits_are_over_and_coming_ones_are_not(made):
    past = Counter(each["status"] for each in made.appointments if each["date"].date() < AS_OF)
    coming = Counter(each["status"] for each in made.appointments if each["date"].date() >= AS_OF)
    assert set(past) == {"completed", "cancelled"}
    assert set(coming) == {"scheduled", "cancelled"}
    total = past + coming
    assert total["cancelled"] / SIZES.appointments == pytest.approx(0.10, abs=0.02)
    assert total["completed"] / SIZES.appointments == pytest.approx(0.87, abs=0.03)
    untimed = sum(not each["time"] for each in made.appointments)
    assert 0 < untimed / SIZES.appointments < 0.04
    days = [each["date"].date() for each in made.appointments]
    assert max(days) - min(days) > timedelta(days=1000)
    assert {each.year for each in days} == {2022, 2023, 2024, 2025}


def test_visits_have_no_time_only_when_few_slots_are_left(crowded):
    untimed = sum(not each["time"] for each in crowded.appointments)
    assert untimed / len(crowded.appointments) < 0.1


def test_visits_and_prescriptions_fit_the_patients_diseases_and_their_specialties(made):
    diseases = {each.name: each for each in medicine.DISEASES}
    for each in (*made.appointments, *made.prescriptions):
        patient, doctor = made.patient[each["patient_id"]], made.doctor[each["doctor_id"]]
        if each["disease"] is None:
            assert doctor.specialty == medicine.GENERAL_PRACTICE
            continue
        assert each["disease"] in patient["diseases"]
        assert doctor.specialty == diseases[each["disease"]].specialty
    for patient in made.patients:
        age_days = (AS_OF - patient["birth_date"].date()).days
        for name in patient["diseases"]:
            low, high = diseases[name].ages
            assert low == 0 or age_days > (low + 2.8) * 365.2425
            assert age_days < (high + 1) * 365.2425
            assert diseases[name].sex in (None, patient["sex"])


def test_courses_fit_the_drug(made):
    drugs = defaultdict(list)
    for disease in medicine.DISEASES:
        for drug in disease.drugs:
            drugs[disease.name, drug.name].append(drug)
    for each in made.prescriptions:
        fitting = drugs[each["disease"], each["drug"]]
        assert any(
            each["dosage"] in drug.dosages
            and each["frequency"] == drug.frequency
            and each["duration_days"] in drug.courses
            for drug in fitting
        )
        assert each["start_date"].date() <= AS_OF
        if each["cost"] is not None:
            assert each["cost"].to_decimal().as_tuple().exponent == -2
            assert 2 <= each["cost"].to_decimal() < 20_000
    assert any(each["cost"] is None for each in made.prescriptions)
    assert any(each["duration_days"] is None for each in made.prescriptions)


def test_prescriptions_of_a_visit_are_of_its_patient_doctor_and_day(made):
    of_visits = [each for each in made.prescriptions if each["appointment_id"]]
    assert 0.6 < len(of_visits) / len(made.prescriptions) < 0.95
    for each in of_visits:
        visit = made.appointment[each["appointment_id"]]
        assert visit["status"] == "completed"
        assert [each[name] for name in ("patient_id", "doctor_id", "disease")] == [
            visit[name] for name in ("patient_id", "doctor_id", "disease")
        ]
        assert each["start_date"] == visit["date"]


def test_each_completed_visit_has_one_bill_and_no_other_visit_has_one(made):
    billed = Counter(each.appointment_id for each in made.bills if each.appointment_id)
    assert billed == Counter(each["_id"] for each in made.appointments if each["status"] == "completed")
    fees = medicine.SPECIALTIES
    for bill in made.bills:
        low, high = min(fees[name].fee[0] for name in fees), max(fees[name].fee[1] for name in fees)
        if bill.appointment_id is None:
            assert bill.disease in made.patient[bill.patient_id]["diseases"]
        else:
            visit = made.appointment[bill.appointment_id]
            assert (bill.patient_id, bill.disease) == (visit["patient_id"], visit["disease"])
            assert bill.created_at > (visit["starts_at"] or visit["date"])
            low, high = fees[made.doctor[visit["doctor_id"]].specialty].fee
        assert low <= float(bill.total_cost) <= high
        assert bill.total_cost[-3] == "."
    shares = Counter(each.status for each in made.bills)
    assert shares["paid"] > shares["open"] > shares["void"] > 0


def test_charts_agree_with_the_collections(crowded):
    made = crowded
    assert max(len(each["appointments"]) for each in made.patients) == CHART_LENGTH
    for patient in made.patients:
        visits = [each for each in made.appointments if each["patient_id"] == patient["_id"]]
        visits.sort(key=lambda each: (each["date"], each["time"], each["_id"]), reverse=True)
        names_ = ("doctor_id", "date", "time", "duration_minutes", "status", "disease")
        assert patient["appointments"] == [
            {"appointment_id": each["_id"], **{name: each[name] for name in names_}} for each in visits[:CHART_LENGTH]
        ]
        courses = [each for each in made.prescriptions if each["patient_id"] == patient["_id"]]
        courses.sort(key=lambda each: (each["start_date"], each["_id"]), reverse=True)
        fields = ("doctor_id", "drug", "dosage", "frequency", "start_date", "duration_days", "disease")
        assert patient["prescriptions"] == [
            {"prescription_id": each["_id"], **{name: each[name] for name in fields}} for each in courses[:CHART_LENGTH]
        ]


def test_records_are_created_in_a_possible_order(made):
    first_day = datetime.combine(made.plan.first_day, datetime.min.time(), tzinfo=UTC)
    assert all(each.created_at < first_day for each in made.doctors)
    present = datetime.combine(AS_OF, datetime.min.time(), tzinfo=UTC)
    for visit in made.appointments:
        patient = made.patient[visit["patient_id"]]
        assert patient["birth_date"] <= patient["created_at"] <= visit["created_at"] < present
        assert visit["created_at"] < visit["date"] + timedelta(days=1)
    for each in made.prescriptions:
        assert made.patient[each["patient_id"]]["created_at"] <= each["created_at"]


def test_the_first_patient_has_past_and_coming_visits_with_the_first_doctor(made):
    doctor, patient = staff.doctor_id(made.plan, 0), records.patient_id(made.plan, 0)
    visits = [each for each in made.appointments if (each["doctor_id"], each["patient_id"]) == (doctor, patient)]
    assert {"completed", "scheduled"} <= {each["status"] for each in visits}
    assert any((each["doctor_id"], each["patient_id"]) == (doctor, patient) for each in made.prescriptions)


@pytest.mark.parametrize("doctors", [1, 2, 12, 40, 81, 700])
def test_any_number_of_doctors_is_possible(doctors):
    made = Everything(Plan(seed=1, as_of=date(2024, 2, 29), sizes=Sizes(300, doctors, 900, 300, 30)))
    assert len(made.appointments) == 900
    assert {each["doctor_id"] for each in made.appointments} <= set(made.doctor)


@pytest.mark.parametrize(
    "sizes", [Sizes(0, 0, 0, 0, 0), Sizes(0, 5, 0, 0, 0), Sizes(7, 0, 0, 0, 9), Sizes(1, 1, 500, 500, 500)]
)
def test_odd_sizes_are_met(sizes):
    made = Everything(Plan(seed=1, as_of=AS_OF, sizes=sizes))
    assert len(made.patients) == sizes.patients
    assert len(made.appointments) == sizes.appointments
    assert len(made.prescriptions) == sizes.prescriptions
    assert sum(each.appointment_id is None for each in made.bills) == sizes.bills


def test_seed_date_and_run_each_change_the_data():
    plan = Plan(seed=1, as_of=AS_OF, sizes=Sizes(20, 5, 50, 20, 5))
    other = [
        Plan(seed=2, as_of=AS_OF, sizes=plan.sizes),
        Plan(seed=1, as_of=AS_OF + timedelta(days=1), sizes=plan.sizes),
        Plan(seed=1, as_of=AS_OF, sizes=plan.sizes, run="after 20"),
    ]
    assert records.make_block(plan, 0) == records.make_block(plan, 0)
    for each in other:
        assert records.make_block(plan, 0) != records.make_block(each, 0)

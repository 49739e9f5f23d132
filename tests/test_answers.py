"""Document queries and compiled serializers give the same responses as models and the serializers of DRF.

Generated records of every app are stored as documents, read both ways and compared as JSON.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from bson import ObjectId
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer as StockRenderer

from accounts.serializers import AccountOut
from appointments import queries as appointment_queries
from appointments.models import Appointment
from appointments.serializers import AppointmentOut
from billing.models import Bill
from billing.serializers import BillOut
from doctors import queries as doctor_queries
from doctors.models import Doctor, ScheduleException, WeeklyHours
from doctors.serializers import DoctorOut
from healthcare.api.renderers import JSONRenderer
from healthcare.api.serializers import OutSerializer
from healthcare.mongodb import document_query
from healthcare.mongodb.document_query import DocumentQuery
from patients import queries as patient_queries
from patients.models import ChartAppointment, ChartPrescription, Patient
from patients.serializers import PatientOut
from prescriptions import queries as prescription_queries
from prescriptions.models import Prescription
from prescriptions.serializers import PrescriptionOut
from tests.people import People, make_patient

DAYS = st.dates(date(1880, 1, 1), date(2199, 12, 31))
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
TIMES = st.sampled_from(["", "00:00", "09:05", "23:55"])
COSTS = st.decimals(0, Decimal("9999999999.99"), places=2)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


CHARTS = {
    "appointments": st.lists(
        st.builds(
            ChartAppointment, appointment_id=st.just("A1"), doctor_id=st.just("D1"), date=DAYS, time=TIMES,
            duration_minutes=st.integers(5, 720), status=st.just("scheduled"), disease=maybe(TEXTS),
        ),
        max_size=2,
    ),
    "prescriptions": st.lists(
        st.builds(
            ChartPrescription, prescription_id=st.builds(ObjectId), doctor_id=st.just("D1"), drug=TEXTS,
            dosage=st.just("5 mL"), frequency=st.just("BID"), start_date=DAYS,
            duration_days=maybe(st.integers(1, 36_500)), disease=maybe(TEXTS),
        ),
        max_size=2,
    ),
}  # fmt: skip
RECORDS: dict[type[models.Model], st.SearchStrategy[Any]] = {
    Patient: st.builds(
        Patient, patient_id=st.just("P9"), name=TEXTS, birth_date=maybe(DAYS), sex=maybe(st.just("female")),
        diseases=st.lists(TEXTS, max_size=3), phone=maybe(TEXTS), email=maybe(TEXTS), address=maybe(TEXTS),
        national_id=maybe(TEXTS), notes=maybe(TEXTS), user_id=maybe(st.integers(1, 2**63 - 1)), created_at=INSTANTS,
        **CHARTS,
    ),
    Doctor: st.builds(
        Doctor, doctor_id=st.just("D9"), name=TEXTS, specialty=TEXTS, specialty_key=TEXTS, created_at=INSTANTS,
        availability=st.lists(
            st.builds(WeeklyHours, weekday=st.integers(0, 6), start=st.just("08:00"), end=st.just("12:00")), max_size=2
        ),
        exceptions=st.lists(
            st.builds(ScheduleException, date=DAYS, start=maybe(st.just("08:00")), closed=st.booleans()), max_size=2
        ),
        accepting_patients=st.booleans(), user_id=maybe(st.integers(1, 2**63 - 1)),
    ),
    Appointment: st.builds(
        Appointment, appointment_id=st.just("A9"), patient_id=st.just("P9"), doctor_id=st.just("D9"), date=DAYS,
        time=TIMES, duration_minutes=st.integers(5, 720), status=st.sampled_from(["scheduled", "completed"]),
        disease=maybe(TEXTS), starts_at=maybe(INSTANTS), created_at=INSTANTS,
    ),
    Prescription: st.builds(
        Prescription, pk=st.builds(ObjectId), patient_id=st.just("P9"), doctor_id=st.just("D9"),
        appointment_id=maybe(st.just("A9")), drug=TEXTS, dosage=st.just("5 mL"), frequency=st.just("BID"),
        cost=maybe(COSTS), disease=maybe(TEXTS), start_date=DAYS, duration_days=maybe(st.integers(1, 36_500)),
        instructions=maybe(TEXTS), created_at=INSTANTS,
    ),
}  # fmt: skip
ANSWERS: dict[type[models.Model], type[OutSerializer]] = {
    Patient: PatientOut, Doctor: DoctorOut, Appointment: AppointmentOut, Prescription: PrescriptionOut,
}  # fmt: skip


def as_drf_writes(answer: type[OutSerializer], record: Any) -> Any:
    """Return the JSON value of a model as DRF's serializer writes it."""
    return json.loads(StockRenderer().render(serializers.Serializer.to_representation(answer(), record)))


def as_we_write(answer: type[OutSerializer], record: Any) -> Any:
    return orjson.loads(JSONRenderer().render(answer.of(record)))


@pytest.mark.django_db
@pytest.mark.parametrize("model", RECORDS, ids=lambda model: model.__name__)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_documents_answer_what_models_do(model: type[models.Model], data: st.DataObject) -> None:
    record, answer = data.draw(RECORDS[model]), ANSWERS[model]
    model._default_manager.all().delete()
    document_query.insert(record)
    of_orm = model._default_manager.get(pk=record.pk)
    expected = as_drf_writes(answer, of_orm)
    found = DocumentQuery(model).filter(pk=record.pk).first()
    assert found is not None
    assert as_we_write(answer, found) == expected
    assert as_we_write(answer, of_orm) == expected
    assert as_we_write(answer, record) == expected


@pytest.mark.django_db
def test_inserted_document_is_the_one_that_the_orm_would_store(people: People) -> None:
    del people
    for model, record in [(Patient, Patient(patient_id="P9", name="Ali Raza", birth_date=date(1980, 2, 29)))]:
        record.save(force_insert=True)
        of_orm = DocumentQuery(model).filter(pk=record.pk).first()
        model._default_manager.filter(pk=record.pk).delete()
        document_query.insert(record)
        assert DocumentQuery(model).filter(pk=record.pk).first() == of_orm


@pytest.mark.django_db
def test_apps_on_postgresql_answer_what_drf_writes(people: People) -> None:
    bill = Bill.objects.create(patient_id="P1", total_cost=Decimal("12.5"), disease="Asthma")
    for answer, record in ((BillOut, Bill.objects.get(pk=bill.pk)), (AccountOut, people.admin)):
        assert as_we_write(answer, record) == as_drf_writes(answer, record)


@pytest.mark.django_db
def test_field_that_is_not_in_an_old_document_is_null(people: People) -> None:
    found = {"patient_id": "P1", "name": "Ali Raza", "diseases": [], "appointments": [], "prescriptions": []}
    answered = PatientOut.of(found)
    assert answered["notes"] is None
    assert answered["age"] is None
    # The same beside a document with every field.
    made = make_patient(people.admin, "P3", notes="Sleeps badly")
    whole = DocumentQuery(Patient).filter(pk=made.pk).first()
    assert PatientOut.many_of([whole, found]) == [PatientOut.of(whole), answered]


@pytest.mark.django_db
def test_many_are_written_as_each_is(people: People) -> None:
    found = DocumentQuery(Patient).filter().order_by("patient_id").read()
    assert len(found) == 2
    assert PatientOut.many_of(found) == [PatientOut.of(each) for each in found]
    models = list(Patient.objects.order_by("patient_id"))
    assert PatientOut.many_of(models) == [PatientOut.of(each) for each in models]
    assert PatientOut.many_of([]) == []


def test_answer_takes_a_field_whole() -> None:
    class Out(OutSerializer):
        doctor = serializers.CharField(source="doctor.name")

    with pytest.raises(ImproperlyConfigured, match=r"Out\.doctor"):
        Out.of({"doctor": {"name": "Amara Okafor"}})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([{"patient_id": "P1"}, {"doctor_id": "D1"}], {"patient_id": "P1", "doctor_id": "D1"}),
        # Two conditions on one field are both required: the second must not replace the first.
        ([{"patient_id": "P1"}, {"patient_id": "P2"}], {"$and": [{"patient_id": "P1"}, {"patient_id": "P2"}]}),
        ([{"date__gte": 1}, {"date__lte": 2}, {"status": "x"}], {"date": {"$gte": 1, "$lte": 2}, "status": "x"}),
        ([{"date__gte": 1}, {"date__gte": 2}], {"$and": [{"date": {"$gte": 1}}, {"date": {"$gte": 2}}]}),
        ([{"date": 1}, {"date__gte": 2}], {"$and": [{"date": 1}, {"date": {"$gte": 2}}]}),
        (
            [{"status__in": ["a"]}, {"status__gte": "b"}],
            {"$and": [{"status": {"$in": ["a"]}}, {"status": {"$gte": "b"}}]},
        ),
    ],
)
def test_conditions_on_one_field_are_all_asked(asked: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    found = DocumentQuery(Appointment)
    for lookups in asked:
        found = found.filter(**lookups)
    assert found._where() == expected


# --- Documents and querysets -----------------------------------------------------------------------------------------


def filters() -> Iterator[tuple[Any, dict[str, Any]]]:
    yield patient_queries, {}
    yield patient_queries, {"search": "ali"}
    yield patient_queries, {"disease": "Asthma"}
    yield patient_queries, {"national_id": "X1"}
    yield doctor_queries, {"specialty": "CARDIOLOGY", "available": True}
    yield doctor_queries, {"search": "amara okafor"}
    for module in (appointment_queries, prescription_queries):
        yield module, {}
        yield module, {"patient_id": "P1", "doctor_id": "D1"}
    yield appointment_queries, {"status": "scheduled", "since": date(2031, 1, 1), "until": date(2031, 1, 2)}
    yield prescription_queries, {"disease": "Asthma"}


@pytest.mark.django_db
def test_queryset_of_documents_finds_the_same(people: People) -> None:
    make_rows()
    found_something = set()
    for who in ("admin", "doctor", "other_doctor", "patient", "other_patient", "staff"):
        account = getattr(people, who)
        for module, given_filters in filters():
            chosen = module.matching(account, **given_filters)
            keys = [document[chosen.model._meta.pk.name] for document in chosen.read()]
            assert keys == [row.pk for row in chosen.as_queryset()], (who, module.__name__, given_filters)
            backwards = [document[chosen.model._meta.pk.name] for document in chosen.reverse().read()]
            assert backwards == keys[::-1]
            if keys:
                found_something.add((who, module.__name__))
    assert len(found_something) >= 14


def make_rows() -> None:
    for number, (patient, doctor) in enumerate((("P1", "D1"), ("P1", "D2"), ("P2", "D1"), ("P2", "D2"))):
        document_query.insert(
            Appointment(
                appointment_id=f"A{number}", patient_id=patient, doctor_id=doctor, date=date(2031, 1, 1 + number % 3),
                duration_minutes=30, disease="Asthma",
            )
        )  # fmt: skip
        document_query.insert(
            Prescription(
                pk=ObjectId(), patient_id=patient, doctor_id=doctor, drug="Salbutamol", dosage="2 puff",
                frequency="Daily", start_date=date(2031, 1, 1), disease="Asthma" if number else None,
            )
        )  # fmt: skip
    Patient.objects.filter(pk="P1").update(diseases=["Asthma", "Diabetes"], national_id="X1")


def test_lookup_that_no_app_uses_is_an_error() -> None:
    for lookup in ("name__icontains", "name__regex", "notes__exact", "name__search__exact"):
        with pytest.raises(FieldError):
            DocumentQuery(Patient).filter(**{lookup: "x"}).read()

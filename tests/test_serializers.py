"""Reading a request makes no new serializer."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.http import QueryDict
from rest_framework.exceptions import ValidationError
from rest_framework.fields import Field

from appointments.serializers import AppointmentIn, AppointmentQuery

BODY = {"patient_id": "P1", "doctor_id": "D1", "date": "2030-01-02", "time": "10:00"}


def a_request(**said: Any) -> Any:
    return SimpleNamespace(user=SimpleNamespace(role="admin"), **said)


def test_reading_a_request_leaves_the_class_of_all_fields_alone() -> None:
    """Python forgets what it knows of a class, and of all that are made of it, when an attribute of it is set."""
    body, query = a_request(data=BODY), a_request(query_params=QueryDict("doctor_id=D1"))
    AppointmentIn.parse(body)
    AppointmentQuery.parse_query(query)
    before = Field._creation_counter  # type: ignore[attr-defined]
    AppointmentIn.parse(body)
    AppointmentQuery.parse_query(query)
    assert Field._creation_counter == before  # type: ignore[attr-defined]


def test_one_request_finds_nothing_of_another() -> None:
    assert AppointmentIn.parse(a_request(data={**BODY, "disease": "Asthma"}))["disease"] == "Asthma"
    assert "disease" not in AppointmentIn.parse(a_request(data=BODY))
    with pytest.raises(ValidationError) as refused:
        AppointmentIn.parse(a_request(data={**BODY, "time": "25:00"}))
    assert set(refused.value.detail) == {"time"}
    assert AppointmentIn.parse(a_request(data=BODY))["time"] == "10:00"

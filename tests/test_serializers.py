"""Input serializers: requests share the fields of a class, and share no state of a request."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from appointments.serializers import AppointmentIn, AppointmentQuery

BODY = {"patient_id": "P1", "doctor_id": "D1", "date": "2030-01-02", "time": "10:00"}


def a_request(**said: Any) -> Any:
    return SimpleNamespace(user=SimpleNamespace(role="admin"), **said)


def test_requests_share_the_fields_of_a_serializer() -> None:
    assert AppointmentIn().fields is AppointmentIn().fields
    assert AppointmentQuery().fields is AppointmentQuery().fields
    assert AppointmentIn().fields is not AppointmentQuery().fields


def test_a_request_leaves_nothing_for_the_next_one() -> None:
    assert AppointmentIn.parse(a_request(data={**BODY, "disease": "Asthma"}))["disease"] == "Asthma"
    assert "disease" not in AppointmentIn.parse(a_request(data=BODY))
    with pytest.raises(ValidationError) as refused:
        AppointmentIn.parse(a_request(data={**BODY, "time": "25:00"}))
    assert set(refused.value.detail) == {"time"}
    assert AppointmentIn.parse(a_request(data=BODY))["time"] == "10:00"
    asked = a_request(query_params=QueryDict("doctor_id=D1&status=scheduled"))
    assert AppointmentQuery.parse_query(asked)["status"] == "scheduled"
    assert set(AppointmentQuery.parse_query(a_request(query_params=QueryDict(""))).values()) == {None}

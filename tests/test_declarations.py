"""System checks of the API's views: each mistake in a declaration is found, and the views of the project have none."""

import subprocess
import sys
from typing import Any

import pytest
from django.test import override_settings
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Role
from healthcare.api.checks import BY_ACTION, api_actions, check_actions, check_declarations, declaration_errors
from healthcare.api.views import ResourceViewSet
from patients.serializers import PatientIn, PatientOut

ADMIN = frozenset({Role.ADMIN})


class Complete(ResourceViewSet):
    """A viewset without a mistake."""

    resource = "patient"
    allowed = {"retrieve": ADMIN}
    response_serializer = PatientOut
    throttle_classes = ()

    def retrieve(self, request: Request, patient_id: str) -> Response:
        return Response({})


class MisspelledAttribute(Complete):
    reponse_serializers = {"retrieve": PatientOut}


class MisspelledMixin:
    extra_status = {"retrieve": ("429",)}


class WithMixin(MisspelledMixin, Complete):
    """A viewset that inherits the mistake of its mixin."""


class MisspelledActions(Complete):
    request_serializers = {"creat": PatientIn}
    empty_responses = frozenset({"retrieve", "destroy"})


class WithoutRow(Complete):
    allowed = {"list": ADMIN}

    def list(self, request: Request) -> Response:
        return Response({})


class WithoutResource(Complete):
    resource = ""


class WithoutName(Complete):
    allowed = {"archive": ADMIN}

    def archive(self, request: Request) -> Response:
        return Response({})


@api_view(["GET"])
def plain_view(request: Request) -> Response:
    return Response({})


urlpatterns = [
    path("api/complete/<str:patient_id>", Complete.as_view({"get": "retrieve"})),
    path("api/attribute/<str:patient_id>", MisspelledAttribute.as_view({"get": "retrieve"})),
    path("probe/actions/<str:patient_id>", MisspelledActions.as_view({"get": "retrieve"})),
    path("api/row/<str:patient_id>", WithoutRow.as_view({"get": "retrieve"})),
    path("api/resource/<str:patient_id>", WithoutResource.as_view({"get": "retrieve"})),
    path("api/name", WithoutName.as_view({"get": "archive"})),
    path("api/plain", plain_view),
]


def found(messages: list[Any]) -> set[tuple[str, str]]:
    return {(message.id, message.msg.split()[0]) for message in messages}


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (Complete, set()),
        (MisspelledAttribute, {("healthcare.E010", "MisspelledAttribute.reponse_serializers")}),
        (WithMixin, {("healthcare.E010", "WithMixin.extra_status")}),
        (
            MisspelledActions,
            {
                ("healthcare.E011", "MisspelledActions.request_serializers"),
                ("healthcare.E011", "MisspelledActions.empty_responses"),
            },
        ),
        (WithoutRow, set()),
    ],
)
def test_mistakes_in_the_attributes_of_a_view(view: type[ResourceViewSet], expected: set[tuple[str, str]]) -> None:
    assert found(declaration_errors(view)) == expected


def test_the_action_that_is_misspelled_is_named() -> None:
    messages = "\n".join(message.msg for message in declaration_errors(MisspelledActions))
    assert "'creat'" in messages
    assert "'destroy'" in messages


@override_settings(ROOT_URLCONF=__name__)
def test_checks_of_routed_views_find_each_mistake() -> None:
    assert found(check_declarations(None)) == {
        ("healthcare.E010", "MisspelledAttribute.reponse_serializers"),
        ("healthcare.E011", "MisspelledActions.request_serializers"),
        ("healthcare.E011", "MisspelledActions.empty_responses"),
    }
    assert found(check_actions(None)) == {
        ("healthcare.E001", "WithoutRow.retrieve"),
        ("healthcare.E002", "plain_view"),
        ("healthcare.E003", "WithoutResource.retrieve"),
        ("healthcare.E003", "WithoutName.archive"),
    }


def test_the_views_of_the_project_have_no_mistake() -> None:
    assert check_actions(None) + check_declarations(None) == []


def test_manage_py_check_knows_these_checks() -> None:
    """The command runs in another process, because the imports of this module already register the checks."""
    program = (
        "import django; django.setup(); from django.core.checks.registry import registry;"
        "print(*(check.__name__ for check in registry.get_checks()))"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert {"check_actions", "check_declarations"} <= set(said.stdout.split())


def test_every_mapping_by_action_is_declared_on_the_base_class() -> None:
    for name in BY_ACTION:
        assert name in vars(ResourceViewSet), name


def test_every_view_of_the_api_declares_something() -> None:
    views = {view for _, view, _ in api_actions() if issubclass(view, ResourceViewSet)}
    assert len(views) >= 12
    assert all(view.allowed and view.resource for view in views)

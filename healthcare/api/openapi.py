"""The OpenAPI document, generated from the declarations of the views (`ResourceViewSet`)."""

from typing import Any, Literal

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from healthcare.api.permissions import ANYONE
from healthcare.api.problem_details import MEDIA_TYPE


class FieldProblem(serializers.Serializer):
    """An error in one value of the request."""

    pointer = serializers.CharField(help_text="JSON pointer (RFC 6901) to the value; empty for the whole request.")
    code = serializers.CharField()
    detail = serializers.CharField()


class Problem(serializers.Serializer):
    """An error (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    # DRF's property `errors` is read only by a serializer that validates, and this one describes a response.
    errors = FieldProblem(many=True)  # type: ignore[assignment]


class MoneyFieldSchema(OpenApiSerializerFieldExtension):
    """The schema of an amount of money: a string in responses, a string or a number in requests."""

    target_class = "healthcare.api.fields.Money"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^\d{1,10}(\.\d{1,2})?$", "example": "12.50"}
        if direction == "response":
            return text
        number = {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": True,
            "maximum": 10_000_000_000,
            "multipleOf": 0.01,
        }
        return {"oneOf": [text, number]}


class WallTimeFieldSchema(OpenApiSerializerFieldExtension):
    """The schema of a time of day as HH:MM."""

    target_class = "healthcare.api.fields.WallTime"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5][05]$", "example": "09:30"}


class ResourceSchema(AutoSchema):
    """The parameters, bodies, responses and errors of an action, from the declarations of its view."""

    view: Any

    def _action(self) -> str:
        return self.view.action or ""

    def get_tags(self) -> list[str]:
        first, *further = self.path.strip("/").split("/")
        return [further[0] if first == "api" else "operations"]

    def get_request_serializer(self) -> Any:
        return self.view.request_serializers.get(self._action())

    def get_response_serializers(self) -> Any:
        action = self._action()
        if action in self.view.empty_responses:
            return {"204": None}
        if action in self.view.redirect_responses:
            return {"302": None}
        serializer = self.view.response_serializer_for(action)
        status = "201" if action in self.view.created_responses else "200"
        return {status: serializer(many=self._is_list_view())} if serializer else {status: None}

    def _is_list_view(self, serializer: object = None) -> bool:
        return self._action() in self.view.list_responses

    def get_filter_backends(self) -> list[Any]:
        return []

    def get_override_parameters(self) -> list[Any]:
        query = self.view.query_serializers.get(self._action())
        return [query] if query else []

    def get_auth(self) -> list[dict[str, list[str]]]:
        if self.view.allowed.get(self._action()) is ANYONE:
            return []
        return super().get_auth()

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        if direction != "response":
            return bodies
        for media_type, content in bodies.get("200", {}).get("content", {}).items():
            # Only the JSON response has the shape of the serializer.
            if media_type.startswith("image/"):
                content["schema"] = {"type": "string", "format": "binary"}
            elif media_type == "text/csv":
                content["schema"] = {"type": "string"}
        codes = {"400", "406", "503"}
        if self.view.allowed.get(self._action()) is not ANYONE:
            codes |= {"401", "403"}
        if "{" in self.path:
            codes.add("404")
        if self.method in ("POST", "PATCH"):
            codes |= {"409", "413", "415"}
        if self.method == "DELETE":
            codes.add("409")
        codes |= set(self.view.extra_statuses.get(self._action(), ()))
        for code in sorted(codes):
            bodies.setdefault(code, self._get_response_for_code(Problem, code, media_types=[MEDIA_TYPE]))
        return bodies

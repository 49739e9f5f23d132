"""docs/openapi.yaml is the document that the code generates, and it is a valid OpenAPI document."""

from pathlib import Path

import yaml
from django.core.management import call_command
from drf_spectacular.validation import validate_schema

COMMITTED = Path(__file__).parent.parent / "docs" / "openapi.yaml"


def test_committed_document_is_what_the_code_says(tmp_path: Path) -> None:
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(made), fail_on_warn=True)
    assert COMMITTED.read_text() == made.read_text(), "The API changed: run `make openapi` and commit the file."


def test_document_is_valid_and_covers_the_brief() -> None:
    document = yaml.safe_load(COMMITTED.read_text())
    validate_schema(document)
    assert {"/api/patients/{patient_id}", "/api/auth/login", "/api/billing"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "default" not in operation["responses"], (path, method)
            assert operation["responses"], (path, method)

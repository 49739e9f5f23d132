import pytest
from django.db.models import QuerySet

from tests.mongodb.models import Visit


@pytest.fixture(params=["clinical", "stock"])
def alias(request: pytest.FixtureRequest) -> str:
    for number, note in enumerate(["Cardiology", "cardiology", "C.rdiology", "a+b (c)"]):
        Visit(visit_id=f"V{number}", doctor_id="D", date="2030-01-01", note=note, number=str(number)).save(
            using=request.param
        )
    return request.param


def notes(visits: QuerySet[Visit]) -> list[str]:
    return sorted(visits.values_list("note", flat=True))


def test_iexact_matches_the_text_and_no_pattern(alias: str) -> None:
    """On the stock engine the text is a regular expression: ".*" finds all, and "a+b (c)" does not find itself."""
    visits = Visit.objects.using(alias)
    if alias == "stock":
        assert len(notes(visits.filter(note__iexact=".*"))) == 4
        assert len(notes(visits.filter(note__iexact="c.rdiology"))) == 3
        assert notes(visits.filter(note__iexact="A+B (C)")) == []
    else:
        assert notes(visits.filter(note__iexact=".*")) == []
        assert notes(visits.filter(note__iexact="c.rdiology")) == ["C.rdiology"]
        assert notes(visits.filter(note__iexact="A+B (C)")) == ["a+b (c)"]
    assert "Cardiology" in notes(visits.filter(note__iexact="CARDIOLOGY"))

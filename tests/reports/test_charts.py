"""Charts of every report with no rows, one row and many rows, and with unusual names."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from subprocess import run
from typing import Any
from xml.etree import ElementTree

import pytest

from reports import charts, queries
from reports.queries import Report
from tests.databases import existing

ODD = ["$x^2$ & <b>", "心臓病 (Herz)", "الربو", "a" * 300, "line\nbreak", "{braces} %s", "\u202eright to left"]
MANY = [*ODD, *(f"Chronic condition number {n} of the lower respiratory tract" for n in range(40))]


def reports(names: list[str]) -> list[Report]:
    as_of = datetime(2026, 11, 23, 12, tzinfo=UTC)
    figures = range(1, len(names) + 1)
    doctors = [
        {"doctor_id": f"D{n}", "name": name, "specialty": "x", "patients": n * 997, "appointments": n * 1_003_000}
        for n, name in zip(figures, names, strict=True)
    ]
    diseases = [
        {"disease": name, "patients": n, "ongoing": n % 3, "average_treatment_days": Decimal(n) if n % 4 else None}
        for n, name in zip(figures, names, strict=True)
    ]
    costs = [
        {"disease": name, "prescriptions": n, "average_prescription_cost": Decimal("12.50") if n % 3 else None,
         "billed_visits": n, "average_total_cost": Decimal(n * 80)}
        for n, name in zip(figures, names, strict=True)
    ]  # fmt: skip
    months = [
        {"month": month, **dict.fromkeys(("completed", "cancelled", "scheduled"), month * len(names))}
        for month in range(1, 13)
    ]
    parameters: dict[str, dict[str, Any]] = {
        queries.TOP_DOCTORS: {"limit": 5, "by": "patients", "from": None, "to": None},
        queries.DISEASE_TRENDS: {"basis": "prescriptions"},
        queries.MONTHLY_TREND: {"year": 2025},
        queries.PRESCRIPTION_COST: {},
    }
    rows: dict[str, list[dict[str, Any]]] = dict(zip(queries.NAMES, (doctors, diseases, months, costs), strict=True))
    return [Report(name=n, parameters=parameters[n], rows=rows[n], as_of=as_of) for n in queries.NAMES]


def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("names", [[], ["Asthma"], MANY], ids=["none", "one", "many"])
@pytest.mark.parametrize("number", range(4), ids=queries.NAMES)
def test_every_chart_can_be_drawn(number: int, names: list[str]) -> None:
    report = reports(names)[number]
    assert charts.draw(report, "png").startswith(b"\x89PNG")
    svg = charts.draw(report, "svg")
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    assert root[0].text == charts.title_of(report)
    assert b"<script" not in svg
    assert charts.draw(report, "svg") == svg


@pytest.mark.parametrize("number", range(4), ids=queries.NAMES)
def test_a_chart_has_a_title_axes_a_legend_and_a_time(number: int) -> None:
    report = reports(["Asthma", "Flu"])[number]
    figure = charts.figure_of(report)
    (axes,) = figure.axes
    assert figure.get_suptitle() == charts.title_of(report)
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert "as of 2026-11-23 12:00:00 UTC" in texts(figure)
    assert all(text.get_text() for text in existing(axes.get_legend()).get_texts())


@pytest.mark.parametrize("number", [0, 1, 3], ids=[queries.NAMES[number] for number in (0, 1, 3)])
def test_a_chart_leaves_out_rows_above_the_maximum_and_says_so(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of diseases would take minutes to draw."""
    monkeypatch.setattr(charts, "MAX_ROWS", 3)
    report = reports(["E", "D", "C", "B", "A"])[number]
    figure = charts.figure_of(report)
    labels = [label.get_text()[0] for label in figure.axes[0].get_yticklabels()]
    # A chart of doctors has the first rows. Of the diseases, the later rows have more patients and prescriptions here.
    assert labels == (["E", "D", "C"] if number == 0 else ["C", "B", "A"])
    (note,) = (text for text in texts(figure) if "as of" in text)
    assert note.startswith("the chart has 3 of 5 rows")
    assert note.encode() in charts.draw(report, "svg")
    assert len(report.rows) == 5


def test_the_height_of_a_chart_is_bounded() -> None:
    figure = charts.figure_of(reports([f"Disease {number}" for number in range(5_000)])[1])
    assert figure.get_figheight() * charts.DOTS_PER_INCH < 5_000


@pytest.mark.parametrize("number", range(4), ids=queries.NAMES)
def test_a_chart_without_rows_says_no_data(number: int) -> None:
    figure = charts.figure_of(reports([])[number])
    assert "No data" in texts(figure)
    assert not figure.axes[0].axison


def test_titles_contain_the_parameters() -> None:
    report = reports([])[0]
    for since, until, title in (
        (None, None, "Doctors with the most patients"),
        ("2025-01-01", None, "Doctors with the most patients, from 2025-01-01"),
        (None, "2025-12-31", "Doctors with the most patients, until 2025-12-31"),
        ("2025-01-01", "2025-12-31", "Doctors with the most patients, from 2025-01-01 to 2025-12-31"),
    ):
        report.parameters.update({"from": since, "to": until})
        assert charts.title_of(report) == title


def test_matplotlib_is_not_imported_before_a_chart_is_drawn() -> None:
    script = "import django, sys; django.setup(); import healthcare.urls; assert 'matplotlib' not in sys.modules"
    assert run([sys.executable, "-c", script], env=environment(), check=False).returncode == 0


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "DJANGO_SETTINGS_MODULE": "healthcare.settings"}

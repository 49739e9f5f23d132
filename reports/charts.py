"""Charts of the reports as pictures, with a title, axes with units, a legend and the time of the data.

matplotlib is imported when the first chart is drawn, because the import takes half a second. The figures are made
without pyplot, which keeps every figure and is not safe in threads.
"""

import warnings
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from reports import queries
from reports.queries import Report, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours by Okabe and Ito, which most colour-blind people can tell apart (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN = "#0072b2", "#e69f00", "#009e73"
TEXT, MUTED, BACKGROUND = "#222222", "#666666", "#ffffff"
WIDTH_INCHES, MIN_HEIGHT_INCHES, ROW_INCHES = 9.0, 4.5, 0.42
DOTS_PER_INCH = 110
MAX_LABEL_LENGTH = 42
MIN_ROWS = 4
#: A chart with more rows is not readable, and a thousand rows take half a minute to draw. The table has all rows.
MAX_ROWS = 100
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

TITLES = {
    queries.TOP_DOCTORS: "Doctors with the most {by}",
    queries.DISEASE_TRENDS: "Average length of treatment, by {basis}",
    queries.MONTHLY_TREND: "Appointments in {year}",
    queries.PRESCRIPTION_COST: "Average cost of prescriptions and billed visits",
}


def draw(report: Report, kind: str) -> bytes:
    """Return a report as a picture; `kind` is "png" or "svg". The same report gives the same bytes."""
    picture = BytesIO()
    with warnings.catch_warnings():
        # The font lacks some scripts and draws their letters as boxes, which must not fail the request.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure_of(report).savefig(picture, format=kind, dpi=DOTS_PER_INCH, metadata=_metadata(kind))
    if kind == "png":
        return picture.getvalue()
    head, tag, rest = picture.getvalue().decode().partition("<metadata>")
    # A screen reader reads the title and the description.
    footnote = _footnote(report, len(_chart_rows(report)))
    description = f"<title>{escape(title_of(report))}</title>\n <desc>{escape(footnote)}</desc>\n "
    return f"{head}{description}{tag}{rest}".encode()


def title_of(report: Report) -> str:
    """Return the title of a report with its parameters."""
    title = TITLES[report.name].format(**report.parameters)
    since, until = report.parameters.get("from"), report.parameters.get("to")
    if since:
        title += f", from {since}"
    if until:
        title += f" to {until}" if since else f", until {until}"
    return title


def figure_of(report: Report) -> "Figure":
    """Return the chart of a report as a matplotlib figure."""
    rows = _chart_rows(report)
    figure, axes = _empty_figure(report, len(rows))
    if any(_has_figures(row) for row in rows):
        _PAINTERS[report.name](axes, report, rows)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No data", ha="center", va="center", color=MUTED, fontsize=16, transform=axes.transAxes)
    return figure


def _chart_rows(report: Report) -> Sequence[Row]:
    """Return at most MAX_ROWS rows, those with the most patients or prescriptions, in the order of the report."""
    rows, measure = report.rows, _MEASURES.get(report.name)
    if len(rows) <= MAX_ROWS:
        return rows
    if measure is None:
        return rows[:MAX_ROWS]
    most = sorted(range(len(rows)), key=lambda place: -rows[place][measure])[:MAX_ROWS]
    return [rows[place] for place in sorted(most)]


def _empty_figure(report: Report, row_count: int) -> tuple["Figure", "Axes"]:
    import matplotlib
    from matplotlib.figure import Figure

    # A dollar sign in a name must not start a formula, and the ids in an SVG must be the same each time.
    matplotlib.rcParams.update({"text.parse_math": False, "svg.hashsalt": "reports", "svg.fonttype": "path"})
    has_vertical_bars = report.name == queries.MONTHLY_TREND
    height = MIN_HEIGHT_INCHES if has_vertical_bars else max(MIN_HEIGHT_INCHES, 1.8 + ROW_INCHES * row_count)
    figure = Figure(figsize=(WIDTH_INCHES, height), facecolor=BACKGROUND, layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(title_of(report), x=0.012, ha="left", color=TEXT, fontsize=14)
    figure.supxlabel(_footnote(report, row_count), x=0.99, ha="right", color=MUTED, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=TEXT, labelsize=9)
    return figure, axes


def _paint_doctors(axes: "Axes", report: Report, rows: Sequence[Row]) -> None:
    series = [("patients", BLUE), ("appointments", ORANGE)]
    if report.parameters.get("by") == "appointments":
        series.reverse()
    _paint_bars(
        axes,
        rows,
        label=lambda row: f"{_short(row['name'] or 'deleted')} ({_short(row['doctor_id'])})",
        series=[(name, name.capitalize(), colour) for name, colour in series],
    )
    axes.set_xlabel("number of patients and appointments", color=TEXT)
    axes.set_ylabel("doctor", color=TEXT)


def _paint_diseases(axes: "Axes", report: Report, rows: Sequence[Row]) -> None:
    _paint_bars(
        axes,
        rows,
        label=lambda row: f"{_short(row['disease'])}\n{_patient_count(row)}",
        series=[("average_treatment_days", "Days from first to last", BLUE)],
    )
    axes.set_ylabel("disease", color=TEXT)
    axes.set_xlabel("average treatment in days, ongoing ones left out", color=TEXT)


def _paint_costs(axes: "Axes", report: Report, rows: Sequence[Row]) -> None:
    _paint_bars(
        axes,
        rows,
        label=lambda row: _short(row["disease"]),
        series=[
            ("average_prescription_cost", "Prescription", BLUE),
            ("average_total_cost", "Billed visit", ORANGE),
        ],
    )
    axes.set_xlabel("average cost in units of the currency", color=TEXT)
    axes.set_ylabel("disease", color=TEXT)


def _paint_months(axes: "Axes", report: Report, rows: Sequence[Row]) -> None:
    bottoms = [0] * len(rows)
    places = range(len(rows))
    for name, colour in (("completed", GREEN), ("scheduled", BLUE), ("cancelled", ORANGE)):
        heights = [row[name] for row in rows]
        axes.bar(places, heights, bottom=bottoms, color=colour, label=name.capitalize(), width=0.7)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xticks(list(places), MONTHS)
    axes.set_xlabel(f"month of {report.parameters['year']}", color=TEXT)
    axes.set_ylabel("number of appointments", color=TEXT)
    _whole_numbers(axes.yaxis)
    _legend(axes, columns=3)


def _paint_bars(
    axes: "Axes", rows: Sequence[Row], *, label: Callable[[Row], str], series: Sequence[tuple[str, str, str]]
) -> None:
    """Draw horizontal bars with the first row at the top. A missing figure has a dash instead of a bar."""
    thickness = 0.76 / len(series)
    for number, (name, title, colour) in enumerate(series):
        places = [row + (number - (len(series) - 1) / 2) * thickness for row in range(len(rows))]
        widths = [float(row[name] or 0) for row in rows]
        bars = axes.barh(places, widths, height=thickness, color=colour, label=title)
        texts = ["–" if row[name] is None else _format_figure(row[name]) for row in rows]
        axes.bar_label(bars, texts, padding=3, fontsize=8, color=TEXT)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows])
    # Without this limit a single bar would fill the picture.
    axes.set_ylim(max(len(rows), MIN_ROWS) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=6)
    if all(isinstance(row[name], int) for row in rows for name, _, _ in series):
        _whole_numbers(axes.xaxis)
    _legend(axes, columns=len(series))


def _legend(axes: "Axes", *, columns: int) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, frameon=False, fontsize=9, borderaxespad=0.1)


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _format_figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _patient_count(row: Row) -> str:
    patients = f"{row['patients']:,} patient{'' if row['patients'] == 1 else 's'}"
    return f"{patients}, {row['ongoing']:,} ongoing" if row["ongoing"] else patients


def _has_figures(row: Row) -> bool:
    return any(value for name, value in row.items() if name not in ("month", "disease", "doctor_id"))


def _short(text: str) -> str:
    """Return a name on one line, cut if it is too long."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_LABEL_LENGTH else f"{text[: MAX_LABEL_LENGTH - 1]}…"


def _footnote(report: Report, row_count: int) -> str:
    as_of = f"as of {report.as_of:%Y-%m-%d %H:%M:%S} UTC"
    if row_count == len(report.rows):
        return as_of
    which = f", those with the most {_MEASURES[report.name]}" if report.name in _MEASURES else ""
    return f"the chart has {row_count:,} of {len(report.rows):,} rows{which}; {as_of}"


def _metadata(kind: str) -> dict[str, Any]:
    # The file has no date, so that the same report gives the same bytes.
    return {"Date": None, "Creator": "Smart Healthcare"} if kind == "svg" else {"Software": "Smart Healthcare"}


#: The figure by which a chart chooses its rows. The doctors of a report are already in such an order.
_MEASURES = {queries.DISEASE_TRENDS: "patients", queries.PRESCRIPTION_COST: "prescriptions"}
_PAINTERS: dict[str, Callable[["Axes", Report, Sequence[Row]], None]] = {
    queries.TOP_DOCTORS: _paint_doctors,
    queries.DISEASE_TRENDS: _paint_diseases,
    queries.MONTHLY_TREND: _paint_months,
    queries.PRESCRIPTION_COST: _paint_costs,
}

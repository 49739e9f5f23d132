"""Charts of the reports, for a slide: title, axes with units, a legend, and as of when.

matplotlib is imported when the first chart is drawn: it takes half a second that no other request has to wait. Figures
are made without pyplot, which keeps them all and is not for threads.
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

#: Okabe and Ito's colours, which most colour-blind people can tell apart (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN = "#0072b2", "#e69f00", "#009e73"
INK, QUIET, PAPER = "#222222", "#666666", "#ffffff"
WIDTH_INCHES, LEAST_HEIGHT_INCHES, LINE_INCHES = 9.0, 4.5, 0.42
DOTS_PER_INCH = 110
LONGEST_LABEL = 42
LEAST_ROWS = 4
#: More nobody reads, and a thousand take half a minute to draw; the table has them all.
MOST_ROWS = 100
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

TITLES = {
    queries.TOP_DOCTORS: "Doctors with the most {by}",
    queries.DISEASE_TRENDS: "Average length of treatment, by {basis}",
    queries.MONTHLY_TREND: "Appointments in {year}",
    queries.PRESCRIPTION_COST: "Average cost of prescriptions and billed visits",
}


def draw(report: Report, kind: str) -> bytes:
    """A report as a picture; `kind` is "png" or "svg". The same report makes the same bytes."""
    drawn = BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font does not have is drawn as boxes, which is no reason to fail.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure_of(report).savefig(drawn, format=kind, dpi=DOTS_PER_INCH, metadata=_no_date(kind))
    if kind == "png":
        return drawn.getvalue()
    head, tag, rest = drawn.getvalue().decode().partition("<metadata>")
    # For those who hear the picture.
    footnote = _footnote(report, len(_drawn(report)))
    said = f"<title>{escape(title_of(report))}</title>\n <desc>{escape(footnote)}</desc>\n "
    return f"{head}{said}{tag}{rest}".encode()


def title_of(report: Report) -> str:
    """What the report is about, with its parameters."""
    title = TITLES[report.name].format(**report.parameters)
    since, until = report.parameters.get("from"), report.parameters.get("to")
    if since:
        title += f", from {since}"
    if until:
        title += f" to {until}" if since else f", until {until}"
    return title


def figure_of(report: Report) -> "Figure":
    """The chart as a matplotlib figure."""
    rows = _drawn(report)
    figure, axes = _blank(report, len(rows))
    if any(_has_figures(row) for row in rows):
        _PAINTERS[report.name](axes, report, rows)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No data", ha="center", va="center", color=QUIET, fontsize=16, transform=axes.transAxes)
    return figure


def _drawn(report: Report) -> Sequence[Row]:
    """The rows that a chart has room for: those with most patients or prescriptions, in the report's order."""
    rows, figure = report.rows, _MEASURES.get(report.name)
    if len(rows) <= MOST_ROWS:
        return rows
    if figure is None:
        return rows[:MOST_ROWS]
    most = sorted(range(len(rows)), key=lambda place: -rows[place][figure])[:MOST_ROWS]
    return [rows[place] for place in sorted(most)]


def _blank(report: Report, lines: int) -> tuple["Figure", "Axes"]:
    import matplotlib
    from matplotlib.figure import Figure

    # Names are people's: a dollar sign is no formula. And ids in an SVG are to be the same each time.
    matplotlib.rcParams.update({"text.parse_math": False, "svg.hashsalt": "reports", "svg.fonttype": "path"})
    is_upright = report.name == queries.MONTHLY_TREND
    height = LEAST_HEIGHT_INCHES if is_upright else max(LEAST_HEIGHT_INCHES, 1.8 + LINE_INCHES * lines)
    figure = Figure(figsize=(WIDTH_INCHES, height), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(title_of(report), x=0.012, ha="left", color=INK, fontsize=14)
    figure.supxlabel(_footnote(report, lines), x=0.99, ha="right", color=QUIET, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def _paint_doctors(axes: "Axes", report: Report, rows: Sequence[Row]) -> None:
    series = [("patients", BLUE), ("appointments", ORANGE)]
    if report.parameters.get("by") == "appointments":
        series.reverse()
    _paint_bars(
        axes,
        rows,
        label=lambda row: f"{_short(row['name'] or 'no longer there')} ({_short(row['doctor_id'])})",
        series=[(name, name.capitalize(), colour) for name, colour in series],
    )
    axes.set_xlabel("number of patients and appointments", color=INK)
    axes.set_ylabel("doctor", color=INK)


def _paint_diseases(axes: "Axes", report: Report, rows: Sequence[Row]) -> None:
    _paint_bars(
        axes,
        rows,
        label=lambda row: f"{_short(row['disease'])}\n{_counted(row)}",
        series=[("average_treatment_days", "Days from first to last", BLUE)],
    )
    axes.set_ylabel("disease", color=INK)
    axes.set_xlabel("average treatment in days, ongoing ones left out", color=INK)


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
    axes.set_xlabel("average cost in units of the currency", color=INK)
    axes.set_ylabel("disease", color=INK)


def _paint_months(axes: "Axes", report: Report, rows: Sequence[Row]) -> None:
    bottoms = [0] * len(rows)
    places = range(len(rows))
    for name, colour in (("completed", GREEN), ("scheduled", BLUE), ("cancelled", ORANGE)):
        heights = [row[name] for row in rows]
        axes.bar(places, heights, bottom=bottoms, color=colour, label=name.capitalize(), width=0.7)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xticks(list(places), MONTHS)
    axes.set_xlabel(f"month of {report.parameters['year']}", color=INK)
    axes.set_ylabel("number of appointments", color=INK)
    _whole_numbers(axes.yaxis)
    _legend(axes, columns=3)


def _paint_bars(
    axes: "Axes", rows: Sequence[Row], *, label: Callable[[Row], str], series: Sequence[tuple[str, str, str]]
) -> None:
    """Horizontal bars, the first row at the top; a row's missing figure leaves a gap that says so."""
    thickness = 0.76 / len(series)
    for number, (name, title, colour) in enumerate(series):
        places = [row + (number - (len(series) - 1) / 2) * thickness for row in range(len(rows))]
        widths = [float(row[name] or 0) for row in rows]
        bars = axes.barh(places, widths, height=thickness, color=colour, label=title)
        texts = ["–" if row[name] is None else _figure(row[name]) for row in rows]
        axes.bar_label(bars, texts, padding=3, fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows])
    # A single bar is not to fill the picture.
    axes.set_ylim(max(len(rows), LEAST_ROWS) - 0.5, -0.5)
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


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _counted(row: Row) -> str:
    patients = f"{row['patients']:,} patient{'' if row['patients'] == 1 else 's'}"
    return f"{patients}, {row['ongoing']:,} ongoing" if row["ongoing"] else patients


def _has_figures(row: Row) -> bool:
    return any(value for name, value in row.items() if name not in ("month", "disease", "doctor_id"))


def _short(text: str) -> str:
    """A name on one line of its own."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def _footnote(report: Report, lines: int) -> str:
    as_of = f"as of {report.as_of:%Y-%m-%d %H:%M:%S} UTC"
    if lines == len(report.rows):
        return as_of
    which = f", those with most {_MEASURES[report.name]}" if report.name in _MEASURES else ""
    return f"the chart has {lines:,} of {len(report.rows):,} rows{which}; {as_of}"


def _no_date(kind: str) -> dict[str, Any]:
    return {"Date": None, "Creator": "Smart Healthcare"} if kind == "svg" else {"Software": "Smart Healthcare"}


#: The figure that says which rows are worth a place; doctors come in such an order.
_MEASURES = {queries.DISEASE_TRENDS: "patients", queries.PRESCRIPTION_COST: "prescriptions"}
_PAINTERS: dict[str, Callable[["Axes", Report, Sequence[Row]], None]] = {
    queries.TOP_DOCTORS: _paint_doctors,
    queries.DISEASE_TRENDS: _paint_diseases,
    queries.MONTHLY_TREND: _paint_months,
    queries.PRESCRIPTION_COST: _paint_costs,
}

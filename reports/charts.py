"""Charts of the reports, for a slide: title, axes with units, a legend where there is a choice, and as of when.

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
    said = f"<title>{escape(title_of(report))}</title>\n <desc>{escape(_as_of(report))}</desc>\n "
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
    figure, axes = _blank(report)
    if report.rows and any(_has_figures(row) for row in report.rows):
        _PAINTERS[report.name](axes, report)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No data", ha="center", va="center", color=QUIET, fontsize=16, transform=axes.transAxes)
    return figure


def _blank(report: Report) -> tuple["Figure", "Axes"]:
    import matplotlib
    from matplotlib.figure import Figure

    # Names are people's: a dollar sign is no formula. And ids in an SVG are to be the same each time.
    matplotlib.rcParams.update({"text.parse_math": False, "svg.hashsalt": "reports", "svg.fonttype": "path"})
    lines = 12 if report.name == queries.MONTHLY_TREND else len(report.rows)
    height = max(LEAST_HEIGHT_INCHES, 1.8 + LINE_INCHES * (0 if lines == 12 else lines))
    figure = Figure(figsize=(WIDTH_INCHES, height), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(title_of(report), x=0.012, ha="left", color=INK, fontsize=14)
    figure.supxlabel(_as_of(report), x=0.99, ha="right", color=QUIET, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def _paint_doctors(axes: "Axes", report: Report) -> None:
    series = [("patients", BLUE), ("appointments", ORANGE)]
    if report.parameters.get("by") == "appointments":
        series.reverse()
    _paint_bars(
        axes,
        report.rows,
        label=lambda row: f"{_short(row['name'] or 'no longer there')} ({_short(row['doctor_id'])})",
        series=[(name, name.capitalize(), colour) for name, colour in series],
    )
    axes.set_xlabel("number of patients and appointments", color=INK)


def _paint_diseases(axes: "Axes", report: Report) -> None:
    _paint_bars(
        axes,
        report.rows,
        label=lambda row: f"{_short(row['disease'])}\n{_counted(row)}",
        series=[("average_treatment_days", "", BLUE)],
    )
    axes.set_xlabel("average treatment in days, ongoing ones left out", color=INK)


def _paint_costs(axes: "Axes", report: Report) -> None:
    _paint_bars(
        axes,
        report.rows,
        label=lambda row: _short(row["disease"]),
        series=[
            ("average_prescription_cost", "Prescription", BLUE),
            ("average_total_cost", "Billed visit", ORANGE),
        ],
    )
    axes.set_xlabel("average cost in units of the currency", color=INK)


def _paint_months(axes: "Axes", report: Report) -> None:
    bottoms = [0] * len(report.rows)
    places = range(len(report.rows))
    for name, colour in (("completed", GREEN), ("scheduled", BLUE), ("cancelled", ORANGE)):
        heights = [row[name] for row in report.rows]
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
    if len(series) > 1:
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


def _as_of(report: Report) -> str:
    return f"as of {report.as_of:%Y-%m-%d %H:%M:%S} UTC"


def _no_date(kind: str) -> dict[str, Any]:
    return {"Date": None, "Creator": "Smart Healthcare"} if kind == "svg" else {"Software": "Smart Healthcare"}


_PAINTERS: dict[str, Callable[["Axes", Report], None]] = {
    queries.TOP_DOCTORS: _paint_doctors,
    queries.DISEASE_TRENDS: _paint_diseases,
    queries.MONTHLY_TREND: _paint_months,
    queries.PRESCRIPTION_COST: _paint_costs,
}

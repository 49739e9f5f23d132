"""Table, JSON and chart of the measured indexes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import options
from benchmarks.indexes.measuring import Result

WIDTH = 140
#: The heading of a column, and a function that returns the column's text for a result.
Column = tuple[str, Callable[[Result], str]]


def print_results(results: Sequence[Result], sizes: dict[str, int], stream: TextIO) -> None:
    """Print one table, or two if the terminal is too narrow."""
    console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
    console.print(_subject(sizes))
    wide = _table(results, _COLUMNS)
    if console.measure(wide, options=console.options.update_width(10 * WIDTH)).maximum > console.width:
        tables = [
            _table(results, _TIMES_AND_COSTS, title="Times and the cost of the index"),
            _table(results, _READS, title="Documents and keys read: with the index, then without"),
        ]
    else:
        tables = [wide]
    for table in tables:
        console.print(table)
    console.print(
        "Times in ms, median and 95th percentile. Docs and keys are the numbers that one query examined. Write is the "
        "time that the index adds to the insertion of a document in a bulk write."
    )
    for result in results:
        if result.note:
            console.print(f"{result.name}: {result.note}")


def _table(results: Sequence[Result], columns: Sequence[Column], *, title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    # Long names are wrapped, figures are not.
    table.add_column("query", overflow="fold")
    for heading, _ in columns:
        table.add_column(heading, justify="left" if heading == "plan" else "right", no_wrap=True)
    for result in results:
        table.add_row(result.name, *(text(result) for _, text in columns))
    return table


def _ms(value: float) -> str:
    return f"{value:,.2f}" if value < 1_000 else f"{value:,.0f}"


def _cost(result: Result) -> str:
    return "" if result.write_cost_us is None else f"{result.write_cost_us:.0f} µs"


_TIMES: Sequence[Column] = (
    ("with", lambda result: _ms(result.with_index.median_ms)),
    ("p95", lambda result: _ms(result.with_index.p95_ms)),
    ("without", lambda result: _ms(result.without_index.median_ms)),
    ("p95", lambda result: _ms(result.without_index.p95_ms)),
    ("faster", lambda result: f"{result.times_faster:,.1f}x"),
)
_READ_WITH: Sequence[Column] = (
    ("docs", lambda result: f"{result.with_index.documents_examined:,}"),
    ("keys", lambda result: f"{result.with_index.keys_examined:,}"),
    ("plan", lambda result: result.with_index.stage),
)
_READ_WITHOUT: Sequence[Column] = (
    ("docs", lambda result: f"{result.without_index.documents_examined:,}"),
    ("plan", lambda result: result.without_index.stage),
)
_INDEX: Sequence[Column] = (
    ("index", lambda result: f"{result.index_bytes / 1_048_576:.1f} MB"),
    ("write", _cost),
)
_COLUMNS = (*_TIMES[:2], *_READ_WITH, *_TIMES[2:4], *_READ_WITHOUT, _TIMES[4], *_INDEX)
_TIMES_AND_COSTS, _READS = (*_TIMES, *_INDEX), (*_READ_WITH, *_READ_WITHOUT)


def _subject(sizes: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {source}" for source, number in sizes.items() if source != "report_counters")


def write_json(results: Sequence[Result], sizes: dict[str, int], file: Path) -> None:
    """Write all figures."""
    figures = {"sizes": sizes, "results": [result.as_json() for result in results]}
    options.write_json(figures, file)


def draw_chart(results: Sequence[Result], sizes: dict[str, int], file: Path) -> None:
    """Draw a bar chart of each query with and without its index, on a logarithmic scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.6 + 0.55 * len(results)), facecolor="white", layout="constrained")
    axes: Any = figure.add_subplot()
    figure.suptitle("Query times with and without the index", x=0.012, ha="left", fontsize=15)
    axes.set_title(_subject(sizes), loc="left", fontsize=9, color="#666666")
    series = [
        (
            "without the index",
            "#e69f00",
            [result.without_index.median_ms for result in results],
        ),
        ("with the index", "#0072b2", [result.with_index.median_ms for result in results]),
    ]
    for number, (label, colour, times) in enumerate(series):
        places = [row + (0.5 - number) * 0.38 for row in range(len(results))]
        bars = axes.barh(places, times, height=0.36, color=colour, label=label)
        axes.bar_label(bars, [f"{value:,.2f}" for value in times], padding=3, fontsize=8)
    axes.set_yticks(range(len(results)), [result.name for result in results], fontsize=9)
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_xlabel("median time of the query in ms, logarithmic")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9)
    figure.savefig(file, dpi=130)

"""The benchmark's table, JSON and chart."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from healthcare.management.indexes.measuring import Result, Side

WIDTH = 140


def show(results: Sequence[Result], sizes: dict[str, int], stream: TextIO) -> None:
    """The table; on a terminal as wide as that is."""
    console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title=_subject(sizes), title_justify="left", caption_justify="left")
    table.add_column("query")
    for heading in (
        "with",
        "p95",
        "docs",
        "keys",
        "plan",
        "without",
        "p95",
        "docs",
        "plan",
        "faster",
        "index",
        "write",
    ):
        is_text = heading == "plan"
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for result in results:
        with_index, without = _cells(result.with_index), result.without_index
        keys = f"{result.with_index.keys_examined:,}"
        bare = _cells(without)
        faster = f"{result.times_faster:,.1f}x"
        size = f"{result.index_bytes / 1_048_576:.1f} MB"
        cost = "" if result.write_cost_us is None else f"{result.write_cost_us:.0f} µs"
        table.add_row(result.name, *with_index[:3], keys, with_index[3], *bare, faster, size, cost)
    console.print(table)
    console.print("Times in ms, median and 95th percentile; docs and keys are those that one query examined; write is")
    console.print("what the index adds to the insertion of one document, of many at once.")
    for result in results:
        if result.note:
            console.print(f"{result.name}: {result.note}")


def _cells(side: Side) -> list[str]:
    return [f"{side.median_ms:,.2f}", f"{side.p95_ms:,.2f}", f"{side.documents_examined:,}", side.stage]


def _subject(sizes: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {source}" for source, number in sizes.items() if source != "report_counters")


def write_json(results: Sequence[Result], sizes: dict[str, int], file: Path) -> None:
    said = {"sizes": sizes, "results": [result.as_json() for result in results]}
    file.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def draw(results: Sequence[Result], sizes: dict[str, int], file: Path) -> None:
    """A chart for a slide: each query with its index and without, on a logarithmic scale."""
    from matplotlib.figure import Figure

    compared = list(results)
    figure = Figure(figsize=(10, 1.6 + 0.55 * len(compared)), facecolor="white", layout="constrained")
    axes: Any = figure.add_subplot()
    figure.suptitle("What an index is worth", x=0.012, ha="left", fontsize=15)
    axes.set_title(_subject(sizes), loc="left", fontsize=9, color="#666666")
    series = [
        (
            "without the index",
            "#e69f00",
            [result.without_index.median_ms for result in compared],
        ),
        ("with the index", "#0072b2", [result.with_index.median_ms for result in compared]),
    ]
    for number, (label, colour, times) in enumerate(series):
        places = [row + (0.5 - number) * 0.38 for row in range(len(compared))]
        bars = axes.barh(places, times, height=0.36, color=colour, label=label)
        axes.bar_label(bars, [f"{value:,.2f}" for value in times], padding=3, fontsize=8)
    axes.set_yticks(range(len(compared)), [result.name for result in compared], fontsize=9)
    axes.set_ylim(len(compared) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_xlabel("median time of the query in ms, logarithmic")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9)
    figure.savefig(file, dpi=130)

"""Table, JSON and chart of the measured concerns."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import options
from benchmarks.concerns.measuring import READS, THREADS, WRITES, Result, percentile
from devstack.fault_injection import NODES

WIDTH = 100
COLOURS = {"local": "#56b4e9", "majority": "#0072b2", "linearizable": "#d55e00"}


def print_results(results: Sequence[Result], stream: TextIO) -> None:
    """Print the table, as wide as the terminal."""
    console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title=f"{NODES} members, {THREADS} clients that insert a document and read it again",
        title_justify="left",
    )
    for heading in ("write", "read"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ops/s", "write\nms", "\np95", "read\nms", "\np95", "unseen"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, result in enumerate(results):
        figures = result.as_json()
        times = [f"{figures[name]:,.2f}" for name in ("write_p50_ms", "write_p95_ms", "read_p50_ms", "read_p95_ms")]
        is_last = number % len(READS) == len(READS) - 1
        table.add_row(
            result.write.name if number % len(READS) == 0 else "",
            result.read.name,
            f"{result.operations_per_second:,.0f}",
            *times,
            f"{100 * result.unseen_part:.0f} %",
            end_section=is_last,
        )
    console.print(table)
    console.print(
        "Times are medians. Unseen is the share of reads that did not find a document the client had just written."
    )
    console.print("Writes that can be lost, and data that a read may return:")
    console.print()
    notes = Table.grid(padding=(0, 2))
    notes.add_column(no_wrap=True)
    notes.add_column(overflow="fold")
    for write in WRITES:
        notes.add_row(f"write {write.name}", write.lost)
    for read in READS:
        notes.add_row(f"read {read.name}", read.stale)
    console.print(notes)


def write_json(results: Sequence[Result], mongod: str, file: Path) -> None:
    """Write all figures."""
    figures = {
        "mongod": mongod,
        "processors": os.cpu_count(),
        "members": NODES,
        "clients": THREADS,
        "results": [result.as_json() for result in results],
        "can_be_lost": {write.name: write.lost for write in WRITES},
        "may_be_shown": {read.name: read.stale for read in READS},
    }
    options.write_json(figures, file)


def draw_chart(results: Sequence[Result], file: Path) -> None:
    """Draw the throughput of each pair, the time of a write by its concern, and the time of a read by its concern."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), facecolor="white", layout="constrained")
    pairs, writes, reads = figure.subplots(1, 3, width_ratios=[2, 1, 1])
    figure.suptitle("The cost of consistency", x=0.012, ha="left", fontsize=15)
    for number, read in enumerate(READS):
        rates = [result.operations_per_second for result in results if result.read is read]
        places = [place + (number - 1) * 0.27 for place in range(len(WRITES))]
        bars = pairs.bar(places, rates, width=0.25, color=COLOURS[read.name], label=f"read {read.name}")
        pairs.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=2, fontsize=8)
    pairs.set_xticks(range(len(WRITES)), [write.name for write in WRITES])
    pairs.set_title("operations/s, by write concern", loc="left", fontsize=10)
    pairs.margins(y=0.1)
    figure.legend(*pairs.get_legend_handles_labels(), loc="upper right", ncols=3, frameon=False, fontsize=9)
    _draw_times(
        writes, "a write, ms", [(w.name, _all(r.write_ms for r in results if r.write is w), "#999999") for w in WRITES]
    )
    _draw_times(
        reads, "a read, ms", [(r.name, _all(x.read_ms for x in results if x.read is r), COLOURS[r.name]) for r in READS]
    )
    for axes in (pairs, writes, reads):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)


def _draw_times(axes: Any, title: str, series: list[tuple[str, list[float], str]]) -> None:
    """Draw the median as a bar and the 95th percentile as a line."""
    medians = [percentile(times, 0.5) for _, times, _ in series]
    highs = [percentile(times, 0.95) for _, times, _ in series]
    bars = axes.bar(range(len(series)), medians, width=0.6, color=[colour for *_, colour in series])
    axes.bar_label(bars, [f"{median:,.1f}" for median in medians], padding=2, fontsize=8)
    rises = [high - median for high, median in zip(highs, medians, strict=True)]
    axes.errorbar(
        [place + 0.2 for place in range(len(series))], medians, yerr=[[0] * len(series), rises], fmt="none",
        ecolor="#444444", capsize=3, lw=1,
    )  # fmt: skip
    axes.set_xticks(range(len(series)), [name.replace("+", "\n+") for name, *_ in series], fontsize=8)
    axes.set_title(f"{title}: median, line to p95", loc="left", fontsize=10)
    axes.margins(y=0.15)


def _all(several: Any) -> list[float]:
    return [each for times in several for each in times]

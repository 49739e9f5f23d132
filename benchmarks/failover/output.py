"""Shows the demonstration: a live display, tables, JSON and a chart."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from benchmarks import options
from benchmarks.failover.demonstration import (
    ALLOWED_SECONDS,
    FREEZE,
    KILL,
    MAIN,
    PARTITION,
    STEP_DOWN,
    Demonstration,
    FailoverRun,
)
from benchmarks.failover.monitor import UNREACHABLE
from devstack.fault_injection import ELECTION_TIMEOUT_MS, NODES

#: The width of a table that goes into a file.
WIDTH = 100
TITLES = {
    KILL: "the primary is killed (SIGKILL)",
    FREEZE: "the primary is frozen (SIGSTOP)",
    STEP_DOWN: "the primary is asked to step down",
    PARTITION: "the primary is cut off from all others",
}
COLOURS = {"primary": "green", "secondary": "cyan", "rolling back": "magenta", UNREACHABLE: "red"}
BARS = " ▁▂▃▄▅▆▇█"
BAR_SECONDS = 0.5
MAX_EVENTS = 7
#: The clients of the isolated primary, by write concern.
ISOLATED_CLIENTS = {"w=1": "w=1, which is refused here", "w=majority": "w=majority"}


# --- Live


@contextmanager
def live_display(stream: TextIO) -> Iterator[Any]:
    """Yield a function that updates the live display of a terminal, and one that prints events elsewhere."""
    if not stream.isatty():
        began = time.monotonic()

        def print_event(text: str) -> None:
            stream.write(f"{time.monotonic() - began:6.1f} s  {text}\n")
            stream.flush()

        yield (lambda demonstration: None), print_event
        return
    console = Console(file=stream, highlight=False)
    with Live(console=console, refresh_per_second=5, transient=True) as display:
        yield (lambda demonstration: display.update(render(demonstration, console.width))), (lambda text: None)


def render(demonstration: Demonstration, width: int) -> RenderableType:
    """Return the current display."""
    run, now = demonstration.run, time.monotonic()
    parts: list[RenderableType] = [Text(f"Failover: {TITLES[run.fault]}", style="bold")]
    if demonstration.monitor.current:
        parts.append(_members(demonstration, now))
    if run.began:
        parts += [_rate(run, now, width), _figures(run, now)]
    events = Table.grid(padding=(0, 1))
    events.add_column(justify="right", style="dim", no_wrap=True)
    events.add_column(overflow="fold")
    zero = run.began or run.events[0][0]
    for at, text in run.events[-MAX_EVENTS:]:
        events.add_row(f"{at - zero:+.1f} s", escape(text))
    parts += [Text(""), events]
    return Group(*parts)


def _members(demonstration: Demonstration, now: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("member", no_wrap=True)
    table.add_column("is", min_width=12, no_wrap=True)
    table.add_column("behind", justify="right", min_width=8, no_wrap=True)
    table.add_column("", overflow="fold")
    members, primary = dict(demonstration.monitor.current), demonstration.monitor.primary()
    run = demonstration.run
    for node in range(NODES):
        member = members[node]
        behind = ""
        if primary is not None and node != primary and member.state == "secondary":
            behind = f"{max(0, members[primary].applied[0] - member.applied[0])} s"
        is_out = node == run.member and run.fault_at is not None and run.recovered_at is None
        remark = {KILL: "killed", FREEZE: "frozen", PARTITION: "cut off"}.get(run.fault, "") if is_out else ""
        role = "← primary" if node == primary else ""
        state = Text(member.state, style=COLOURS.get(member.state, "yellow"))
        table.add_row(demonstration.name(node), state, behind, Text(remark or role, style="red" if remark else "green"))
    return table


def _rate(run: FailoverRun, now: float, width: int) -> Table:
    """Return a bar for each half second of acknowledged writes, the latest at the right."""
    label = "writes"
    columns = max(10, width - len(label) - 12)
    # The graph has only complete half seconds, because the current one would look like a gap.
    last = int(((run.ended or now) - run.began) / BAR_SECONDS)
    first = max(0, last - columns)
    counts = [0] * (last - first)
    for at in run.acknowledged():
        place = int((at - run.began) / BAR_SECONDS) - first
        if 0 <= place < len(counts):
            counts[place] += 1
    most = max([*counts, 1])
    line = Text()
    for number, count in enumerate(counts):
        at = run.began + (first + number + 1) * BAR_SECONDS
        is_after = run.fault_at is not None and at > run.fault_at
        is_out = is_after and (run.recovered_at is None or at <= run.recovered_at)
        level = 0 if not count else max(1, round(count / most * (len(BARS) - 1)))
        # Half seconds without a write after the fault are red dots, so that they are visible.
        line.append(BARS[level] if level or not is_after else "·", style="yellow" if is_out and level else
                    "green" if level else "red")  # fmt: skip
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_row(label, line)
    return grid


def _figures(run: FailoverRun, now: float) -> Text:
    times = run.acknowledged()
    recent = sum(1 for at in times if at > now - 1)
    errors = sum(run.errors().values())
    words = Text(f"{len(times):,} acknowledged, {recent:,} in the last second · ")
    words.append(f"{errors} errors", style="red" if errors else "")
    if run.fault_at is not None:
        waited = now - max(times, default=run.began)
        window = run.window(None if run.ended else now)
        if waited > 1:
            words.append(f" · without a write for {waited:.1f} s", style="bold red")
        elif window:
            words.append(f" · longest time without a write {window[1] - window[0]:.1f} s")
    isolated = {name: len(run.acknowledged(name)) for name in ISOLATED_CLIENTS}
    if any(isolated.values()):
        counts = ", ".join(f"{count} {name}" for name, count in isolated.items())
        words.append(f"\nclients of the isolated member: {counts} acknowledged", style="magenta")
    return words


# --- Afterwards


def print_report(run: FailoverRun, stream: TextIO) -> None:
    """Print the tables."""
    console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title=f"Failover: {TITLES[run.fault]}", title_justify="left")
    table.add_column("writes", no_wrap=True)
    for heading in ("acknowledged", "present", "lost", "doubled", "errors"):
        table.add_column(heading, justify="right", no_wrap=True)
    for operation, row in run.rows[MAIN].items():
        table.add_row(operation, *_figure_texts(row), "" if operation == "billed" else str(row["unanswered"]))
    console.print(table)
    window, catch_up = run.window_seconds, run.catch_up_seconds
    figures = Table.grid(padding=(0, 2))
    figures.add_column(no_wrap=True)
    figures.add_column(overflow="fold")
    allowed = f"(at most {ALLOWED_SECONDS[run.fault]:.0f} s pass)"
    figures.add_row("without a write", f"{_seconds(window)} {allowed}")
    until = "the old primary follows the new one" if run.fault == STEP_DOWN else "the member has every write"
    figures.add_row("catch-up", f"{_seconds(catch_up)} until {until}")
    longest = max((write.took for write in run.writes if write.client == MAIN), default=0.0)
    figures.add_row("longest write", f"{longest:.1f} s, from the call to the response")
    figures.add_row("rate", f"{run.rate_before():.0f} writes/s before the fault, by {run.writers} writers")
    errors = run.errors()
    figures.add_row("errors", ", ".join(f"{count} × {name}" for name, count in errors.items()) or "none")
    if errors:
        kept = sum(row["kept"] for row in run.rows[MAIN].values())
        figures.add_row("", f"{kept} of these writes are stored nevertheless: only the response was lost")
    figures.add_row("charts", f"{run.charts - run.differing_charts} of {run.charts} agree with the collections")
    console.print(figures)
    if run.fault == PARTITION:
        console.print()
        _print_isolated_clients(run, console)
    console.print()
    failures = run.failures()
    for failure in failures:
        console.print(Text(failure, style="bold red"))
    if not failures:
        console.print(Text("No write was lost or stored twice.", style="bold green"))


def _print_isolated_clients(run: FailoverRun, console: Console) -> None:
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Clients of the isolated member, which was primary until it detected the partition",
        title_justify="left",
    )
    table.add_column("bookings with", no_wrap=True)
    for heading in ("acknowledged", "present", "lost", "refused"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, description in ISOLATED_CLIENTS.items():
        row = run.rows.get(name, {}).get("booked", {})
        figures = [row.get(key, 0) for key in ("acknowledged", "present", "lost", "unanswered")]
        table.add_row(description, *(str(figure) for figure in figures))
    console.print(table)
    console.print(
        f"{run.rolled_back:,} documents were rolled back when it returned: visits, charts, claims, events and counters."
    )


def _figure_texts(row: dict[str, int]) -> list[Text]:
    return [
        Text(f"{row['acknowledged']:,}"),
        Text(f"{row['present']:,}"),
        Text(f"{row['lost']:,}", style="bold red" if row["lost"] else ""),
        Text(f"{row['doubled']:,}", style="bold red" if row["doubled"] else ""),
    ]


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def write_json(run: FailoverRun, file: Path) -> None:
    """Write all figures."""
    zero = run.began
    after = {name: at and round(at - zero, 3) for name, at in (
        ("fault_s", run.fault_at), ("returned_s", run.recovered_at), ("caught_up_s", run.caught_up_at)
    )}  # fmt: skip
    window = run.window()
    figures = {
        "fault": run.fault,
        "mongod": run.mongod,
        "processors": os.cpu_count(),
        "members": NODES,
        "election_timeout_ms": ELECTION_TIMEOUT_MS,
        "writers": run.writers,
        **after,
        "window_s": window and round(window[1] - window[0], 3),
        "catch_up_s": run.catch_up_seconds and round(run.catch_up_seconds, 3),
        "longest_write_s": round(max((w.took for w in run.writes if w.client == MAIN), default=0.0), 3),
        "writes_per_second_before": round(run.rate_before(), 1),
        "acknowledged": run.total("acknowledged"),
        "present": run.total("present"),
        "lost": run.total("lost"),
        "doubled": run.total("doubled"),
        "writes": {("main" if name == MAIN else f"beside, {name}"): rows for name, rows in run.rows.items() if rows},
        "charts": run.charts,
        "differing_charts": run.differing_charts,
        "rolled_back": run.rolled_back,
        "errors": dict(run.errors()),
        "failures": run.failures(),
        "events": [[round(at - zero, 2), text] for at, text in run.events],
        "states": [[round(at - zero, 2), node, state] for at, node, state in run.changes],
        "acknowledged_at": [round(at - zero, 3) for at in run.acknowledged()],
    }
    options.write_json(figures, file, indent=1)


# --- The chart

_STATE_COLOURS = {"primary": "#0072b2", "secondary": "#bcd9ea", "rolling back": "#cc79a7", UNREACHABLE: "#d9d9d9"}
_BIN_SECONDS = 0.25


def draw_chart(run: FailoverRun, file: Path) -> None:
    """Draw a timeline: acknowledged writes per second above, the states of the members below."""
    from matplotlib.figure import Figure

    zero, end = run.began, run.ended - run.began
    figure = Figure(figsize=(11, 5.6), facecolor="white", layout="constrained")
    rates, members = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    window = run.window_seconds
    figure.suptitle(f"What happens when {TITLES[run.fault]}", x=0.012, ha="left", fontsize=15)
    rates.set_title(
        f"{len(run.acknowledged()):,} writes acknowledged, {run.total('lost')} lost, "
        f"{run.total('doubled')} doubled, {sum(run.errors().values())} errors, {_seconds(window)} without a write",
        loc="left", fontsize=9.5, color="#444444",
    )  # fmt: skip
    _draw_rates(run, rates, zero, end)
    _draw_members(run, members, zero, end)
    figure.savefig(file, dpi=130)


def _draw_rates(run: FailoverRun, axes: Any, zero: float, end: float) -> None:
    edges = [number * _BIN_SECONDS for number in range(int(end / _BIN_SECONDS) + 2)]
    series = [(MAIN, "the application, w=majority", "#0072b2")]
    series += [(name, f"clients of the isolated primary, {name}", colour) for name, colour in (("w=1", "#e69f00"),)
               if run.acknowledged(name)]  # fmt: skip
    for client, label, colour in series:
        counts = [0] * (len(edges) - 1)
        for at in run.acknowledged(client):
            place = int((at - zero) / _BIN_SECONDS)
            if 0 <= place < len(counts):
                counts[place] += 1
        rates = [count / _BIN_SECONDS for count in counts]
        axes.stairs(rates, edges, fill=True, color=colour, alpha=0.75, label=label)
    if window := run.window():
        axes.axvspan(window[0] - zero, window[1] - zero, color="#d55e00", alpha=0.13, lw=0)
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * 1.2)
        axes.text(
            (window[0] + window[1]) / 2 - zero, top * 0.5, f"{window[1] - window[0]:.1f} s\nwithout\na write",
            ha="center", va="center", fontsize=9, color="#a04000",
        )  # fmt: skip
    errors = [write.at - zero for write in run.writes if write.client == MAIN and write.error]
    if errors:
        axes.plot(errors, [0] * len(errors), "x", color="#d00000", label="errors", clip_on=False)
    recovered_at = run.recovered_at if run.fault != STEP_DOWN else None
    marks = [(run.fault_at, "fault"), (recovered_at, "recovery"), (run.caught_up_at, "caught up")]
    placed = -10.0
    height = 0
    for marked_at, label in marks:
        if marked_at is None:
            continue
        x = marked_at - zero
        axes.axvline(x, color="#444444", lw=1, ls="--")
        # Labels that are close together are placed below one another.
        height = height + 1 if x - placed < end * 0.08 else 0
        placed = x
        axes.annotate(label, (x, 1), xycoords=("data", "axes fraction"), xytext=(4, -11 - 12 * height),
                      textcoords="offset points", fontsize=9, color="#444444")  # fmt: skip
    axes.set_ylabel("acknowledged writes/s")
    axes.set_xlim(0, end)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9)


def _draw_members(run: FailoverRun, axes: Any, zero: float, end: float) -> None:
    from matplotlib.patches import Patch

    colours: dict[str, str] = {}
    for node in range(NODES):
        changes = [(at - zero, state) for at, member, state in run.changes if member == node]
        for number, (since, state) in enumerate(changes):
            until = changes[number + 1][0] if number + 1 < len(changes) else end
            since, until = max(0.0, since), min(end, until)
            if until > since:
                colour = _STATE_COLOURS.get(state, "#f0e442")
                colours[state] = colour
                axes.barh(node, until - since, left=since, height=0.7, color=colour)
    axes.set_yticks(range(NODES), [f"node {node}" for node in range(NODES)], fontsize=9)
    axes.set_ylim(NODES - 0.4, -0.6)
    axes.set_xlabel("seconds under load")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    handles = [Patch(color=colour, label=state) for state, colour in colours.items()]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.45), ncols=len(handles), frameon=False, fontsize=9
    )

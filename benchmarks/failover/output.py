"""How the demonstration looks: live, as tables, as JSON and as a chart."""

import json
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

from benchmarks.failover.running import ALLOWED_SECONDS, FREEZE, KILL, MAIN, PARTITION, STEP_DOWN, Stage, Story
from benchmarks.failover.watching import SILENT
from devstack.fault_injection import ELECTION_TIMEOUT_MS, NODES

#: The width of a table that goes into a file.
WIDTH = 100
TITLES = {
    KILL: "the primary is killed (SIGKILL)",
    FREEZE: "the primary is frozen (SIGSTOP)",
    STEP_DOWN: "the primary is asked to step down",
    PARTITION: "the primary is cut off from everybody",
}
COLOURS = {"primary": "green", "secondary": "cyan", "rolling back": "magenta", SILENT: "red"}
BARS = " ▁▂▃▄▅▆▇█"
BAR_SECONDS = 0.5
NOTES_SHOWN = 7
#: What a client beside the primary that is cut off asks for.
BESIDE = {"w=1": "w=1, which is refused here", "w=majority": "w=majority"}


# --- Live


@contextmanager
def live(stream: TextIO) -> Iterator[Any]:
    """Yield what shows a stage and what says a sentence: a display on a terminal, lines elsewhere."""
    if not stream.isatty():
        began = time.monotonic()

        def say(words: str) -> None:
            stream.write(f"{time.monotonic() - began:6.1f} s  {words}\n")
            stream.flush()

        yield (lambda stage: None), say
        return
    console = Console(file=stream, highlight=False)
    with Live(console=console, refresh_per_second=5, transient=True) as display:
        yield (lambda stage: display.update(picture(stage, console.width))), (lambda words: None)


def picture(stage: Stage, width: int) -> RenderableType:
    """The display at this moment."""
    story, now = stage.story, time.monotonic()
    parts: list[RenderableType] = [Text(f"Failover: {TITLES[story.fault]}", style="bold")]
    if stage.watch.now:
        parts.append(_members(stage, now))
    if story.began:
        parts += [_rate(story, now, width), _figures(story, now)]
    notes = Table.grid(padding=(0, 1))
    notes.add_column(justify="right", style="dim", no_wrap=True)
    notes.add_column(overflow="fold")
    zero = story.began or story.notes[0][0]
    for at, words in story.notes[-NOTES_SHOWN:]:
        notes.add_row(f"{at - zero:+.1f} s", escape(words))
    parts += [Text(""), notes]
    return Group(*parts)


def _members(stage: Stage, now: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("member", no_wrap=True)
    table.add_column("is", min_width=12, no_wrap=True)
    table.add_column("behind", justify="right", min_width=8, no_wrap=True)
    table.add_column("", overflow="fold")
    looks, primary = dict(stage.watch.now), stage.watch.primary()
    story = stage.story
    for node in range(NODES):
        look = looks[node]
        behind = ""
        if primary is not None and node != primary and look.state == "secondary":
            behind = f"{max(0, looks[primary].applied[0] - look.applied[0])} s"
        is_out = node == story.member and story.fault_at is not None and story.returned_at is None
        remark = {KILL: "killed", FREEZE: "frozen", PARTITION: "cut off"}.get(story.fault, "") if is_out else ""
        leads = "← leads" if node == primary else ""
        state = Text(look.state, style=COLOURS.get(look.state, "yellow"))
        table.add_row(stage.name(node), state, behind, Text(remark or leads, style="red" if remark else "green"))
    return table


def _rate(story: Story, now: float, width: int) -> Table:
    """Acknowledged writes in each half second, the latest at the right; a gap is a gap."""
    label = "writes"
    room = max(10, width - len(label) - 12)
    # Whole half seconds only: one that has just begun would look like a gap.
    last = int(((story.ended or now) - story.began) / BAR_SECONDS)
    first = max(0, last - room)
    counts = [0] * (last - first)
    for at in story.acknowledged():
        place = int((at - story.began) / BAR_SECONDS) - first
        if 0 <= place < len(counts):
            counts[place] += 1
    most = max([*counts, 1])
    line = Text()
    for number, count in enumerate(counts):
        at = story.began + (first + number + 1) * BAR_SECONDS
        is_after = story.fault_at is not None and at > story.fault_at
        is_out = is_after and (story.returned_at is None or at <= story.returned_at)
        level = 0 if not count else max(1, round(count / most * (len(BARS) - 1)))
        # What is empty in the time of the fault shows as a low red mark, or one would not see it.
        line.append(BARS[level] if level or not is_after else "·", style="yellow" if is_out and level else
                    "green" if level else "red")  # fmt: skip
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_row(label, line)
    return grid


def _figures(story: Story, now: float) -> Text:
    moments = story.acknowledged()
    lately = sum(1 for at in moments if at > now - 1)
    errors = sum(story.errors().values())
    words = Text(f"{len(moments):,} acknowledged, {lately:,} in the last second · ")
    words.append(f"{errors} errors", style="red" if errors else "")
    if story.fault_at is not None:
        waited = now - max(moments, default=story.began)
        window = story.window(None if story.ended else now)
        if waited > 1:
            words.append(f" · without a write for {waited:.1f} s", style="bold red")
        elif window:
            words.append(f" · longest time without a write {window[1] - window[0]:.1f} s")
    beside = {name: len(story.acknowledged(name)) for name in BESIDE}
    if any(beside.values()):
        said = ", ".join(f"{count} {name}" for name, count in beside.items())
        words.append(f"\nbeside the member that is cut off: {said} acknowledged", style="magenta")
    return words


# --- Afterwards


def report(story: Story, stream: TextIO) -> None:
    """The tables."""
    console = Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title=f"Failover: {TITLES[story.fault]}", title_justify="left")
    table.add_column("writes", no_wrap=True)
    for heading in ("acknowledged", "present", "lost", "doubled", "errors"):
        table.add_column(heading, justify="right", no_wrap=True)
    for deed, row in story.rows[MAIN].items():
        table.add_row(deed, *_cells(row), "" if deed == "billed" else str(row["unanswered"]))
    console.print(table)
    window, catch_up = story.window_seconds, story.catch_up_seconds
    figures = Table.grid(padding=(0, 2))
    figures.add_column(no_wrap=True)
    figures.add_column(overflow="fold")
    allowed = f"(at most {ALLOWED_SECONDS[story.fault]:.0f} s pass)"
    figures.add_row("without a write", f"{_seconds(window)} {allowed}")
    until = "the old primary follows" if story.fault == STEP_DOWN else "the member has everything"
    figures.add_row("catch-up", f"{_seconds(catch_up)} until {until}")
    longest = max((write.took for write in story.writes if write.client == MAIN), default=0.0)
    figures.add_row("longest write", f"{longest:.1f} s, from the call to the answer")
    figures.add_row("rate", f"{story.rate_before():.0f} writes/s before the fault, by {story.writers} writers")
    errors = story.errors()
    figures.add_row("errors", ", ".join(f"{count} × {name}" for name, count in errors.items()) or "none")
    if errors:
        kept = sum(row["kept"] for row in story.rows[MAIN].values())
        figures.add_row("", f"{kept} of these writes are there all the same: their answer was lost, not they")
    figures.add_row("charts", f"{story.charts - story.differing_charts} of {story.charts} agree with the collections")
    console.print(figures)
    if story.fault == PARTITION:
        console.print()
        _report_beside(story, console)
    console.print()
    failures = story.failures()
    for failure in failures:
        console.print(Text(failure, style="bold red"))
    if not failures:
        console.print(Text("Nothing lost, nothing doubled.", style="bold green"))


def _report_beside(story: Story, console: Console) -> None:
    table = Table(
        box=box.SIMPLE_HEAD, title="Beside the member that was cut off, and led until it noticed", title_justify="left"
    )
    table.add_column("bookings with", no_wrap=True)
    for heading in ("acknowledged", "present", "lost", "refused"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, words in BESIDE.items():
        row = story.rows.get(name, {}).get("booked", {})
        figures = [row.get(key, 0) for key in ("acknowledged", "present", "lost", "unanswered")]
        table.add_row(words, *(str(figure) for figure in figures))
    console.print(table)
    console.print(
        f"{story.rolled_back:,} documents were rolled back on its return: visits, charts, claims, events and counters."
    )


def _cells(row: dict[str, int]) -> list[Text]:
    return [
        Text(f"{row['acknowledged']:,}"),
        Text(f"{row['present']:,}"),
        Text(f"{row['lost']:,}", style="bold red" if row["lost"] else ""),
        Text(f"{row['doubled']:,}", style="bold red" if row["doubled"] else ""),
    ]


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def write_json(story: Story, file: Path) -> None:
    zero = story.began
    after = {name: at and round(at - zero, 3) for name, at in (
        ("fault_s", story.fault_at), ("returned_s", story.returned_at), ("caught_up_s", story.caught_up_at)
    )}  # fmt: skip
    window = story.window()
    said = {
        "fault": story.fault,
        "mongod": story.mongod,
        "processors": os.cpu_count(),
        "members": NODES,
        "election_timeout_ms": ELECTION_TIMEOUT_MS,
        "writers": story.writers,
        **after,
        "window_s": window and round(window[1] - window[0], 3),
        "catch_up_s": story.catch_up_seconds and round(story.catch_up_seconds, 3),
        "longest_write_s": round(max((w.took for w in story.writes if w.client == MAIN), default=0.0), 3),
        "writes_per_second_before": round(story.rate_before(), 1),
        "acknowledged": story.total("acknowledged"),
        "present": story.total("present"),
        "lost": story.total("lost"),
        "doubled": story.total("doubled"),
        "writes": {("main" if name == MAIN else f"beside, {name}"): rows for name, rows in story.rows.items() if rows},
        "charts": story.charts,
        "differing_charts": story.differing_charts,
        "rolled_back": story.rolled_back,
        "errors": dict(story.errors()),
        "failures": story.failures(),
        "told": [[round(at - zero, 2), words] for at, words in story.notes],
        "states": [[round(at - zero, 2), node, state] for at, node, state in story.changes],
        "acknowledged_at": [round(at - zero, 3) for at in story.acknowledged()],
    }
    file.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# --- The chart

_STATE_COLOURS = {"primary": "#0072b2", "secondary": "#bcd9ea", "rolling back": "#cc79a7", SILENT: "#d9d9d9"}
_BIN_SECONDS = 0.25


def draw(story: Story, file: Path) -> None:
    """The timeline: acknowledged writes a second above, what each member was below."""
    from matplotlib.figure import Figure

    zero, end = story.began, story.ended - story.began
    figure = Figure(figsize=(11, 5.6), facecolor="white", layout="constrained")
    rates, members = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    window = story.window_seconds
    figure.suptitle(f"What happens when {TITLES[story.fault]}", x=0.012, ha="left", fontsize=15)
    rates.set_title(
        f"{len(story.acknowledged()):,} writes acknowledged, {story.total('lost')} lost, "
        f"{story.total('doubled')} doubled, {sum(story.errors().values())} errors, {_seconds(window)} without a write",
        loc="left", fontsize=9.5, color="#444444",
    )  # fmt: skip
    _draw_rates(story, rates, zero, end)
    _draw_members(story, members, zero, end)
    figure.savefig(file, dpi=130)


def _draw_rates(story: Story, axes: Any, zero: float, end: float) -> None:
    edges = [number * _BIN_SECONDS for number in range(int(end / _BIN_SECONDS) + 2)]
    series = [(MAIN, "the application, w=majority", "#0072b2")]
    series += [(name, f"beside the old primary, {name}", colour) for name, colour in (("w=1", "#e69f00"),)
               if story.acknowledged(name)]  # fmt: skip
    for client, label, colour in series:
        counts = [0] * (len(edges) - 1)
        for at in story.acknowledged(client):
            place = int((at - zero) / _BIN_SECONDS)
            if 0 <= place < len(counts):
                counts[place] += 1
        rates = [count / _BIN_SECONDS for count in counts]
        axes.stairs(rates, edges, fill=True, color=colour, alpha=0.75, label=label)
    if window := story.window():
        axes.axvspan(window[0] - zero, window[1] - zero, color="#d55e00", alpha=0.13, lw=0)
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * 1.2)
        axes.text(
            (window[0] + window[1]) / 2 - zero, top * 0.5, f"{window[1] - window[0]:.1f} s\nwithout\na write",
            ha="center", va="center", fontsize=9, color="#a04000",
        )  # fmt: skip
    errors = [write.at - zero for write in story.writes if write.client == MAIN and write.error]
    if errors:
        axes.plot(errors, [0] * len(errors), "x", color="#d00000", label="errors", clip_on=False)
    marks = [(story.fault_at, "fault"), (story.returned_at if story.fault != STEP_DOWN else None, "mended"),
             (story.caught_up_at, "caught up")]  # fmt: skip
    placed = -10.0
    height = 0
    for moment, words in marks:
        if moment is None:
            continue
        x = moment - zero
        axes.axvline(x, color="#444444", lw=1, ls="--")
        # Two that lie close together stand one below the other.
        height = height + 1 if x - placed < end * 0.08 else 0
        placed = x
        axes.annotate(words, (x, 1), xycoords=("data", "axes fraction"), xytext=(4, -11 - 12 * height),
                      textcoords="offset points", fontsize=9, color="#444444")  # fmt: skip
    axes.set_ylabel("acknowledged writes/s")
    axes.set_xlim(0, end)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9)


def _draw_members(story: Story, axes: Any, zero: float, end: float) -> None:
    from matplotlib.patches import Patch

    shown: dict[str, str] = {}
    for node in range(NODES):
        changes = [(at - zero, state) for at, member, state in story.changes if member == node]
        for number, (since, state) in enumerate(changes):
            until = changes[number + 1][0] if number + 1 < len(changes) else end
            since, until = max(0.0, since), min(end, until)
            if until > since:
                colour = _STATE_COLOURS.get(state, "#f0e442")
                shown[state] = colour
                axes.barh(node, until - since, left=since, height=0.7, color=colour)
    axes.set_yticks(range(NODES), [f"node {node}" for node in range(NODES)], fontsize=9)
    axes.set_ylim(NODES - 0.4, -0.6)
    axes.set_xlabel("seconds under load")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    handles = [Patch(color=colour, label=state) for state, colour in shown.items()]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.45), ncols=len(handles), frameon=False, fontsize=9
    )

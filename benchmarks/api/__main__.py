"""The API against a floor: requests per second of the production server, divided by those of a bare WSGI application.

    python -m bench [--rounds 5] [--seconds 3] [--cases detail,booking] [--quick] [--json FILE]   (make bench)

Both serve the same databases with two processes and are driven in turns by `wrk` over 8 connections; the floor
(bench/floor.py) does the same work with no framework, account, audit trail or transaction, on gunicorn with 4 threads a
process. Without `wrk` a driver in Python takes its place, which needs so much of the machine itself that its figures
are good for a look only. The data, 20,000 patients and 200,000 appointments, is made once and kept in `.bench`.
"""

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.api.cases import CASES, Case, Records, as_lines, forget, prepare
from benchmarks.api.driving import HOST, ROOT, ask, drive, free_port, running, serving
from devstack import DevStack
from operations.serving import production_server

CONNECTIONS = 8
WORKERS = 2
PATIENTS = 20_000
#: Lines for each second of a case that must not ask for the same twice; more than the floor gets done.
MOST_A_SECOND = 2_500
SCRIPT = Path(__file__).with_name("requests.lua")
#: Where the floor's own rounds differ by more than this share of their median, something else had the machine.
NOISE = 0.25
API, FLOOR = "api", "floor"
TABLE = "{:<34}{:>10}{:>8}{:>8}{:>10}{:>8}{:>8}{:>8}{:>10}  {}"


@dataclass
class Server:
    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """What its processes have used so far, in user and system mode."""
        times = [each.cpu_times() for each in self.process.children(recursive=True)]
        return sum(each.user + each.system for each in times)


@dataclass
class Round:
    per_second: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each server is driven (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each time (3)")
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of {','.join(CASES)}")
    parser.add_argument("--patients", type=int, default=PATIENTS, help="records to make in an empty folder (20000)")
    parser.add_argument("--dir", type=Path, default=ROOT / ".bench", help="where the data are kept (.bench)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too, but for --quick")
    parser.add_argument("--quick", action="store_true", help="one round of a second, to see that it runs")
    options = parser.parse_args()
    unknown = set(options.cases.split(",")) - set(CASES)
    if unknown:
        parser.error(f"There is no case {', '.join(sorted(unknown))}.")
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    figures = measure_all(options)
    if options.json and not options.quick:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        servers = DevStack(options.dir)
        servers.up()
        stack.callback(servers.down)
        environment = {
            **servers.addresses, "DEVSTACK_DIR": str(servers.directory), "LOCAL_SECRETS": "1",
            "LOGIN_RATE": "999999/s", "JWT_ACCESS_TOKEN_EXPIRES": "86400",
        }  # fmt: skip
        make = [sys.executable, "-m", "benchmarks.api.records", str(options.patients)]
        subprocess.run(make, cwd=ROOT, env={**os.environ, **environment}, check=True)  # noqa: S603 - our own command
        forget(environment)
        port = free_port()
        command = production_server(port, workers=WORKERS)
        api = Server(port, psutil.Process(stack.enter_context(running(command, port, environment)).pid))
        sides = {API: api, FLOOR: floor_server(stack, environment)}
        records, tokens = prepare(environment, api.port)
        compare_answers(sides, records, tokens)
        say(f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}; "
            f"{'wrk' if has_wrk() else 'a driver in Python'}, {CONNECTIONS} connections, "
            f"{options.rounds} rounds of {options.seconds:g} s\n")  # fmt: skip
        say(TABLE.format("", "requests/s", "p50 ms", "p95 ms", "floor /s", "p50", "p95", "ratio", "CPU ratio", ""))
        figures = {}
        for key in options.cases.split(","):
            case = CASES[key]
            figures[key] = measure(case, sides, records, tokens[case.asker], options)
            show(case, figures[key])
        if not options.quick:
            forget(environment)
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "patients": options.patients, "cores": psutil.cpu_count(), "python": platform.python_version(),
            "driver": "wrk" if has_wrk() else "python", "connections": CONNECTIONS, "workers": WORKERS,
            "rounds": options.rounds, "seconds": options.seconds, "noise_limit": NOISE, "cases": figures,
        }  # fmt: skip


def floor_server(stack: ExitStack, environment: dict[str, str]) -> Server:
    port = stack.enter_context(serving("benchmarks.api.floor", environment, workers=WORKERS))
    processes = psutil.Process().children()
    return Server(port, next(each for each in processes if f"{HOST}:{port}" in each.cmdline()))


def compare_answers(sides: dict[str, Server], records: Records, tokens: dict[str, str]) -> None:
    """The floor is one only as long as it answers what the API answers. Raises: SystemExit."""
    for case in CASES.values():
        method, path, body = next(case.requests(records))
        if method == "GET":
            one, other = (
                ask(side.port, method, path, body, token=tokens[case.asker]) for side in (sides[API], sides[FLOOR])
            )
            for answer in (one, other):
                # Cursors are sealed by one and not by the other; a report says when it was made.
                answer.pop("next", None)
                answer.pop("as_of", None)
            if one != other:
                raise SystemExit(f"{path}: the floor answers something else than the API.")


def measure(
    case: Case, sides: dict[str, Server], records: Records, token: str, options: argparse.Namespace
) -> dict[str, Any]:
    """The medians of all rounds, each server in turn."""
    rounds: dict[str, list[Round]] = {API: [], FLOOR: []}
    for name in () if options.quick else sides:
        # To warm up.
        one_round(case, sides[name], records, token, options.seconds / 3)
    for number in range(options.rounds):
        for name in (API, FLOOR) if number % 2 else (FLOOR, API):
            rounds[name].append(one_round(case, sides[name], records, token, options.seconds))
    per_second = {name: [each.per_second for each in taken] for name, taken in rounds.items()}
    ratios = [one / other for one, other in zip(per_second[API], per_second[FLOOR], strict=True)]
    noise = (max(per_second[FLOOR]) - min(per_second[FLOOR])) / statistics.median(per_second[FLOOR])
    medians = {name: asdict(median_of(taken)) for name, taken in rounds.items()}
    return {
        "name": case.name,
        **medians,
        "ratio": statistics.median(per_second[API]) / statistics.median(per_second[FLOOR]),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "cpu_ratio": medians[FLOOR]["cpu_ms"] / medians[API]["cpu_ms"],
        "noise": noise,
        "is_too_noisy": noise > NOISE,
        "at_least": case.at_least,
        "rounds": {name: [asdict(each) for each in taken] for name, taken in rounds.items()},
    }


def median_of(rounds: Sequence[Round]) -> Round:
    return Round(*(statistics.median(each) for each in zip(*(asdict(one).values() for one in rounds), strict=True)))


def one_round(case: Case, server: Server, records: Records, token: str, seconds: float) -> Round:
    cpu_before = server.cpu_seconds()
    drive_by = drive_by_wrk if has_wrk() else drive_by_python
    number, p50_ms, p95_ms, took = drive_by(case, server.port, records, token, seconds)
    return Round(number / took, p50_ms, p95_ms, 1000 * (server.cpu_seconds() - cpu_before) / number)


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def drive_by_wrk(
    case: Case, port: int, records: Records, token: str, seconds: float
) -> tuple[int, float, float, float]:
    """Requests, p50 and p95 in ms, and the seconds. Raises: SystemExit when one was refused or lost."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as lines:
        most = int(MOST_A_SECOND * seconds) if case.is_write else 10_000
        lines.writelines(as_lines(case.requests(records), most))
        lines.flush()
        # wrk takes whole seconds only, and counts what is answered within them.
        whole = max(case.least_seconds, round(seconds))
        command = [
            "wrk", "--threads", "2", "--connections", str(CONNECTIONS), "--duration", f"{whole}s",
            "--timeout", "30s", "--script", str(SCRIPT), f"http://{HOST}:{port}", "--", lines.name, token, "2",
        ]  # fmt: skip
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    said = json.loads(output.splitlines()[-1])
    if said["refused"] or said["lost"] or not said["requests"]:
        raise SystemExit(f"{case.name}: {said['refused']} of {said['requests']} refused, {said['lost']} lost.")
    return said["requests"], said["p50_ms"], said["p95_ms"], said["seconds"]


def drive_by_python(
    case: Case, port: int, records: Records, token: str, seconds: float
) -> tuple[int, float, float, float]:
    """The same by threads of this process."""
    requests = case.requests(records)
    each_once = iter(list(itertools.islice(requests, int(MOST_A_SECOND * seconds) if case.is_write else 10_000)))
    # Both are iterators in C, from which several threads may take.
    shared = each_once if case.is_write else itertools.cycle(each_once)

    def of_client(_: int) -> Iterator[Any]:
        return iter(lambda: next(shared), None)

    run = drive(port, of_client, seconds=seconds, clients=CONNECTIONS, token=token)
    if not run.times or max(run.statuses) >= 300:
        raise SystemExit(f"{case.name}: answers {run.statuses}.")
    return len(run.times), run.quantile_ms(0.5), run.quantile_ms(0.95), seconds


def show(case: Case, figures: dict[str, Any]) -> None:
    remarks = []
    if case.at_least is not None:
        is_reached = figures["ratio"] >= case.at_least
        remarks.append(f"{'reaches' if is_reached else 'BELOW'} {case.at_least}")
    if figures["is_too_noisy"]:
        remarks.append(f"too noisy to tell: the floor's rounds differ by {100 * figures['noise']:.0f} %")
    cells = [
        f"{figures[side][name]:.{digits}f}"
        for side in (API, FLOOR)
        for name, digits in (("per_second", 0), ("p50_ms", 1), ("p95_ms", 1))
    ]
    ratio, cpu_ratio = f"{figures['ratio']:.2f}", f"{figures['cpu_ratio']:.2f}"
    say(TABLE.format(case.name, *cells, ratio, cpu_ratio, ", ".join(remarks)))


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()

"""Compares the API with a floor: requests per second of the production server and of a minimal WSGI application.

    python -m benchmarks.api [--rounds 5] [--seconds 3] [--cases detail,booking] [--quick] [--json FILE]   (make bench)

Both servers use the same databases with two processes, and `wrk` drives them in turns over 8 connections. The floor
(benchmarks/api/floor.py) does the same work without a framework, accounts, an audit log or transactions, on gunicorn
with 4 threads per process. Without `wrk` a driver in Python is used, which takes so much processor time itself that its
figures are rough. The data, 20,000 patients and 200,000 appointments, are generated once and kept in `.bench`.
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

from benchmarks.api.cases import CASES, Case, Records, as_lines, delete_written_records, prepare
from benchmarks.api.driving import HOST, ROOT, drive, free_port, print_line, running, send, serving
from benchmarks.options import write_json
from devstack import DevStack
from operations.serving import production_server

CONNECTIONS = 8
WORKERS = 2
PATIENTS = 20_000
#: Requests to prepare per second of a case that must not repeat a request. The floor answers fewer per second.
MAX_PER_SECOND = 2_500
SCRIPT = Path(__file__).with_name("requests.lua")
#: If the floor's rounds differ by more than this share of their median, other load disturbed the measurement.
NOISE_LIMIT = 0.25
API, FLOOR = "api", "floor"
TABLE = "{:<34}{:>10}{:>8}{:>8}{:>10}{:>8}{:>8}{:>8}{:>10}  {}"


@dataclass
class Server:
    """A running server with its worker processes."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time of the workers so far, in user and system mode."""
        times = [each.cpu_times() for each in self.process.children(recursive=True)]
        return sum(each.user + each.system for each in times)


@dataclass
class Round:
    """The figures of a round; `cpu_ms` is the processor time per request."""

    per_second: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each server (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of a round (3)")
    parser.add_argument("--cases", default=",".join(CASES), help=f"cases to run, of {','.join(CASES)}")
    parser.add_argument(
        "--patients", type=int, default=PATIENTS, help="patients to generate in an empty folder (20000)"
    )
    parser.add_argument("--dir", type=Path, default=ROOT / ".bench", help="folder of the data (.bench)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, except with --quick")
    parser.add_argument("--quick", action="store_true", help="run a single round of one second, as a test")
    options = parser.parse_args()
    unknown = set(options.cases.split(",")) - set(CASES)
    if unknown:
        parser.error(f"There is no case {', '.join(sorted(unknown))}.")
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    figures = measure_all(options)
    if options.json and not options.quick:
        write_json(figures, options.json)


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
        delete_written_records(environment)
        port = free_port()
        command = production_server(port, workers=WORKERS)
        api = Server(port, psutil.Process(stack.enter_context(running(command, port, environment)).pid))
        sides = {API: api, FLOOR: floor_server(stack, environment)}
        records, tokens = prepare(environment, api.port)
        compare_responses(sides, records, tokens)
        print_line(f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}; "
            f"{'wrk' if has_wrk() else 'a driver in Python'}, {CONNECTIONS} connections, "
            f"{options.rounds} rounds of {options.seconds:g} s\n")  # fmt: skip
        print_line(
            TABLE.format("", "requests/s", "p50 ms", "p95 ms", "floor /s", "p50", "p95", "ratio", "CPU ratio", "")
        )
        figures = {}
        for key in options.cases.split(","):
            case = CASES[key]
            figures[key] = measure(case, sides, records, tokens[case.role], options)
            print_case(case, figures[key])
        if not options.quick:
            delete_written_records(environment)
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "patients": options.patients, "cores": psutil.cpu_count(), "python": platform.python_version(),
            "driver": "wrk" if has_wrk() else "python", "connections": CONNECTIONS, "workers": WORKERS,
            "rounds": options.rounds, "seconds": options.seconds, "noise_limit": NOISE_LIMIT, "cases": figures,
        }  # fmt: skip


def floor_server(stack: ExitStack, environment: dict[str, str]) -> Server:
    port = stack.enter_context(serving("benchmarks.api.floor", environment, workers=WORKERS))
    processes = psutil.Process().children()
    return Server(port, next(each for each in processes if f"{HOST}:{port}" in each.cmdline()))


def compare_responses(sides: dict[str, Server], records: Records, tokens: dict[str, str]) -> None:
    """Check that both servers return the same data, without which the comparison is invalid. Raises: SystemExit."""
    for case in CASES.values():
        method, path, body = next(case.requests(records))
        if method == "GET":
            one, other = (
                send(side.port, method, path, body, token=tokens[case.role]) for side in (sides[API], sides[FLOOR])
            )
            for response in (one, other):
                # The API encrypts cursors and the floor does not. Reports contain the time of their creation.
                response.pop("next", None)
                response.pop("as_of", None)
            if one != other:
                raise SystemExit(f"{path}: the floor and the API return different data.")


def measure(
    case: Case, sides: dict[str, Server], records: Records, token: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Drive the servers in turns and return the medians of all rounds."""
    rounds: dict[str, list[Round]] = {API: [], FLOOR: []}
    for name in () if options.quick else sides:
        # Warm up.
        one_round(case, sides[name], records, token, options.seconds / 3)
    for number in range(options.rounds):
        for name in (API, FLOOR) if number % 2 else (FLOOR, API):
            rounds[name].append(one_round(case, sides[name], records, token, options.seconds))
    per_second = {name: [each.per_second for each in done] for name, done in rounds.items()}
    ratios = [one / other for one, other in zip(per_second[API], per_second[FLOOR], strict=True)]
    noise = (max(per_second[FLOOR]) - min(per_second[FLOOR])) / statistics.median(per_second[FLOOR])
    medians = {name: asdict(median_of(done)) for name, done in rounds.items()}
    return {
        "name": case.name,
        **medians,
        "ratio": statistics.median(per_second[API]) / statistics.median(per_second[FLOOR]),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "cpu_ratio": medians[FLOOR]["cpu_ms"] / medians[API]["cpu_ms"],
        "noise": noise,
        "is_too_noisy": noise > NOISE_LIMIT,
        "at_least": case.at_least,
        "rounds": {name: [asdict(each) for each in done] for name, done in rounds.items()},
    }


def median_of(rounds: Sequence[Round]) -> Round:
    return Round(*(statistics.median(each) for each in zip(*(asdict(one).values() for one in rounds), strict=True)))


def one_round(case: Case, server: Server, records: Records, token: str, seconds: float) -> Round:
    cpu_before = server.cpu_seconds()
    drive_server = drive_with_wrk if has_wrk() else drive_with_python
    number, p50_ms, p95_ms, took = drive_server(case, server.port, records, token, seconds)
    return Round(number / took, p50_ms, p95_ms, 1000 * (server.cpu_seconds() - cpu_before) / number)


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def drive_with_wrk(
    case: Case, port: int, records: Records, token: str, seconds: float
) -> tuple[int, float, float, float]:
    """Return the number of requests, p50 and p95 in ms, and the seconds. Raises: SystemExit if a request failed."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as lines:
        most = int(MAX_PER_SECOND * seconds) if case.is_write else 10_000
        lines.writelines(as_lines(case.requests(records), most))
        lines.flush()
        # wrk accepts whole seconds only.
        whole = max(case.least_seconds, round(seconds))
        command = [
            "wrk", "--threads", "2", "--connections", str(CONNECTIONS), "--duration", f"{whole}s",
            "--timeout", "30s", "--script", str(SCRIPT), f"http://{HOST}:{port}", "--", lines.name, token, "2",
        ]  # fmt: skip
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    figures = json.loads(output.splitlines()[-1])
    if figures["refused"] or figures["lost"] or not figures["requests"]:
        raise SystemExit(f"{case.name}: {figures['refused']} of {figures['requests']} refused, {figures['lost']} lost.")
    return figures["requests"], figures["p50_ms"], figures["p95_ms"], figures["seconds"]


def drive_with_python(
    case: Case, port: int, records: Records, token: str, seconds: float
) -> tuple[int, float, float, float]:
    """Return the same figures, measured with threads of this process."""
    requests = case.requests(records)
    each_once = iter(list(itertools.islice(requests, int(MAX_PER_SECOND * seconds) if case.is_write else 10_000)))
    # Both iterators are implemented in C, so that several threads may use them.
    shared = each_once if case.is_write else itertools.cycle(each_once)

    def of_client(_: int) -> Iterator[Any]:
        return iter(lambda: next(shared), None)

    run = drive(port, of_client, seconds=seconds, clients=CONNECTIONS, token=token)
    if not run.times or max(run.statuses) >= 300:
        raise SystemExit(f"{case.name}: answers {run.statuses}.")
    return len(run.times), run.quantile_ms(0.5), run.quantile_ms(0.95), seconds


def print_case(case: Case, figures: dict[str, Any]) -> None:
    remarks = []
    if case.at_least is not None:
        is_reached = figures["ratio"] >= case.at_least
        remarks.append(f"{'reaches' if is_reached else 'BELOW'} {case.at_least}")
    if figures["is_too_noisy"]:
        remarks.append(f"too noisy: the floor's rounds differ by {100 * figures['noise']:.0f} %")
    columns = [
        f"{figures[side][name]:.{digits}f}"
        for side in (API, FLOOR)
        for name, digits in (("per_second", 0), ("p50_ms", 1), ("p95_ms", 1))
    ]
    ratio, cpu_ratio = f"{figures['ratio']:.2f}", f"{figures['cpu_ratio']:.2f}"
    print_line(TABLE.format(case.name, *columns, ratio, cpu_ratio, ", ".join(remarks)))


if __name__ == "__main__":
    main()

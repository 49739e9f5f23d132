"""Temporary collections for the benchmark: copies of the data, or generated data, whose indexes it creates and drops.

Their names contain the process that made them, so that a later run finds and removes those of a killed process.
"""

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import psutil
from django.utils import timezone
from pymongo import InsertOne

from datasets.seed import records, staff
from datasets.seed.plan import Plan, Sizes
from healthcare.mongodb import raw
from healthcare.mongodb.base import clinical_connection
from healthcare.mongodb.emptying import drop_collection
from reports import projections, rollups
from reports.rollups import Sums

#: Names of the collections that are copied.
SOURCES = ("patients", "doctors", "appointments", "prescriptions", "report_counters")
COPY_TIME_MS = 600_000
_NAME = re.compile(r"benchmark_([0-9a-f]{6})_(\d+)_(\d+)_\w+")


@dataclass(frozen=True)
class Copies:
    """The copies of one run."""

    prefix: str

    def __getitem__(self, source: str) -> str:
        return f"{self.prefix}{source}"

    def count(self, source: str) -> int:
        return raw.collection(self[source]).count({}, max_time_ms=COPY_TIME_MS)


@contextmanager
def temporary_copies(*, appointments: int | None) -> Iterator[Copies]:
    """Yield copies of the live data, or generated data with that many appointments; always drop them afterwards."""
    remove_leftovers()
    copies = Copies(f"benchmark_{_host()}_{os.getpid()}_{_start_time(os.getpid())}_")
    try:
        if appointments is None:
            _copy(copies)
        else:
            _generate(copies, appointments)
        for source in SOURCES:
            # `_id` always has an index. This copy of its value has none, for comparison.
            raw.collection(copies[source]).update_many({}, [{"$set": {"key": "$_id"}}], max_time_ms=COPY_TIME_MS)
        yield copies
    finally:
        for source in SOURCES:
            drop_collection(copies[source])


def remove_leftovers() -> None:
    """Drop the collections of processes of this machine that no longer run."""
    for name in clinical_connection().database.list_collection_names(filter={"name": {"$regex": "^benchmark_"}}):
        found = _NAME.fullmatch(name)
        if found and found[1] == _host() and _start_time(int(found[2])) != int(found[3]):
            drop_collection(name)


def _host() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=3).hexdigest()


def _start_time(pid: int) -> int:
    """Return the start time of a process, which distinguishes it from later ones with its pid; 0 if there is none."""
    try:
        return int(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0


def _copy(copies: Copies) -> None:
    for source in SOURCES:
        raw.aggregate(source, [{"$match": {}}, {"$out": copies[source]}], max_time_ms=COPY_TIME_MS)


def _generate(copies: Copies, appointments: int) -> None:
    plan = plan_for(appointments, timezone.localdate())
    sums = Sums()
    _insert(copies["doctors"], [staff.doctor(plan, number).document(plan) for number in range(plan.sizes.doctors)])
    for number in range(plan.block_count):
        block = records.make_block(plan, number)
        for source in ("patients", "appointments", "prescriptions"):
            _insert(copies[source], getattr(block, source))
        _count(sums, block)
    writes = projections.writes_of(sums, 0)
    raw.collection(copies["report_counters"]).update_each(writes, max_time_ms=COPY_TIME_MS)


def plan_for(appointments: int, as_of: date) -> Plan:
    """Return a plan for about that many appointments, in the proportions of `manage.py seed`."""
    patients = max(1, appointments // 10)
    sizes = Sizes(
        patients=patients,
        doctors=max(24, patients // 200),
        appointments=appointments,
        prescriptions=appointments // 2,
        bills=0,
    )
    return Plan(seed=1, as_of=as_of, sizes=sizes)


def _count(sums: Sums, block: records.Records) -> None:
    states = rollups.patient_rollups(block.appointments, block.prescriptions)
    for pair, number in states.pairs.items():
        sums.add_pair(pair, 0, number)
    for key, treatment in states.treatments.items():
        sums.add_treatment(key, None, treatment)
    for appointment in block.appointments:
        sums.months[rollups.month_of(appointment)] += 1
    for prescription in block.prescriptions:
        sums.add_cost(prescription, 1)


def _insert(name: str, documents: list[raw.Document]) -> None:
    if documents:
        raw.collection(name).bulk_write(
            [InsertOne(each) for each in documents], is_ordered=False, max_time_ms=COPY_TIME_MS
        )

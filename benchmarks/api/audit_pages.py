"""Measures pages of the audit log with many entries, and sealing and verifying these entries.

    python -m benchmarks.api.audit_pages [--entries 10000000] [--seal] [--json FILE]

Fills the audit log of an embedded PostgreSQL with a year of entries by SQL: 100,000 patients, 2,000 accounts, a list
of 50 patients in every twentieth entry, and the patient HOT in every fiftieth. Then queries pages of 50 entries as
GET /audit and the access log do, and prints the median of 20 queries.
"""

import argparse
import os
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.api.driving import print_line
from benchmarks.options import write_json
from devstack.ephemeral import EphemeralStack

FILL = """
    INSERT INTO audit_entries (at, actor_id, role, action, patient_ids, subject, outcome, reason, channel, address,
                               request_id)
    SELECT timestamptz '2025-01-01 00:00:00Z' + g::float8 / %(entries)s * interval '31536000 seconds',
           g %% 2000 + 1, 'doctor',
           (ARRAY['patient.viewed', 'appointment.viewed', 'prescription.issued', 'appointment.booked'])[g %% 4 + 1],
           CASE WHEN g %% 20 = 0 THEN ARRAY(SELECT DISTINCT 'P' || (h * 7 + g * 13) %% 200 + g %% 500 * 200
                                            FROM generate_series(1, 50) AS h)
                WHEN g %% 50 = 1 THEN ARRAY['HOT']
                ELSE ARRAY['P' || (random() * random() * 100000)::int] END,
           'A' || g, CASE WHEN g %% 100 = 3 THEN 'refused' ELSE 'success' END,
           CASE WHEN g %% 100 = 3 THEN 'not_found' END, 'api', '10.0.0.1', md5(g::text)
    FROM generate_series(%(first)s, %(last)s) AS g
"""
ROUNDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000_000, help="number of entries (10,000,000)")
    parser.add_argument("--seal", action="store_true", help="also seal and verify the entries")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args()
    with EphemeralStack(durable=True) as stack:
        os.environ.update(stack.addresses, DEVSTACK_DIR=str(stack.directory), LOCAL_SECRETS="1")
        os.environ["DJANGO_SETTINGS_MODULE"] = "healthcare.settings"
        import django
        from django.core.management import call_command

        django.setup()
        for database in ("default", "clinical"):
            call_command("migrate", database=database, verbosity=0)
        fill(options.entries)
        figures = measure()
        if options.seal:
            figures |= seal(options.entries)
    if options.json:
        write_json(figures, options.json)


def fill(entries: int) -> None:
    from django.db import connection

    began = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        for month in range(1, 13):
            cursor.execute("SELECT audit_make_month(%s)", [date(2025, month, 1)])
        for first in range(1, entries + 1, 500_000):
            last = min(entries, first + 499_999)
            cursor.execute(FILL, {"entries": entries, "first": first, "last": last})
        cursor.execute("INSERT INTO audit_patients SELECT unnest(patient_ids), at, id FROM audit_entries")
        cursor.execute("ANALYZE audit_entries")
        cursor.execute("ANALYZE audit_patients")
        cursor.execute(
            "SELECT pg_size_pretty(sum(pg_total_relation_size(oid))) FROM pg_class WHERE relname ~ '^audit_'"
            " AND relkind = 'r'"
        )
        (size,) = cursor.fetchone()
    print_line(f"{entries:,} entries inserted in {time.monotonic() - began:.0f} s; {size} with their indexes")


def measure() -> dict[str, Any]:
    from django.db.models import QuerySet

    from accounts.models import Role, User
    from audit import queries
    from healthcare.api.pagination import Order
    from healthcare.audit_log.models import AuditPatient

    auditor = User(pk=1, role=Role.ADMIN)
    patients = ("P7", "P50000", "HOT", "nobody")
    cases: dict[str, QuerySet[Any]] = {
        "all": queries.matching(auditor),
        "account": queries.matching(auditor, actor=77),
        "account that did nothing": queries.matching(auditor, actor=999_999),
        "action": queries.matching(auditor, action="prescription.issued"),
        "action that never was": queries.matching(auditor, action="patient.sold"),
        "refused": queries.matching(auditor, outcome="refused"),
        "account and action": queries.matching(auditor, actor=77, action="appointment.viewed"),
        "account, never that action": queries.matching(auditor, actor=77, action="prescription.issued"),
        "refused of an account": queries.matching(auditor, actor=4, outcome="refused"),
        "one day": queries.matching(auditor, since=date(2025, 3, 3), until=date(2025, 3, 3)),
        "account in one month": queries.matching(auditor, actor=77, since=date(2025, 3, 1), until=date(2025, 3, 31)),
        **{f"patient {name}": queries.matching(auditor, patient_id=name) for name in patients},
        "patient HOT, an action": queries.matching(auditor, patient_id="HOT", action="appointment.viewed"),
        "patient HOT in March": queries.matching(auditor, patient_id="HOT", until=date(2025, 3, 31)),
        "access log of HOT": AuditPatient.objects.filter(patient_id="HOT")
        .select_related("entry")
        .order_by("-at", "-entry_id"),
    }
    figures = {}
    for name, found in cases.items():
        pages: dict[str, Any] = {name: found}
        rows = list(found[:51])
        if len(rows) > 50:
            # A page in the middle of the list, as a cursor requests it: after an entry of March.
            middle = found.filter(at__lt=queries.midnight(date(2025, 3, 15))).first()
            if middle is not None:
                order = Order(found)
                edge = {each: getattr(middle, each) for each in order.names}
                pages[f"{name}, a page far back"] = order.beyond(found, edge, backwards=False)
        for label, page in pages.items():
            times = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                rows = list(page[:51])
                times.append(1000 * (time.perf_counter() - began))
            figures[label] = {"p50_ms": statistics.median(times), "longest_ms": max(times), "rows": len(rows)}
            print_line(f"{label:<44} {statistics.median(times):8.2f} ms (at most {max(times):8.2f})  {len(rows)} rows")
    return figures


def seal(entries: int) -> dict[str, Any]:
    import resource

    from audit import services, verification

    began = time.monotonic()
    sealed = services.seal()
    sealing = time.monotonic() - began
    began = time.monotonic()
    found = verification.verify(head=sealed.hash)
    verifying = time.monotonic() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if found.differences or found.entries != entries:
        raise SystemExit(f"The audit log differs from its seals: {found.differences}")
    print_line(f"sealed in {sealing:.0f} s, verified in {verifying:.0f} s, {memory} MB at most")
    return {"seal_seconds": sealing, "verify_seconds": verifying, "memory_mb": memory}


if __name__ == "__main__":
    main()

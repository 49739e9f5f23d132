"""The chain of seals: every entry is sealed, and every kind of tampering is found and reported."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from bson import Binary
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections

from audit import queries, seals, services
from healthcare.audit_log import recorder
from healthcare.audit_log.models import AuditEntry, AuditHead
from tests.databases import clinical_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_audit_log")]


def write(number: int, **facts: Any) -> list[int]:
    """Write entries of one patient each and return their ids."""
    before = AuditEntry.objects.order_by("id").values_list("id", flat=True).last() or 0
    for index in range(number):
        recorder.record("patient.viewed", actor=None, patient_ids=[f"P{index}"], subject=f"P{index}", **facts)
    return list(AuditEntry.objects.filter(id__gt=before).order_by("id").values_list("id", flat=True))


def verify(*arguments: str) -> tuple[bool, str, str]:
    """Return whether the audit log is what was sealed, the reported differences, and the summary."""
    out, err = StringIO(), StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=err)
    except CommandError:
        return False, err.getvalue(), out.getvalue()
    return True, err.getvalue(), out.getvalue()


def tamper(sql: str, *values: Any) -> None:
    """Change the tables as a superuser of PostgreSQL can."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql, values)
        assert cursor.rowcount > 0
        cursor.execute("SET session_replication_role = DEFAULT")


def chain() -> Any:
    return clinical_database()["audit_seals"]


def test_what_is_sealed_is_whole() -> None:
    write(7)
    out = StringIO()
    call_command("seal_audit", stdout=out)
    head = queries.head()
    assert (head["_id"], head["count"]) == (1, 7)
    assert f"7 entries sealed. Seal 1 has the hash {head['hash']}" in out.getvalue()
    write(2)
    whole, differences, summary = verify("--head", head["hash"])
    assert (whole, differences) == (True, "")
    assert "1 seals and 7 entries compared; 0 are archived, 2 not sealed yet" in summary
    call_command("seal_audit", verbosity=0)
    assert (queries.head()["_id"], queries.head()["previous"]) == (2, head["hash"])
    assert verify()[0]


def test_nothing_new_makes_no_seal() -> None:
    assert services.seal() == (0, 0, 0, seals.GENESIS_HASH)
    assert verify()[0]
    write(1)
    assert services.seal().seals == 1
    assert services.seal().seals == 0


def test_many_entries_have_several_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "MAX_ENTRIES", 4)
    monkeypatch.setattr(queries, "SEALS_PER_QUERY", 2)
    monkeypatch.setattr(queries, "ENTRIES_PER_QUERY", 3)
    write(17)
    assert services.seal()[:3] == (17, 5, 5)
    assert [seal["count"] for seal in queries.all_seals()] == [4, 4, 4, 4, 1]
    assert verify()[0]


OTHER = {
    "at": datetime(2026, 1, 1, tzinfo=UTC),
    "actor_id": 4711,
    "role": "admin",
    "action": "patient.deleted",
    "patient_ids": ["P999"],
    "subject": "P999",
    "outcome": "refused",
    "reason": "not_found",
    "channel": "admin",
    "address": "192.0.2.1",
    "request_id": "another",
    "source": "another",
}


@pytest.mark.parametrize("column", OTHER)
def test_an_altered_column_is_found(column: str) -> None:
    _, altered, *_ = write(5)
    services.seal()
    tamper(f"UPDATE audit_entries SET {column} = %s WHERE id = %s", OTHER[column], altered)  # noqa: S608
    whole, differences, _ = verify()
    assert not whole
    assert f"altered: Entry {altered} (" in differences
    assert "is not what seal 1 says." in differences
    assert "removed" not in differences


def test_every_column_is_covered() -> None:
    columns = {field.name for field in AuditEntry._meta.concrete_fields}
    assert columns == {*OTHER, "id"}


def test_a_removed_entry_is_found() -> None:
    ids = write(5)
    services.seal()
    tamper("DELETE FROM audit_entries WHERE id = ANY (%s)", [ids[2], ids[3]])
    whole, differences, _ = verify()
    assert not whole
    assert f"removed: Entry {ids[2]} of " in differences
    assert "(2 in all)" in differences
    assert "altered" not in differences


def test_an_inserted_entry_is_found() -> None:
    ids = write(5)
    tamper("DELETE FROM audit_entries WHERE id = %s", ids[2])
    services.seal()
    assert verify()[0] is False  # the row of its patient now refers to no entry
    tamper("DELETE FROM audit_patients WHERE entry_id = %s", ids[2])
    assert verify()[0]
    tamper(
        "INSERT INTO audit_entries (id, at, role, action, patient_ids, outcome, channel)"
        " VALUES (%s, now(), 'doctor', 'patient.viewed', '{}', 'success', 'api')",
        ids[2],
    )
    whole, differences, _ = verify()
    assert not whole
    assert f"inserted: Entry {ids[2]} (" in differences
    assert "after seal 1 was made" in differences


def test_an_entry_that_its_patient_no_longer_finds_is_found() -> None:
    first, second = write(2)
    services.seal()
    tamper("DELETE FROM audit_patients WHERE entry_id = %s", second)
    whole, differences, _ = verify()
    assert (whole, differences) == (False, f"hidden: Entry {second} cannot be found under 1 of its patients.\n")
    tamper("INSERT INTO audit_patients SELECT 'P1', at, id FROM audit_entries WHERE id = %s", second)
    assert verify()[0]
    tamper("INSERT INTO audit_patients SELECT 'P7', at, id FROM audit_entries WHERE id = %s", first)
    assert f"added: Entry {first} can be found under P7" in verify()[1]


def three_seals() -> list[dict[str, Any]]:
    for _ in range(3):
        write(3)
        services.seal()
    return list(queries.all_seals())


def other_leaves(seal: dict[str, Any]) -> Binary:
    leaves = list(seals.unpack(seal["leaves"]))
    return Binary(seals.pack([leaves[0]._replace(digest=b"\0" * 16), *leaves[1:]]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda seal: {"leaves": other_leaves(seal)}, "Seal 2 of"),
        (lambda seal: {"leaves": seal["leaves"][:-3]}, "Seal 2 of"),
        (lambda seal: {"hash": "f" * 64}, "Seal 2 of"),
        (lambda seal: {"previous": "f" * 64}, "Seal 2 does not continue seal 1."),
        (lambda seal: {"upto": seal["upto"] + 1}, "Seal 2 of"),
        (lambda seal: {"after": seal["after"] + 1}, "Seal 2 does not begin where seal 1 ends."),
        (lambda seal: {"count": 2}, "Seal 2 of"),
        (lambda seal: {"kind": "archive", "month": "2020-01"}, "Seal 2 of"),
        (lambda seal: {"sealed_at": seal["sealed_at"] + timedelta(seconds=1)}, "Seal 2 of"),
    ],
    ids=["leaf", "cut", "hash", "previous", "upto", "after", "count", "kind", "time"],
)
def test_a_changed_seal_is_found(change: Callable[[dict[str, Any]], dict[str, Any]], sentence: str) -> None:
    seal = three_seals()[1]
    chain().update_one({"_id": 2}, {"$set": change(seal)})
    whole, differences, _ = verify()
    assert not whole
    assert f"broken seal: {sentence}" in differences


def test_a_forged_seal_over_altered_entries_breaks_the_chain() -> None:
    """Somebody who rewrites both databases must replace all later seals, and then the head that was kept is missing."""
    one, two, three = three_seals()
    tamper("UPDATE audit_entries SET role = 'admin' WHERE id > %s AND id <= %s", two["after"], two["upto"])
    leaves = [seals.leaf_of(entry) for entry in queries.entries(after=two["after"], upto=two["upto"])]
    forged = {**two, "leaves": seals.pack(leaves)}
    forged["hash"] = seals.hash_of(forged)
    chain().update_one({"_id": 2}, {"$set": {"leaves": forged["leaves"], "hash": forged["hash"]}})
    assert "broken seal: Seal 2 is not the one whose hash PostgreSQL has. (2 in all)" in verify()[1]
    tamper("UPDATE audit_heads SET hash = %s WHERE number = 2", forged["hash"])
    assert verify()[1] == "broken seal: Seal 3 does not continue seal 2.\n"
    forged_head = {**three, "previous": forged["hash"]}
    forged_head["hash"] = seals.hash_of(forged_head)
    chain().update_one({"_id": 3}, {"$set": {"previous": forged["hash"], "hash": forged_head["hash"]}})
    tamper("UPDATE audit_heads SET hash = %s WHERE number = 3", forged_head["hash"])
    assert verify()[0]
    assert f"No seal has the hash {three['hash']}" in verify("--head", three["hash"])[1]
    assert verify("--head", one["hash"])[0]


def test_a_missing_seal_is_found() -> None:
    first, _, last = three_seals()
    head = last["hash"]
    chain().delete_one({"_id": 2})
    assert "broken seal: Seal 2 is missing." in verify()[1]
    chain().delete_many({"_id": {"$gt": 1}})
    # The end of the chain is cut off. PostgreSQL has the hashes, and somebody may have kept the head.
    assert verify()[1] == "broken seal: Seal 2 is missing: PostgreSQL has its hash. (2 in all)\n"
    services.seal()
    assert "broken seal: Seal 2 is not the one whose hash PostgreSQL has." in verify()[1]
    chain().delete_many({})
    assert "broken seal: Seal 1 is missing: PostgreSQL has its hash. (3 in all)" in verify()[1]
    chain().insert_one(first)
    tamper("DELETE FROM audit_heads WHERE number > 1")
    assert verify()[0]
    assert "broken seal: No seal has the hash" in verify("--head", head)[1]


def test_a_head_that_a_crash_has_left_out_is_stored_later(monkeypatch: pytest.MonkeyPatch) -> None:
    write(2)
    with monkeypatch.context() as patched:
        patched.setattr(services, "_store_head", lambda seal: None)
        services.seal()
    assert not AuditHead.objects.exists()
    assert verify()[0]
    services.seal()
    assert AuditHead.objects.get().hash == queries.head()["hash"]


def test_removing_the_last_entry_is_found() -> None:
    ids = write(5)
    services.seal()
    tamper("DELETE FROM audit_entries WHERE id = %s", ids[-1])
    assert f"removed: Entry {ids[-1]} of " in verify()[1]


def test_an_id_that_two_entries_have_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such an entry is also found where one query for entries ends and the next begins."""
    monkeypatch.setattr(queries, "ENTRIES_PER_QUERY", 2)
    ids = write(4)
    services.seal()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_entries (id, at, role, action, patient_ids, outcome, channel)"
            " VALUES (%s, now() + interval '1 hour', 'doctor', 'patient.viewed', '{}', 'success', 'api')",
            [ids[1]],
        )
    assert f"inserted: Entry {ids[1]} (" in verify()[1]


@pytest.mark.parametrize("moment", ["1969-12-31", "6000-01-01", "infinity", "-infinity"])
def test_a_time_that_no_seal_can_name_is_refused(moment: str) -> None:
    """Such a time could not be packed into a leaf, so sealing would stop for good."""
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_entries (at, role, action, patient_ids, outcome, channel)"
            " VALUES (%s, 'doctor', 'patient.viewed', '{}', 'success', 'api')",
            [moment],
        )


def test_sealing_waits_for_an_entry_that_is_not_committed() -> None:
    """Sealing waits for an open transaction whose entry has a lower id than a committed one, and then gives up."""
    script = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute("INSERT INTO audit_entries (at, role, action, patient_ids, outcome, channel)"
                       " VALUES (now(), 'doctor', 'patient.viewed', '{}', 'success', 'api')")
    print("open", flush=True)
    sys.stdin.read()
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", script, dsn()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdin
    assert writer.stdout
    assert writer.stdout.readline() == "open\n"
    write(1)
    before = services.SEAL_TIMEOUT_SECONDS
    try:
        services.SEAL_TIMEOUT_SECONDS = 0.3
        with pytest.raises(CommandError, match="open too long"):
            call_command("seal_audit", verbosity=0)
    finally:
        services.SEAL_TIMEOUT_SECONDS = before
    assert queries.head()["_id"] == 0
    writer.stdin.close()
    assert writer.wait(10) == 0
    assert services.seal().entries == 2
    assert verify()[0]


def dsn() -> str:
    values = connection.get_connection_params()
    return f"host={values['host']} port={values.get('port') or 5432} dbname={values['dbname']} user={values['user']}"


WRITER = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    for number in range(int(sys.argv[2])):
        with connection.transaction():
            connection.execute("INSERT INTO audit_entries (at, role, action, patient_ids, outcome, channel)"
                               " VALUES (now(), 'doctor', 'patient.viewed', '{}', 'success', 'api')")
"""


def test_sealing_while_entries_are_written_leaves_none_out() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, dsn(), "400"]) for _ in range(4)]
    rounds = 0
    while any(writer.poll() is None for writer in writers):
        services.seal()
        rounds += 1
    assert [writer.returncode for writer in writers] == [0] * 4
    assert rounds > 3
    services.seal()
    sealed = [leaf.id for seal in queries.all_seals() for leaf in seals.unpack(seal["leaves"])]
    assert sealed == list(AuditEntry.objects.order_by("id").values_list("id", flat=True))
    assert len(sealed) == 1600
    assert verify()[0]


def test_two_processes_that_seal_at_once_make_one_chain() -> None:
    write(30)
    seal = "from audit import seals, services; seals.MAX_ENTRIES = 1; services.seal()"
    prepared = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'healthcare.settings'; django.setup();"
        "from django.db import connections;"
        f"connections['default'].settings_dict['NAME'] = {connection.settings_dict['NAME']!r};"
        f"connections['clinical'].settings_dict['NAME'] = {connections['clinical'].settings_dict['NAME']!r};"
    )
    both = [subprocess.Popen([sys.executable, "-c", prepared + seal], env=os.environ, cwd=root()) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert [seal["count"] for seal in queries.all_seals()] == [1] * 30
    assert verify()[0]


def root() -> Path:
    return Path(__file__).resolve().parents[2]

"""Archiving: old months move to files that can be verified, their partitions are dropped, crashes are repaired."""

import gzip
import json
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from audit import queries, seals, services
from healthcare import clock
from healthcare.audit_log import recorder
from healthcare.audit_log.models import AuditEntry, AuditPatient
from tests.audit.test_seals import chain, tamper, verify, write

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_audit_log", "old_months")]

OLD = ("2024-11", "2024-12", "2025-01")


@pytest.fixture
def old_months(transactional_db: None) -> Any:
    make_months(OLD)
    yield
    with connection.cursor() as cursor:
        for month in OLD:
            for table in ("audit_entries", "audit_patients"):
                cursor.execute(f"DROP TABLE IF EXISTS {table}_{month.replace('-', '_')}")


def make_months(months: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        for month in months:
            cursor.execute("SELECT audit_make_month(%s)", [f"{month}-01"])


def partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^audit_entries_20'")
        return {name.removeprefix("audit_entries_").replace("_", "-") for (name,) in cursor.fetchall()}


def write_in(monkeypatch: pytest.MonkeyPatch, month: str, number: int) -> None:
    """Write entries of a month that has ended."""
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: datetime.fromisoformat(f"{month}-15T12:00:00+00:00"))
        write(number)


def archive(directory: Path, before: str = "2025-02-01") -> str:
    out = StringIO()
    call_command("archive_audit", str(directory), before=date.fromisoformat(before), stdout=out)
    return out.getvalue()


@pytest.fixture
def three_months(own_audit_log: None, old_months: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, month in enumerate(OLD, start=3):
        write_in(monkeypatch, month, number)
    write(2)
    services.seal()


@pytest.mark.usefixtures("three_months")
def test_months_move_into_files(tmp_path: Path) -> None:
    output = archive(tmp_path, before="2025-01-20")
    assert output.splitlines() == [
        f"2024-11: 3 entries in {tmp_path / 'audit-2024-11.jsonl.gz'}",
        f"2024-12: 4 entries in {tmp_path / 'audit-2024-12.jsonl.gz'}",
    ]
    assert partitions() & set(OLD) == {"2025-01"}
    with gzip.open(tmp_path / "audit-2024-12.jsonl.gz") as file:
        lines = [json.loads(line) for line in file]
    assert [line["patient_ids"] for line in lines] == [["P0"], ["P1"], ["P2"], ["P3"]]
    assert {line["at"] for line in lines} == {"2024-12-15T12:00:00.000000+00:00"}
    manifest = json.loads((tmp_path / "audit-2024-12.manifest.json").read_text())
    assert (tmp_path / manifest["file"]).stat().st_mode & 0o777 == 0o600
    assert (manifest["entries"], manifest["sha256"]) == (4, services.hash_of_file(tmp_path / manifest["file"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "audit-2024-11.jsonl.gz", "audit-2024-11.manifest.json",
        "audit-2024-12.jsonl.gz", "audit-2024-12.manifest.json",
    ]  # fmt: skip
    whole, differences, summary = verify("--archive", str(tmp_path))
    assert (whole, differences) == (True, "")
    assert "7 are archived" in summary
    # The archiving itself is recorded in the audit log.
    assert list(AuditEntry.objects.filter(action="audit.archived").values_list("subject", flat=True)) == [
        "2024-11", "2024-12",
    ]  # fmt: skip
    assert archive(tmp_path, before="2025-01-20") == ""
    assert not AuditPatient.objects.filter(at__lt=datetime(2025, 1, 1, tzinfo=UTC)).exists()


def test_a_month_that_is_not_sealed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_in(monkeypatch, "2024-11", 3)
    with pytest.raises(CommandError, match="3 entries of 2024-11 are not sealed yet"):
        archive(tmp_path)
    assert "2024-11" in partitions()
    assert list(tmp_path.iterdir()) == []


def test_the_current_month_stays(tmp_path: Path) -> None:
    write(2)
    services.seal()
    assert archive(tmp_path, before="2999-01-01") == ""
    assert AuditEntry.objects.count() == 2


@pytest.mark.usefixtures("three_months")
def test_an_altered_month_is_not_archived(tmp_path: Path) -> None:
    tamper("UPDATE audit_entries SET role = 'admin' WHERE at < '2024-12-01' AND subject = 'P1'")
    with pytest.raises(CommandError, match=r"of 2024-11 is not what was sealed\. Run verify_audit"):
        archive(tmp_path)
    assert set(OLD) <= partitions()
    assert not (tmp_path / "audit-2024-11.jsonl.gz").exists()


@pytest.mark.usefixtures("three_months")
def test_a_changed_file_is_found(tmp_path: Path) -> None:
    archive(tmp_path)
    file = tmp_path / "audit-2025-01.jsonl.gz"
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    file.write_bytes(gzip.compress(b"".join(lines[:-1])))
    assert "in audit-2025-01.jsonl.gz is not what was sealed." in verify("--archive", str(tmp_path))[1]
    file.write_bytes(
        gzip.compress(b"".join([lines[0].replace(b'"anonymous"', b'"a"').replace(b'"shell"', b'"s"'), *lines[1:]]))
    )
    assert "in audit-2025-01.jsonl.gz is not what was sealed." in verify("--archive", str(tmp_path))[1]
    file.write_bytes(gzip.compress(b"".join(lines), compresslevel=1))
    assert "is not the file that was archived, though its entries are" in verify("--archive", str(tmp_path))[1]
    file.write_bytes(b"no archive")
    assert "audit-2025-01.jsonl.gz cannot be read" in verify("--archive", str(tmp_path))[1]
    file.unlink()
    assert "audit-2025-01.jsonl.gz cannot be read" in verify("--archive", str(tmp_path))[1]
    assert verify()[0]


@pytest.mark.usefixtures("three_months")
def test_a_month_dropped_without_an_archive_seal_is_found(tmp_path: Path) -> None:
    archive(tmp_path, before="2024-12-01")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE audit_patients_2024_12")
        cursor.execute("DROP TABLE audit_entries_2024_12")
    whole, differences, _ = verify()
    assert not whole
    assert "of 2024-12 was removed" in differences
    assert "(4 in all)" in differences
    # A forged archive seal does not help, because the chain contains a hash of each seal.
    head = queries.head()
    forged = {**head, "_id": head["_id"] + 1, "kind": "archive", "month": "2024-12", "count": 4, "file_hash": "0" * 64}
    chain().insert_one({**forged, "leaves": b""})
    assert "broken seal" in verify()[1]


@pytest.mark.usefixtures("three_months")
def test_a_crash_before_the_partitions_are_dropped_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(month: str, *, upto: int) -> bool:
        raise OSError(5, "Input/output error", "somewhere")

    with monkeypatch.context() as patched:
        patched.setattr(services, "_drop", crash)
        with pytest.raises(CommandError):
            archive(tmp_path)
    assert "2024-11" in partitions()
    assert queries.archive_seal_of("2024-11") is not None
    assert verify("--archive", str(tmp_path))[0]
    assert len(archive(tmp_path).splitlines()) == 3
    assert partitions() & set(OLD) == set()
    assert verify("--archive", str(tmp_path))[0]
    assert chain().count_documents({"kind": "archive"}) == 3


@pytest.mark.usefixtures("three_months")
def test_an_entry_that_arrives_after_the_file_was_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = services._drop

    def arrive_late(month: str, *, upto: int) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(clock, "now", lambda: datetime.fromisoformat(f"{month}-20T12:00:00+00:00"))
            recorder.record("patient.viewed", actor=None, patient_ids=["Plate"])
        return drop(month, upto=upto)

    monkeypatch.setattr(services, "_drop", arrive_late)
    archive(tmp_path, before="2024-12-01")
    assert list(AuditEntry.objects.filter(at__lt=datetime(2024, 12, 1, tzinfo=UTC)).values_list("patient_ids")) == [
        (["Plate"],)
    ]
    assert AuditPatient.objects.get(patient_id="Plate").at.month == 11
    services.seal()
    assert verify("--archive", str(tmp_path))[0]


@pytest.mark.usefixtures("three_months")
def test_a_crashed_run_can_continue_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The partitions are dropped only when the file is in the folder of the current run."""
    with monkeypatch.context() as patched:
        patched.setattr(services, "_drop", lambda month, *, upto: False)
        archive(tmp_path / "lost", before="2024-12-01")
    assert archive(tmp_path / "new", before="2024-12-01").startswith("2024-11: 3 entries")
    files = [tmp_path / folder / "audit-2024-11.jsonl.gz" for folder in ("lost", "new")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "2024-11" not in partitions()
    assert verify("--archive", str(tmp_path / "new"))[0]


def test_an_unreachable_database_is_reported_in_a_sentence(tmp_path: Path, settings: Settings) -> None:
    settings.ARCHIVE_DATABASE_URL = f"postgresql://nobody@/nothing?host={tmp_path}"
    with pytest.raises(CommandError, match=r"A database failed \(OperationalError\)"):
        archive(tmp_path)


@pytest.mark.usefixtures("three_months")
def test_a_month_that_is_archived_while_it_is_verified_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_seals = queries.archive_seals

    def just_before() -> Any:
        found = archive_seals()
        archive(tmp_path, before="2024-12-01")
        return found

    monkeypatch.setattr(queries, "archive_seals", just_before)
    assert verify()[1] == ""


@pytest.mark.usefixtures("three_months")
def test_an_entry_that_arrives_for_an_archived_month_stays_and_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an entry comes from an event that was a dead letter for months and was then delivered."""
    archive(tmp_path)
    write_in(monkeypatch, "2024-11", 1)
    services.seal()
    assert verify("--archive", str(tmp_path))[0]
    assert archive(tmp_path) == ""
    assert AuditEntry.objects.filter(at__lt=datetime(2024, 12, 1, tzinfo=UTC)).count() == 1
    assert verify("--archive", str(tmp_path))[0]
    tamper("DELETE FROM audit_entries WHERE at < '2024-12-01'")
    assert "removed" in verify()[1]


def test_an_entry_of_a_month_without_a_partition_moves_to_the_partition_once_it_exists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_in(monkeypatch, "2023-05", 2)
    services.seal()
    assert AuditEntry.objects.count() == 2
    make_months(("2023-05",))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM audit_entries_2023_05), (SELECT count(*) FROM audit_patients_2023_05)"
        )
        assert cursor.fetchone() == (2, 2)
        cursor.execute("DROP TABLE audit_patients_2023_05")
    assert AuditEntry.objects.count() == 2
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE audit_entries_2023_05")


def test_sealing_makes_the_coming_months() -> None:
    now = seals.month_number(clock.now())
    assert {seals.month_name(now + ahead) for ahead in range(services.MONTHS_AHEAD + 1)} <= partitions()
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_drop_month(%s, 0)", ["2025-01-01"])
    last = seals.month_name(now + services.MONTHS_AHEAD)
    with connection.cursor() as cursor:
        for table in ("audit_entries", "audit_patients"):
            cursor.execute(f"DROP TABLE {table}_{last.replace('-', '_')}")
    out = StringIO()
    call_command("seal_audit", stdout=out)
    assert f"The audit log has a new partition for {last}." in out.getvalue()
    assert last in partitions()


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        call_command("archive_audit", str(tmp_path), "--before", "soon")
    (tmp_path / "file").touch()
    write(1)
    with pytest.raises(CommandError, match="exists"):
        archive(tmp_path / "file")
    with pytest.raises(CommandError, match="is not a folder"):
        call_command("verify_audit", "--archive", str(tmp_path / "nowhere"))

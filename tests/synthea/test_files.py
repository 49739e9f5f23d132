from pathlib import Path

import pytest

from datasets.synthea.files import MAX_CELL_CHARACTERS, RowRejected, UnusableExport, open_export
from tests.synthea.exports import SAMPLE, write_export


def _organizations(tmp_path: Path, content: bytes):
    """Return the records of an organizations.csv with this content."""
    (write_export(tmp_path / "export") / "organizations.csv").write_bytes(content)
    return list(open_export(tmp_path / "export")["organizations"].records())


def test_sample_has_every_file():
    files = open_export(SAMPLE)
    assert {name: sum(1 for _ in file.records()) for name, file in files.items()} == {
        "patients": 9,
        "providers": 22,
        "organizations": 22,
        "encounters": 140,
        "conditions": 87,
        "medications": 45,
        "claims": 185,
    }


def test_missing_directory(tmp_path):
    with pytest.raises(UnusableExport, match="not a directory"):
        open_export(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["patients", "providers", "encounters"])
def test_missing_file_that_is_required(tmp_path, name):
    with pytest.raises(UnusableExport, match=rf"{name}\.csv is missing"):
        open_export(write_export(tmp_path / "export", **{name: None}))


def test_files_that_may_be_missing(tmp_path):
    optional = dict.fromkeys(("organizations", "conditions", "medications", "claims"))
    files = open_export(write_export(tmp_path / "export", **optional))
    assert files.keys() == {"patients", "providers", "encounters"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty and has no header"),
        (b"Id,NAME\r\n1,X\r\n", "has no column STATE"),
        ("Id,STATE\r\n1,MA\r\n".encode("utf-16"), "in UTF-8"),
        (b"Id,STATE,STATE\r\n", "names a column twice"),
    ],
)
def test_file_that_is_unusable(tmp_path, content, reason):
    with pytest.raises(UnusableExport, match=reason):
        _organizations(tmp_path, content)


def test_byte_order_mark_and_header_alone(tmp_path):
    assert _organizations(tmp_path, b"\xef\xbb\xbfId,STATE\r\n") == []


def test_lines_are_right_after_cells_with_line_breaks(tmp_path):
    content = b'Id,STATE\r\no1,"M\r\nA"\r\n\r\no2,"say ""MA"", yes"\r\no3,MA'
    records = _organizations(tmp_path, content)
    assert [(record.line, record.row()["STATE"]) for record in records] == [
        (2, "M\r\nA"),
        (5, 'say "MA", yes'),
        (6, "MA"),
    ]


def test_a_broken_row_is_rejected_alone(tmp_path):
    huge = b"x" * (MAX_CELL_CHARACTERS + 1)
    content = b"Id,STATE\no1\no2,MA,x\no3,M\xe4\n" + b"o4," + huge + b"\no5,MA\n"
    records = _organizations(tmp_path, content)
    faults = [(record.line, record.fault) for record in records]
    assert [line for line, _ in faults] == [2, 3, 4, 5, 6]
    assert faults[0][1] == "Has 1 cells where the header has 2."
    assert faults[1][1] == "Has 3 cells where the header has 2."
    assert faults[2][1] == "Is not UTF-8."
    assert "field larger than field limit" in faults[3][1]
    assert records[4].row() == {"Id": "o5", "STATE": "MA"}
    with pytest.raises(RowRejected, match="Has 1 cells"):
        records[0].row()


def test_progress_counts_bytes(tmp_path):
    file = open_export(SAMPLE)["encounters"]
    progress: list[int] = []
    list(file.records(progress.append))
    assert progress[-1] == file.size_bytes

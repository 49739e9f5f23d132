"""Data files: every folder of them explains where the data comes from, and every file is read by a module."""

from pathlib import Path

import pytest

import datasets
from datasets.data_files import read_table, read_toml

FOLDERS = sorted(Path(datasets.__file__).parent.glob("*/data"))
FILES = [file for folder in FOLDERS for file in sorted(folder.iterdir()) if file.name != "README.md"]


def test_there_are_data_files() -> None:
    assert [folder.parent.name for folder in FOLDERS] == ["seed", "synthea"]
    assert len(FILES) == 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_readme_describes_each_file(file: Path) -> None:
    assert f"`{file.name}`" in (file.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_read_by_a_module(file: Path) -> None:
    modules = [module.read_text(encoding="utf-8") for module in file.parent.parent.glob("*.py")]
    assert any(f'"{file.name}"' in text for text in modules)


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix == ".csv"], ids=lambda file: file.name)
def test_tables_have_no_stray_spaces_and_no_row_twice(file: Path) -> None:
    rows = read_table(file)
    assert rows
    for row in rows:
        assert None not in row.values(), "a row has fewer cells than the header"
        assert None not in row, "a row has more cells than the header"
        assert all(cell == cell.strip() for cell in row.values())
    # The rotation of specialties repeats the common ones on purpose.
    if file.name != "specialty_rotation.csv":
        first_column = [next(iter(row.values())) for row in rows]
        assert len(set(first_column)) == len(first_column)


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix == ".toml"], ids=lambda file: file.name)
def test_documents_have_a_comment_that_names_the_readme(file: Path) -> None:
    assert read_toml(file)
    head = file.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "README.md" in head

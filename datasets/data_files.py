"""Readers for the data files of this package: CSV tables with a header, and TOML documents, all in UTF-8."""

import csv
import tomllib
from pathlib import Path
from typing import Any

#: Separates the values of a CSV cell that holds several.
SEPARATOR = "; "


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as dicts by column name, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file."""
    with path.open("rb") as file:
        return tomllib.load(file)


def split_cell(cell: str) -> tuple[str, ...]:
    """Return the values of a CSV cell that holds several."""
    return tuple(cell.split(SEPARATOR))

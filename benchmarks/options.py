"""Options that the benchmark commands share: files for the figures and for a chart."""

import json
from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import CommandError

CHART_SUFFIXES = (".png", ".svg", ".pdf")


def add_file_options(parser: ArgumentParser, *, chart: str = "draw a chart of the figures") -> None:
    """Add --json and --chart."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument(
        "--chart", type=Path, metavar="FILE", help=f"{chart} to FILE (PNG, SVG or PDF, depending on its suffix)"
    )


def require_writable_files(json_file: Path | None, chart: Path | None) -> None:
    """Check the two options before anything is measured. Raises: CommandError."""
    for file in (json_file, chart):
        if file is not None and not file.parent.is_dir():
            raise CommandError(f"There is no folder {file.parent}.")
    if chart is not None and chart.suffix not in CHART_SUFFIXES:
        raise CommandError("--chart must name a file that ends in .png, .svg or .pdf.")


def write_json(figures: object, file: Path, *, indent: int = 2) -> None:
    file.write_text(json.dumps(figures, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")

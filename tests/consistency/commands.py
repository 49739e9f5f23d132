"""Running `manage.py check_consistency` in a test."""

import io
from typing import NamedTuple

from django.core.management import CommandError, call_command


class Said(NamedTuple):
    """What the command said and how it ended; `figures` by check: compared, differences, repaired, left."""

    code: int
    text: str
    error: str

    @property
    def figures(self) -> dict[str, tuple[int, ...]]:
        lines = [line.split() for line in self.text.splitlines()]
        rows = [cells for cells in lines if len(cells) == 5 and cells[1].replace(",", "").isdigit()]
        return {cells[0]: tuple(int(cell.replace(",", "")) for cell in cells[1:]) for cells in rows}

    @property
    def differences(self) -> dict[str, int]:
        """The checks that found something, and how much."""
        return {name: row[1] for name, row in self.figures.items() if row[1]}


def check(*options: str, out: io.StringIO | None = None) -> Said:
    out = out or io.StringIO()
    try:
        call_command("check_consistency", *options, stdout=out)
    except CommandError as error:
        return Said(error.returncode, out.getvalue(), str(error))
    return Said(0, out.getvalue(), "")


def assert_clean(said: Said) -> None:
    assert (said.code, said.differences) == (0, {}), said.text
    assert len(said.figures) == 5

"""Runs `manage.py check_consistency` in a test."""

import io
from typing import NamedTuple

from django.core.management import CommandError, call_command


class CommandResult(NamedTuple):
    """Exit code and output of the command. `figures` has for each check: compared, differences, repaired, left."""

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
        """Return the number of differences of each check that found some."""
        return {name: row[1] for name, row in self.figures.items() if row[1]}


def check(*options: str, out: io.StringIO | None = None) -> CommandResult:
    out = out or io.StringIO()
    try:
        call_command("check_consistency", *options, stdout=out)
    except CommandError as error:
        return CommandResult(error.returncode, out.getvalue(), str(error))
    return CommandResult(0, out.getvalue(), "")


def assert_clean(result: CommandResult) -> None:
    assert (result.code, result.differences) == (0, {}), result.text
    assert len(result.figures) == 5

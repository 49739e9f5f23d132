"""The examples of docs/fields.md are what the parsers do."""

import re
from pathlib import Path

import pytest

from prescriptions.dosage import parse_dosage
from prescriptions.frequency import parse_frequency

FIELDS = (Path(__file__).resolve().parents[2] / "docs" / "fields.md").read_text()


def _examples(heading: str, *, column: str) -> list[str]:
    """The code spans of one section's table: the last column of "accepted", the first of "refused"."""
    section = FIELDS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    accepted, refused = re.split(r"\n\| refused \|.*\n", section)
    rows = [row.split("|") for row in (accepted if column == "accepted" else refused).splitlines()]
    cells = [row[2 if column == "accepted" else 1] for row in rows if len(row) > 2]
    return [example for cell in cells for example in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(("heading", "parse"), [("Dosage", parse_dosage), ("Frequency", parse_frequency)])
def test_documented_examples_are_accepted_and_refused(heading, parse):
    accepted, refused = _examples(heading, column="accepted"), _examples(heading, column="refused")
    assert len(accepted) > 20
    assert len(refused) > 5
    assert [parse(example) for example in accepted] == accepted
    for example in refused:
        with pytest.raises(ValueError, match=r"."):
            parse(example)

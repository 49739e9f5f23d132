"""The parsers agree with the examples in docs/fields.md."""

import re
from pathlib import Path

import pytest

from prescriptions.dosage import parse_dosage
from prescriptions.frequency import parse_frequency

FIELDS = (Path(__file__).resolve().parents[2] / "docs" / "fields.md").read_text()


def _examples(heading: str, *, column: str) -> list[str]:
    """Return the code spans in the table of a section: the last column if "accepted", the first if "refused"."""
    section = FIELDS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    accepted, refused = re.split(r"\n\| refused \|.*\n", section)
    rows = [row.split("|") for row in (accepted if column == "accepted" else refused).splitlines()]
    texts = [row[2 if column == "accepted" else 1] for row in rows if len(row) > 2]
    return [example for text in texts for example in re.findall(r"`([^`]+)`", text)]


@pytest.mark.parametrize(("heading", "parse"), [("Dosage", parse_dosage), ("Frequency", parse_frequency)])
def test_documented_examples_are_accepted_and_refused(heading, parse):
    accepted, refused = _examples(heading, column="accepted"), _examples(heading, column="refused")
    assert len(accepted) > 20
    assert len(refused) > 5
    assert [parse(example) for example in accepted] == accepted
    for example in refused:
        with pytest.raises(ValueError, match=r"."):
            parse(example)

"""What the documentation tells people to type is there, and every page that it points at."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_COMMAND = re.compile(r"manage\.py ([a-z_]+)((?: +[^\s`|…#)]+)*)")
#: Of a table that shows alternatives at once, and sentences about a command in general.
_NO_LINE = re.compile(r"[\\[\]|…]")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """The `manage.py …` lines of shell blocks, whole, and the names in the text beside them."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    typed = [part for block in blocks for line in block.splitlines() for part in line.split("&&")]
    lines = [part.split("manage.py ", 1)[1] for part in typed if "manage.py " in part]
    found = [(shlex.split(line, comments=True)[0], shlex.split(line, comments=True)[1:]) for line in lines]
    return found + [(name, []) for name, _ in _COMMAND.findall(re.sub(r"```.*?```", "", text, flags=re.S))]


LINES = sorted({(page.name, name, *words) for page in PAGES for name, words in commands_of(page.read_text()) if words})


def test_there_are_lines_to_hold() -> None:
    assert len(LINES) > 20


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_command_takes_what_a_page_gives_it(line: tuple[str, ...]) -> None:
    _page, name, *words = line
    command = load_command_class(get_commands()[name], name)
    # Ends the test with the command's own sentence when it does not.
    command.create_parser("manage.py", name).parse_args([word for word in words if word not in (">", "|")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    known = set(get_commands())
    assert {name for name, _ in commands_of(text)} <= known
    for target in _LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / unquote(path)).resolve() if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text()), target


def anchors(text: str) -> set[str]:
    """Of headings, as a forge makes them."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_every_command_of_ours_is_documented() -> None:
    ours = {name for name, app in get_commands().items() if (ROOT / str(app)).is_dir()}
    told = (ROOT / "docs" / "commands.md").read_text()
    assert not {name for name in ours if f"manage.py {name}" not in told} - {"start"}

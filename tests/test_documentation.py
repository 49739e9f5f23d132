"""Tests that the commands in the documentation exist with their options, and that its links lead to pages."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_COMMAND = re.compile(r"manage\.py ([a-z_]+)((?: +[^\s`|…#)]+)*)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """Return the `manage.py …` commands of shell blocks with their arguments, and the commands that the text names."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    parts = [part for block in blocks for line in block.splitlines() for part in line.split("&&")]
    lines = [part.split("manage.py ", 1)[1] for part in parts if "manage.py " in part]
    found = [(shlex.split(line, comments=True)[0], shlex.split(line, comments=True)[1:]) for line in lines]
    return found + [(name, []) for name, _ in _COMMAND.findall(re.sub(r"```.*?```", "", text, flags=re.S))]


LINES = sorted({(page.name, name, *words) for page in PAGES for name, words in commands_of(page.read_text()) if words})


def test_documentation_contains_commands() -> None:
    assert len(LINES) > 20


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_command_accepts_the_documented_arguments(line: tuple[str, ...]) -> None:
    _page, name, *words = line
    command = load_command_class(get_commands()[name], name)
    # An invalid argument ends the test with the command's own message.
    command.create_parser("manage.py", name).parse_args([word for word in words if word not in (">", "|")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_links_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    known = set(get_commands())
    assert {name for name, _ in commands_of(text)} <= known
    for target in _LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / unquote(path)).resolve() if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked.read_text()), target


def anchors(text: str) -> set[str]:
    """Return the anchors that a forge generates for headings."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_every_command_of_the_project_is_documented() -> None:
    names = {name for name, app in get_commands().items() if (ROOT / str(app)).is_dir()}
    documented = (ROOT / "docs" / "commands.md").read_text()
    assert not {name for name in names if f"manage.py {name}" not in documented} - {"start"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_a_page_cites_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = set(re.findall(r"\btests/[\w/]+\.py\b", text))
    assert {file for file in files if not (ROOT / file).is_file()} == set()
    if page == ROOT / "docs" / "security.md":
        return  # tests/security/test_surface.py reads its table
    cited = set(re.findall(r"`(?:[\w/]+\.py::)?(test_\w+)`", text))
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    names = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    names |= {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert cited - names == set()

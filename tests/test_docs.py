"""Documentation that a machine can hold to its word."""

import re
from pathlib import Path

import pytest

from mingjing.cli import build_parser

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the usual Markdown renderers form them."""
    found = set()
    for heading in _HEADING.findall(page.read_text()):
        kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Each relative link leads to a file in the project, and its anchor to a heading."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        missing = not target.exists()
        if missing or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_command_is_documented() -> None:
    """docs/commands.md has a section for each subcommand, and for nothing else."""
    commands = next(action for action in build_parser()._actions if action.choices).choices
    text = (ROOT / "docs" / "commands.md").read_text()
    sections = re.findall(r"^## `mingjing (\w+)", text, re.MULTILINE)
    assert sorted(sections) == sorted(commands)


def test_every_page_is_on_the_map() -> None:
    """docs/README.md leads to each page of docs."""
    text = (ROOT / "docs" / "README.md").read_text()
    missing = [
        str(path.relative_to(ROOT / "docs"))
        for path in (ROOT / "docs").rglob("*.md")
        if path.name != "README.md" and f"({path.relative_to(ROOT / 'docs')})" not in text
    ]
    assert missing == []


def test_decisions_are_numbered_without_holes() -> None:
    """ADRs are 0001, 0002, … and each states its status."""
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [p.name[:4] for p in decisions] == [f"{n:04}" for n in range(1, len(decisions) + 1)]
    assert [p.name for p in decisions if "\nStatus: " not in p.read_text()] == []


def test_make_targets_named_in_the_documentation_exist() -> None:
    """Every `make …` that a page tells people to type is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert named - targets == set()

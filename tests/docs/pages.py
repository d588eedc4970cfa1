"""The pages that people read, and what is in them: fenced blocks, links, headings."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: the page it is on, its language and its text."""

    page: Path
    language: str
    text: str


def label(value: object) -> str:
    """How a case is named."""
    if isinstance(value, Block):
        return f"{value.page.name}:{value.text.strip().splitlines()[0][:60]}"
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages."""
    found = [Block(page, *match.groups()) for page in PAGES for match in _FENCE.finditer(page.read_text("utf-8"))]
    return [block for block in found if block.language in languages]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """What a page links to."""
    return _LINK.findall(re.sub(r"`[^`]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

"""Reads the blocks of code on a page of the documentation; ``page_run`` beside this runs them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^>\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$|^<!-- run\n(?P<hidden>.*?)^-->$",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(r"# (\S+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """One block of code; ``mark`` is the comment in the line before it."""

    language: str
    text: str
    mark: str = ""

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if it is one."""
        found = _FILE.match(self.text)
        return found[1] if found else None


def block_of(found: re.Match[str]) -> Block:
    if found["hidden"] is not None:
        return Block("sh", found["hidden"])
    return Block(found["language"], found["text"], found["mark"] or "")


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return [block_of(found) for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page may say after ``#``, as GitHub makes it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}

"""Writes a report as Markdown for a review comment: short, whatever it tells, and without markup of anybody else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from routewright.engine.report import ReportTree, escape_markdown, escape_summary

from .page import Detail, Page, Section
from .shown import Shown
from .table import numeric_columns

MOST_BYTES: Final = 65_000
"""GitHub takes comments of up to 65,536 characters."""

_TOO_SMALL: Final = 500
"""In so many bytes nothing is told that would help."""

_LONGEST: Final = 300
"""A name or line of more characters is cut."""

_LEFT_OUT: Final = "\n_More does not fit into a comment: another form of this report has all of it._\n"


def page_markdown(page: Page) -> str:
    """The page; what does not fit is left out, and a last line says so."""
    room, written, left_out = MOST_BYTES - len(_LEFT_OUT.encode()), "", False
    for block in _blocks(page):
        size = len(block.encode())
        if size <= room:
            written, room = written + block, room - size
        else:
            left_out = True
        if room < _TOO_SMALL:
            return written + _LEFT_OUT
    return written + (_LEFT_OUT if left_out else "")


def _blocks(page: Page) -> Iterator[str]:
    """Pieces of the page, each of which is whole by itself."""
    yield f"### {_cut(page.title)}\n"
    if page.summary:
        first, *others = map(_cut, page.summary)
        yield f"\n**{first}**\n"
        yield "\n" + "".join(f"- {line}\n" for line in others) if others else ""
    for section in page.sections:
        yield _section(section)
        yield from _details(section.details)
    yield "\n" + "".join(f"- {_cut(line)}\n" for line in (*page.facts, *page.notices))


def _section(section: Section) -> str:
    lines = [line for line in (section.tells, section.note) if line]
    text = f"\n#### {_cut(section.title)}\n" + "".join(f"\n{_cut(line)}\n" for line in lines)
    if section.shown is not None:
        text += f"\n{_table(section.shown, section.bad_rows)}"
    return text + ("\n" + "".join(f"- {_cut(line)}\n" for line in section.lines) if section.lines else "")


def _table(shown: Shown, bad_rows: Collection[int]) -> str:
    sides = ["---:" if one else "---" for one in numeric_columns(shown.header, shown.rows)]
    body = [
        [f"**{cell}**" if at in bad_rows and cell else cell for cell in map(_cut, row)]
        for at, row in enumerate(shown.rows)
    ]
    lines = [list(map(_cut, shown.header)), sides, *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _details(details: Sequence[Detail]) -> Iterator[str]:
    for detail in details:
        trees = "".join(_bullets(tree, "") for tree in detail.trees)
        yield (
            f"\n<details><summary>{escape_summary(_shortened(detail.title))}</summary>\n\n{trees}\n"
            f"`{detail.command}`\n\n</details>\n"
        )


def _bullets(tree: ReportTree, indent: str) -> str:
    below = "".join(_bullets(child, indent + "  ") for child in tree.children)
    return f"{indent}- {_cut(tree.label)}\n{below}"


def _cut(text: str) -> str:
    return escape_markdown(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

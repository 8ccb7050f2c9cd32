"""Trees of labels: drawn with lines for a terminal, or written as Markdown for a review comment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Final

from .escapes import escape_flat, escape_markdown

_NARROWEST: Final = 24
"""Text is never squeezed below this many characters, however deep it stands."""


@dataclass(slots=True)
class ReportTree:
    """A line and the lines below it."""

    label: str
    children: list[ReportTree] = field(default_factory=list)

    def add(self, label: str, children: Iterable[str] = ()) -> ReportTree:
        """A line below this one, with plain lines below it."""
        child = ReportTree(label, [ReportTree(text) for text in children])
        self.children.append(child)
        return child


def render_tree(tree: ReportTree) -> str:
    """The tree drawn with lines, without a trailing newline."""
    return "\n".join(guides + text for guides, text in wrapped_tree(tree))


def wrapped_tree(tree: ReportTree, window: int | None = None) -> Iterator[tuple[str, str]]:
    """The tree's lines, each as its guides (the drawn part on the left) and its text.

    They are wrapped to a ``window`` of so many characters, where a branch stays a branch.
    """
    for text in _wrapped(tree.label, window):
        yield "", text
    yield from _branches(tree, "", window)


def render_markdown(tree: ReportTree) -> str:
    """The tree as a heading and a nested list."""
    return "\n".join([f"### {escape_markdown(tree.label)}", "", *_bullets(tree, "")])


def _branches(tree: ReportTree, indent: str, window: int | None) -> Iterator[tuple[str, str]]:
    for child in tree.children:
        last = child is tree.children[-1]
        below = indent + ("    " if last else "│   ")
        first, *others = _wrapped(child.label, None if window is None else window - len(below))
        yield indent + ("└── " if last else "├── "), first
        for text in others:
            yield below + ("│ " if child.children else "  "), text
        yield from _branches(child, below, window)


def _wrapped(text: str, room: int | None) -> list[str]:
    text = escape_flat(text)
    if room is None or len(text) <= room:
        return [text]
    # Two characters less: the lines after the first stand two to the right.
    width = max(room - 2, _NARROWEST)
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _bullets(tree: ReportTree, indent: str) -> Iterator[str]:
    for child in tree.children:
        yield f"{indent}- {escape_markdown(child.label)}"
        yield from _bullets(child, indent + "  ")

"""An outline in, lines of a tree out, wrapped to a window: on a terminal a branch stays a branch."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from routewright.engine.report import escape_flat

if TYPE_CHECKING:
    from routewright.engine.explain import ReportTree


_NARROWEST = 24
"""Text is never squeezed below this many characters, however deep it stands."""


def wrapped_tree(tree: ReportTree, window: int | None = None) -> Iterator[tuple[str, str]]:
    """The tree's lines, each as its guides (the drawn part on the left) and its text.

    Without a window no line is wrapped: the lines are then those of ``render_tree``.
    """
    for text in _wrapped(tree.label, window):
        yield "", text
    yield from _branches(tree, "", window)


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

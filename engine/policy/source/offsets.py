"""Finds the place in the file of each character of a scalar.

An expression inside YAML is parsed as its own text; its problems are reported where the author wrote it, also
inside quotes with escapes, in folded text and in block scalars.
"""

from __future__ import annotations

import re

from .document import Document, Node

_BLOCK_HEADER = re.compile(r"[|>][^\n]*\n")
_ESCAPE_LENGTH = {"x": 4, "u": 6, "U": 10}
_ESCAPED_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_ESCAPED_BREAK = re.compile(r"\\\n\s*")


def text_offsets(document: Document, node: Node) -> list[int]:
    """Offsets into ``document.text``, one for each character of ``node.value`` and one for its end.

    The scalar's value is followed through its source: line folding and indentation change only white space,
    so every other character stands in the source in the same order.
    """
    text, value = document.text, str(node.value)
    at, end = node.start, node.end
    if node.style in ("'", '"'):
        at += 1
        end -= 1
    elif node.style in ("|", ">"):
        header = _BLOCK_HEADER.match(text, at)
        at = header.end() if header else at
    places: list[int] = []
    for character in value:
        if node.style == '"':
            at = _after_escaped_breaks(text, at, end)
        is_escape = node.style == '"' and text.startswith("\\", at)
        if character.isspace() and not is_escape:
            places.append(min(at, end))
            if at < end and text[at].isspace():
                at += 1
            continue
        if not is_escape:
            while at < end and text[at].isspace():
                at += 1
            if node.style == '"':
                at = _after_escaped_breaks(text, at, end)
        places.append(min(at, end))
        at += _source_length(text, at, node.style)
    places.append(min(at, end))
    return places


def _after_escaped_breaks(text: str, at: int, end: int) -> int:
    """Past line breaks that a backslash hides: they join lines and stand for no character."""
    while (hidden := _ESCAPED_BREAK.match(text, at, end)) is not None:
        at = hidden.end()
    return at


def _source_length(text: str, at: int, style: str | None) -> int:
    """How many source characters stand for one character of the value."""
    if style == "'" and text.startswith("''", at):
        return 2
    if style == '"' and text.startswith("\\", at):
        if _ESCAPED_PAIR.match(text, at):
            return 12
        return _ESCAPE_LENGTH.get(text[at + 1 : at + 2], 2)
    return 1

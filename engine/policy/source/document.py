"""What a YAML file becomes: nodes with their places, and the places of problems. Reads no files."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Any

from ...report import Problem

_PROPERTIES = re.compile(r"(?:[!&][^\s]*[ \t\n]+){1,2}\Z")

Path = tuple[str | int, ...]


class SourceText:
    """A file's text and the name it is reported under; finds the line and column of an offset.

    Lines are cut once, and every problem of a line shares its text: a hostile file may have one line and very
    many mistakes.
    """

    __slots__ = ("_lines", "_starts", "name", "text")

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        # Only a line feed ends a line: editors count so, whatever else YAML takes for a break.
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines[:-1]:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def line_of(self, offset: int) -> int:
        """The number of the line, from 1, that holds ``text[offset]``."""
        return bisect_right(self._starts, offset)

    def line_before(self, offset: int) -> str:
        """The line above the one that holds ``text[offset]``, empty where there is none."""
        line = self.line_of(offset)
        return self._lines[line - 2] if line > 1 else ""

    def place(self, problem: Problem, start: int, end: int) -> Problem:
        """The problem with its line, column and source line for ``text[start:end]``.

        What stands at the end of the text is placed after its last character.
        """
        start = min(start, len(self.text.rstrip("\n")) if start >= len(self.text) else start)
        line = self.line_of(start)
        source_line, first = self._lines[line - 1], self._starts[line - 1]
        return replace(
            problem,
            source=self.name,
            line=line,
            column=start - first + 1,
            source_line=source_line,
            width=max(1, min(end, first + len(source_line)) - start),
        )


@dataclass(slots=True)
class Node:
    """One YAML node: its plain value, where it is written, and how.

    ``start`` and ``end`` are offsets into the text. ``key_start`` is the offset of a mapping entry's key.
    ``style`` is None for plain scalars, else ``'``, ``"``, ``|`` or ``>``. ``height`` counts the levels below,
    those behind aliases included. ``lost`` are the keys of parts that were there but could not be read.
    """

    value: Any
    start: int
    end: int
    style: str | None = None
    tag: str | None = None
    anchor: str | None = None
    alias: bool = False
    key_start: int | None = None
    key_end: int | None = None
    height: int = 0
    children: dict[str | int, Node] = field(default_factory=dict)
    lost: frozenset[str | int] = frozenset()

    def plain(self) -> Any:
        """The value without positions: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.children.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.children.values()]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its text and its tree."""

    written: SourceText
    root: Node
    problems: tuple[Problem, ...] = ()
    """What was wrong but could be read past: duplicate keys, unfit keys, tags, numbers that are not finite."""

    @property
    def text(self) -> str:
        """The text that offsets count in: line ends are ``\\n``, and there is no byte-order mark."""
        return self.written.text

    @property
    def source(self) -> str:
        """The name that the file is reported under."""
        return self.written.name

    def node_at(self, path: Path) -> Node:
        """The node at ``path``; where the path leads on into nothing, the last node that exists."""
        node = self.root
        for step in path:
            child = node.children.get(step)
            if child is None:
                return node
            node = child
        return node

    def place(self, problem: Problem, start: int, end: int) -> Problem:
        """The problem with its line, column and source line for ``text[start:end]``."""
        return self.written.place(problem, start, end)


def properties_start(text: str, start: int) -> int:
    """Where the tag and the anchor before a node begin; ``start`` where it has none."""
    found = _PROPERTIES.search(text, max(0, start - 200), start)
    return found.start() if found is not None else start

"""Rows of cells in, lines out: in columns, or one cell a line where the window is too narrow for columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

GAP = 2
"""Blanks between two columns."""

_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?( ms)?")
_NO_VALUE = frozenset({"", "null", "unknown"})

Rows = Sequence[Sequence[str]]


def column_lines(header: Sequence[str], rows: Rows) -> Iterator[str]:
    """A header, a rule, and a line for each row; columns of numbers are set to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    right = numeric_columns(header, rows)
    for row in (header, ["-" * width for width in widths], *rows):
        cells = zip(row, widths, right, strict=True)
        yield (" " * GAP).join(c.rjust(w) if r else c.ljust(w) for c, w, r in cells).rstrip()


def stacked_lines(header: Sequence[str], rows: Rows) -> Iterator[str]:
    """For each row its first cell, and below it the others that are not empty, each after its name."""
    width = max(map(len, header))
    for number, (first, *others) in enumerate(rows, start=1):
        yield first or f"({number})"
        for name, cell in zip(header[1:], others, strict=True):
            if cell:
                yield f"  {name.ljust(width)}  {cell}"


def fits(header: Sequence[str], rows: Rows, window: int) -> bool:
    """Whether columns fit into a window of that many characters without breaking a word."""
    longest = [
        max(len(word) for cell in column for word in cell.split(" "))
        for column in zip(header, *rows, strict=True)
    ]
    return sum(longest) + GAP * (len(longest) - 1) <= window


def numeric_columns(header: Sequence[str], rows: Rows) -> list[bool]:
    """For each column whether all its values are numbers, and it has some."""
    right = []
    for index in range(len(header)):
        cells = [row[index] for row in rows if row[index] not in _NO_VALUE]
        right.append(bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells))
    return right

"""Lays out tables: in columns, wrapped to a window, or one cell a line where the window is too narrow for that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

GAP = 2
"""Blanks between two columns."""

MAX_LINES = 3
"""A row of more lines is hard to follow from column to column."""

_NARROWEST = 24
"""A cell is never squeezed below this many characters."""

_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?( (ms|s|%))?")
_NO_VALUE = frozenset({"", "null", "unknown"})

Rows = Sequence[Sequence[str]]


def column_lines(header: Sequence[str], rows: Rows, widths: Sequence[int] | None = None) -> Iterator[str]:
    """The lines of a header, a rule and the rows; columns of numbers are set to the right.

    Without ``widths`` each column is as wide as its longest cell; with them, cells are wrapped between words.
    """
    widths = natural_widths(header, rows) if widths is None else widths
    right = numeric_columns(header, rows)
    for row in (
        header,
        ["-" * width if name else "" for name, width in zip(header, widths, strict=True)],
        *rows,
    ):
        yield from row_lines(row, widths, right)


def row_lines(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    """The lines of one row in columns of these widths; ``right`` says which are set to the right."""
    cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        aligned = zip(parts, widths, right, strict=True)
        yield (" " * GAP).join(p.rjust(w) if r else p.ljust(w) for p, w, r in aligned).rstrip()


def stacked_lines(header: Sequence[str], rows: Rows, window: int, *, first_number: int = 1) -> Iterator[str]:
    """For each row its first cell, and below it the others that are not empty, each after its name."""
    width = max(map(len, header))
    room = max(window - width - 2 * GAP, _NARROWEST)
    for number, (first, *others) in enumerate(rows, start=first_number):
        yield first or f"({number})"
        for name, cell in zip(header[1:], others, strict=True):
            if cell:
                first_line, *rest = _wrapped(cell, room)
                yield f"  {name.ljust(width)}  {first_line}"
                yield from (f"{' ' * (width + 2 * GAP)}{line}" for line in rest)


def natural_widths(header: Sequence[str], rows: Rows) -> list[int]:
    """The length of the longest cell of each column."""
    return [max(map(len, column)) for column in zip(header, *rows, strict=True)]


def fitted_widths(header: Sequence[str], rows: Rows, window: int) -> list[int] | None:
    """Widths of columns that fit into a window of that many characters, the widest being narrowed first.

    None if that needs a word to be broken, or a row of more than ``MAX_LINES`` lines.
    """
    widths = natural_widths(header, rows)
    least = [
        max(len(word) for cell in column for word in cell.split(" "))
        for column in zip(header, *rows, strict=True)
    ]
    room = window - GAP * (len(widths) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda index: (widths[index] > least[index], widths[index]))
        widths[widest] -= 1
    tallest = max(
        (len(_wrapped(cell, width)) for row in rows for cell, width in zip(row, widths, strict=True)),
        default=1,
    )
    return widths if tallest <= MAX_LINES else None


def numeric_columns(header: Sequence[str], rows: Rows) -> list[bool]:
    """For each column whether all its values are numbers, and it has some."""
    right = []
    for index in range(len(header)):
        cells = [row[index] for row in rows if row[index] not in _NO_VALUE]
        right.append(bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells))
    return right


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]

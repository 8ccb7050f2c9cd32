"""Writes figures as Markdown tables whose columns line up, and replaces the generated part of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from timing import Ratio

__all__ = ["NOT_BUILT", "Bar", "duration", "table", "times_as", "verdict", "with_block"]

NOT_BUILT = "not built"


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for a ratio or for seconds. ``strict``: the limit itself does not hold."""

    limit: float
    text: str
    strict: bool = False

    def holds(self, value: float) -> bool:
        return value < self.limit if self.strict else value <= self.limit


def duration(microseconds: float) -> str:
    """Three figures with a unit that suits them.

    >>> duration(0.3217), duration(26_512.0), duration(1.2e6)
    ('0.322 µs', '26.5 ms', '1.20 s')
    """
    value, unit = microseconds, "µs"
    for larger in ("ms", "s"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{_figures(value)} {unit}"


def verdict(ratio: Ratio, bar: Bar) -> str:
    """The ratio with the middle half of its rounds, and whether the bar holds."""
    spread = f"{_figures(ratio.middle)} ({_figures(ratio.low)}–{_figures(ratio.high)})"
    return spread if bar.holds(ratio.middle) else f"**{spread} missed**"


def times_as(ratio: Ratio) -> str:
    """The middle of a ratio alone.

    >>> times_as(Ratio(12408.3, 12000.0, 12500.0))
    '12,408'
    """
    return f"{ratio.middle:,.0f}" if ratio.middle >= 100 else _figures(ratio.middle)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [_line(head, widths), "| " + " | ".join(_rule(i, width) for i, width in enumerate(widths)) + " |"]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def with_block(page: str, name: str, text: str) -> str:
    """``page`` with ``text`` between the two marks of ``name``; ValueError where the page lacks them."""
    start, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"({re.escape(start)}\n).*?({re.escape(end)})", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"expected `{start}` and `{end}` once")
    return pattern.sub(lambda found: f"{found[1]}{text.rstrip()}\n{found[2]}", page)


def _figures(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _rule(column: int, width: int) -> str:
    return "-" * width if column == 0 else "-" * (width - 1) + ":"

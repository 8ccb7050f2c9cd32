"""Draws numbers in one line of text: bars and sparklines, in block characters or in ASCII."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.-=+*%#"

BLOCKS = _EIGHTHS + _LEVELS
"""Every character that is drawn where a stream has them."""

BAR_WIDTH = 12


def bars(numbers: Sequence[float | None], *, width: int = BAR_WIDTH, ascii: bool = False) -> list[str]:
    """A bar for each number, from 0 to the largest of them; nothing for what is unknown or not above 0.

    >>> bars([2.0, 1.0, None], width=4)
    ['████', '██', '']
    """
    most = max((one for one in numbers if one is not None), default=0.0)
    if most <= 0:
        return [""] * len(numbers)
    return ["" if one is None or one <= 0 else _bar(one / most, width, ascii) for one in numbers]


def sparkline(numbers: Sequence[float | None], *, ascii: bool = False) -> str:
    """A character for each number, as high as it is between 0 and the largest; a blank for what is unknown.

    >>> sparkline([0.0, 4.0, None, 8.0])
    '▁▄ █'
    """
    levels = _ASCII_LEVELS if ascii else _LEVELS
    most = max((one for one in numbers if one is not None), default=0.0)
    drawn = ""
    for one in numbers:
        share = 0.0 if one is None or most <= 0 else max(one, 0.0) / most
        drawn += " " if one is None else levels[max(0, min(len(levels) - 1, round(share * len(levels)) - 1))]
    return drawn


def _bar(share: float, width: int, ascii: bool) -> str:
    if ascii:
        return "#" * max(1, round(share * width))
    whole, eighths = divmod(max(1, round(share * width * 8)), 8)
    return "█" * whole + (_EIGHTHS[eighths] if eighths else "")

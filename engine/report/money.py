"""Writes amounts of money as text."""

from __future__ import annotations

from typing import Final

NANO: Final = 1_000_000_000
"""Nano-units in one unit of a currency: money is counted in whole nano-units."""


def money_text(nano: float, places: int | None = None) -> str:
    """An amount in units of its currency, with ``places`` decimals, or else as many as it needs.

    >>> money_text(12_500_000_000), money_text(12_500_000_000, 2), money_text(0)
    ('12.5', '12.50', '0')
    """
    if places is not None:
        return f"{nano / NANO:.{places}f}"
    return f"{nano / NANO:.9f}".rstrip("0").rstrip(".")

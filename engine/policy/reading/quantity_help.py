"""Help for quantities that are written as other programs write them: `5 minutes`, `$50`, `400_000`, `24GB`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from ...report import duration_text
from ..quantities import MAX_EXACT, parse_count

_PART = r"(\d+(?:\.\d+)?)\s*([a-z]+)"
_DURATION = re.compile(rf"{_PART}(?:\s*{_PART})*", re.ASCII)
_UNITS: Mapping[int, tuple[str, ...]] = {
    1: ("ms", "msec", "msecs", "millisecond", "milliseconds"),
    1_000: ("s", "sec", "secs", "second", "seconds"),
    60_000: ("m", "min", "mins", "minute", "minutes"),
    3_600_000: ("h", "hr", "hrs", "hour", "hours"),
    86_400_000: ("d", "day", "days"),
    604_800_000: ("w", "week", "weeks"),
}
"""What units of time are called, by their milliseconds."""

_MILLISECONDS = {name: size for size, names in _UNITS.items() for name in names}

_CURRENCIES: Mapping[str, str] = {"$": "USD", "€": "EUR", "£": "GBP"}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)")
_GROUPED = re.compile(r"\d{1,3}(?:[_,]\d{3})+|\d+(?:_\d+)+", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_WITH_UNIT = re.compile(r"-?\d+(?:\.\d+)?\s*[^\W\d_]+|[$€£]\s*\d+(?:\.\d+)?|\d+(?:\.\d+)?\s*[$€£%]")


def duration_help(value: object) -> str | None:
    """How a duration is written that has its units in words, or several of them.

    >>> duration_help("5 minutes"), duration_help("1h30m")
    ('write `5m`', 'write `90m`')
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return f"give it a unit: `{value}s` or `{value}ms`"
    text = str(value).strip().lower()
    parts = re.findall(_PART, text, re.ASCII)
    if len(text) > 60 or not _DURATION.fullmatch(text) or any(unit not in _MILLISECONDS for _, unit in parts):
        return None
    ms = sum((Decimal(number) * _MILLISECONDS[unit] for number, unit in parts), Decimal(0))
    return f"write `{_in_minutes(ms)}`" if ms == int(ms) <= MAX_EXACT else None


def _in_minutes(ms: Decimal) -> str:
    """Every duration may have hours and minutes; some may have no days."""
    for unit, size in (("h", 3_600_000), ("m", 60_000)):
        if ms and ms % size == 0:
            return f"{int(ms / size)}{unit}"
    return duration_text(int(ms))


def money_help(value: object) -> str | None:
    """How an amount is written that has a sign for its currency, or the currency first, or in small letters.

    >>> money_help("$50"), money_help("usd 0.5")
    ('write `50 USD`', 'write `0.5 USD`')
    """
    before, amount, after = (part.strip() for part in [*_AMOUNT.split(str(value), maxsplit=1), "", ""][:3])
    named = f"{before}{after}"
    currency = _CURRENCIES.get(named, named.upper())
    return f"write `{amount} {currency}`" if re.fullmatch("[A-Z]{3}", currency) else None


def number_help(kinds: Sequence[str], value: str) -> str | None:
    """How a number is written that is in quotes, grouped, or has a unit."""
    if _NUMBER.fullmatch(value):
        return "leave out the quotes"
    if "a whole number" not in kinds and "a number" not in kinds:
        return None
    if _GROUPED.fullmatch(value):
        return f"write `{re.sub('[_,]', '', value)}`"
    if "a whole number" in kinds and (count := _count(value)) is not None:
        return f"write `{count}`"
    return "write the number alone, without a unit" if _WITH_UNIT.fullmatch(value) else None


def _count(text: str) -> int | None:
    """The whole number that a text such as ``200k`` means."""
    try:
        return parse_count(text.upper())
    except ValueError:
        return None

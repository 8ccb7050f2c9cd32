"""Reads quantities as people write them in YAML: ``5s``, ``200 USD``, ``20%``, ``32B``.

Each parser raises ValueError with a message that says what was expected; pydantic turns that into a problem.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

from ..condition import MAX_EXACT_INTEGER
from ..report import NANO

MAX_EXACT = MAX_EXACT_INTEGER
"""The largest whole number that JSON, Python and SQL read alike."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)
_DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MONEY = re.compile(r"(\d+(?:\.\d{1,9})?)\s*([A-Z]{3})", re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMBT])", re.ASCII)
_COUNT_UNIT = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


class MoneyAmount(NamedTuple):
    """An amount in nano-units (10⁻⁹) of ``currency``, an ISO 4217 code."""

    nano: int
    currency: str


def nano_units(amount: int | float) -> int:
    """The amount in nano-units, from its shortest decimal form, so that ``0.1`` is exactly 100,000,000."""
    return int((Decimal(repr(amount)) * NANO).to_integral_value())


def _matched(pattern: re.Pattern[str], value: object, wanted: str) -> re.Match[str]:
    match = pattern.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected {wanted}")
    return match


def parse_duration_ms(value: object) -> int:
    """Whole milliseconds of a duration such as ``250ms``, ``5s``, ``1.5m``, ``1h``, ``2d``."""
    match = _matched(_DURATION, value, "a duration such as `5s`, `250ms` or `1h`")
    return _exact(Decimal(match[1]) * _DURATION_MS[match[2]], "a shorter duration", "whole milliseconds")


def parse_money(value: object) -> MoneyAmount:
    """An amount with its currency, such as ``200 USD``."""
    match = _matched(_MONEY, value, "an amount with its currency such as `200 USD`")
    return MoneyAmount(_exact(Decimal(match[1]) * NANO, f"at most {MAX_EXACT // NANO} {match[2]}"), match[2])


def parse_percent(value: object) -> float:
    """The share, 0 to 1, of a percentage such as ``20%``."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    share = float(Decimal(match[1]) / 100) if match else -1.0
    if not 0 <= share <= 1:
        raise ValueError("expected a percentage from `0%` to `100%`")
    return share


def parse_count(value: object) -> int:
    """A whole number, plain or with a unit: ``32B`` is 32,000,000,000 (K, M, B, T are powers of 1,000)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return _exact(Decimal(value), f"at most {MAX_EXACT}")
    match = _matched(_COUNT, value, "a whole number, or one with a unit such as `32B` or `1T`")
    return _exact(Decimal(match[1]) * _COUNT_UNIT[match[2]], f"at most {MAX_EXACT}")


def _exact(value: Decimal, most: str, whole: str = "a whole number") -> int:
    """The whole number, refused past what JSON, Python and SQL all read the same (RFC 7493: 2^53 - 1)."""
    if value > MAX_EXACT:
        raise ValueError(f"expected {most}")
    if value != int(value):
        raise ValueError(f"expected {whole}")
    return int(value)


def _text_schema(pattern: re.Pattern[str], example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$", "examples": [example]})


DurationMs = Annotated[int, BeforeValidator(parse_duration_ms), _text_schema(_DURATION, "5s")]
Money = Annotated[MoneyAmount, BeforeValidator(parse_money), _text_schema(_MONEY, "200 USD")]
Percent = Annotated[float, BeforeValidator(parse_percent), _text_schema(_PERCENT, "20%")]
Count = Annotated[
    int,
    BeforeValidator(parse_count),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_COUNT.pattern}$"}]}
    ),
]

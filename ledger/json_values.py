"""Values of an answer as JSON can hold them, and the names under which it can.

Numbers that JSON does not have are text: ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, as in the JSON mapping of
Protocol Buffers, and never the same as ``null``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

Rows = Sequence[Sequence[Any]]
"""Rows of values, as DuckDB gives them to Python."""

_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_text(value: object) -> str:
    """``value`` as JSON on one line, exactly."""
    try:
        # Most values go through the encoder's own loop, which is several times as fast.
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=json_value)
    except (TypeError, ValueError):  # keys that are no text, and numbers that JSON does not have
        return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False)


def json_value(value: object) -> Any:
    """``value`` as what JSON can hold. Decimals are numbers where a double holds them exactly, else text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _NOT_FINITE[str(value)]
        case Decimal():
            return _decimal(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Mapping():
            return {str(key): json_value(item) for key, item in value.items()}
        case Sequence() | set() | frozenset():
            return [json_value(item) for item in value]
        case _:
            return str(value)


def _decimal(value: Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with a number after those that are there already."""
    taken: set[str] = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        fresh, number = name, 2
        while fresh in seen or (fresh != name and fresh in taken):
            fresh, number = f"{name}_{number}", number + 1
        seen.add(fresh)
        unique.append(fresh)
    return unique

"""Writes as SQL what hour and weekday a time is in a zone, as this platform's time zone database says.

DuckDB has a database of its own, which may be of another year.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from ...report import EPOCH

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_PAST_US: Final = 15_000 * 7 * _DAY_US
"""Whole weeks that make every time of a task positive, as SQL divides towards zero."""


def hour_in(at_us: str, zone: tzinfo | None, during_us: tuple[int, int]) -> str:
    """SQL for the hour, 0 to 23, of a time in microseconds since 1970, UTC, that lies in `during_us`."""
    return f"((({_local(at_us, zone, during_us)} + {_PAST_US}) % {_DAY_US}) // {_HOUR_US})"


def weekday_in(at_us: str, zone: tzinfo | None, during_us: tuple[int, int]) -> str:
    """SQL for the weekday, 1 to 7 from Monday on."""
    # 1 January 1970 was a Thursday.
    return f"((((({_local(at_us, zone, during_us)} + {_PAST_US}) // {_DAY_US}) + 3) % 7) + 1)"


def _local(at_us: str, zone: tzinfo | None, during_us: tuple[int, int]) -> str:
    if zone is None or zone is UTC:
        return at_us
    return f"({at_us} + {_chosen(at_us, _offsets(zone, *during_us))})"


def _chosen(at_us: str, offsets: Sequence[tuple[int, int]]) -> str:
    """The offset in force: a tree of comparisons, as there are many in centuries."""
    if len(offsets) == 1:
        return f"({offsets[0][1]})"
    middle = len(offsets) // 2
    before, after = _chosen(at_us, offsets[:middle]), _chosen(at_us, offsets[middle:])
    return f"(CASE WHEN {at_us} < ({offsets[middle][0]}) THEN {before} ELSE {after} END)"


def _offset(zone: tzinfo, at_us: int) -> int:
    offset = (EPOCH + timedelta(microseconds=at_us)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


@lru_cache(maxsize=32)
def _offsets(zone: tzinfo, first_us: int, last_us: int) -> tuple[tuple[int, int], ...]:
    """The offsets of a zone between two times, each with the time from which on it is in force."""
    at, offset = first_us, _offset(zone, first_us)
    found = [(at, offset)]
    while at < last_us:
        following = min(at + _DAY_US, last_us)
        if (changed := _offset(zone, following)) != offset:
            low, high = at, following  # the change lies after `low`, and not after `high`
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            found.append((high, changed))
            offset = changed
        at = following
    return tuple(found)

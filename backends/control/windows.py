"""Finds the window of a period that a time is in: its name, and when it begins and ends, in a time zone.

The windows of a period and a zone follow each other without a gap. A day of a zone may have 23 or 25 hours; a
window ends where the zone's calendar says.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from routewright.engine.report import EPOCH

Period = Literal["minute", "hour", "day", "week", "month"]

_US = timedelta(microseconds=1)
_SIZE_US = {"minute": 60_000_000, "hour": 3_600_000_000}


class Window(NamedTuple):
    """``name`` is the local start of the window, such as ``2026-11-22``; both times in microseconds, UTC."""

    name: str
    start_us: int
    end_us: int


def window_of(at_us: int, period: Period, timezone: str = "UTC") -> Window:
    """The window that holds ``at_us``: from its start to before its end.

    >>> window_of(1_795_300_200_000_000, "day", "Asia/Kolkata").name
    '2026-11-22'
    """
    found = _LAST.get((period, timezone))
    if found is not None and found.start_us <= at_us < found.end_us:
        return found
    window = _window(at_us, period, _zone(timezone))
    _LAST[(period, timezone)] = window
    return window


# Most calls ask for the window that was asked for last.
_LAST: dict[tuple[Period, str], Window] = {}


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _window(at_us: int, period: Period, zone: ZoneInfo) -> Window:
    if period == "minute" or period == "hour":
        return _counted(at_us, _SIZE_US[period], zone)
    day = _at(at_us, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
    match period:
        case "day":
            end = day + timedelta(days=1)
        case "week":
            day -= timedelta(days=day.weekday())
            end = day + timedelta(days=7)
        case "month":
            day = day.replace(day=1)
            end = (day + timedelta(days=32)).replace(day=1)
    name = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}[period]
    # A midnight that a zone skips is when the clock is put forward, one that it repeats is the first.
    start_us, end_us = ((local.replace(tzinfo=zone) - EPOCH) // _US for local in (day, end))
    return Window(day.strftime(name), start_us, end_us)


def _counted(at_us: int, size_us: int, zone: ZoneInfo) -> Window:
    """A window counted in real time, on the zone's full minutes or hours: an hour that is repeated is two.

    A zone that moves its clock by half an hour moves its full hours, so the window is cut where that happens.
    """
    shift = _offset_us(at_us, zone) % size_us
    start_us = (at_us + shift) // size_us * size_us - shift
    end_us = start_us + size_us
    if _offset_us(start_us, zone) % size_us != shift:
        start_us = _first_after(start_us, at_us, shift, size_us, zone)
    if _offset_us(end_us - 1, zone) % size_us != shift:
        other = _offset_us(end_us - 1, zone) % size_us
        end_us = _first_after(at_us, end_us - 1, other, size_us, zone)
    return Window(_at(start_us, zone).isoformat(timespec="minutes"), start_us, end_us)


def _first_after(before_us: int, after_us: int, shift: int, size_us: int, zone: ZoneInfo) -> int:
    """The first time whose full hours lie at ``shift``; at ``before_us`` they do not, at ``after_us`` they do."""
    while after_us - before_us > 1:
        middle = (before_us + after_us) // 2
        if _offset_us(middle, zone) % size_us == shift:
            after_us = middle
        else:
            before_us = middle
    return after_us


def _at(at_us: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(zone)


def _offset_us(at_us: int, zone: ZoneInfo) -> int:
    return (_at(at_us, zone).utcoffset() or timedelta()) // _US

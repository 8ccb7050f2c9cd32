"""A time and a period in, the period's window out: its name, and when it ends, in a time zone.

A day of a zone may have 23 or 25 hours; a window ends where the zone's calendar says.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

__all__ = ["Period", "Window", "window_of"]

Period = Literal["minute", "hour", "day", "week", "month"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Window(NamedTuple):
    """``name`` is the local start of the window, such as ``2026-11-22``; both times in microseconds, UTC."""

    name: str
    start_us: int
    end_us: int


def window_of(at_us: int, period: Period, timezone: str = "UTC") -> Window:
    """The window that holds ``at_us``."""
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
    at = (_EPOCH + timedelta(microseconds=at_us)).astimezone(zone)
    if period in ("minute", "hour"):
        # Counted in real time: an hour that a zone repeats is two windows.
        size = 60_000_000 if period == "minute" else 3_600_000_000
        offset = at.utcoffset() or timedelta()
        shift = (offset // timedelta(microseconds=1)) % size
        start_us = (at_us + shift) // size * size - shift
        start = (_EPOCH + timedelta(microseconds=start_us)).astimezone(zone)
        return Window(start.isoformat(timespec="minutes"), start_us, start_us + size)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
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
    return Window(day.strftime(name), _us(day, zone), _us(end, zone))


def _us(local: datetime, zone: ZoneInfo) -> int:
    return (local.replace(tzinfo=zone) - _EPOCH) // timedelta(microseconds=1)

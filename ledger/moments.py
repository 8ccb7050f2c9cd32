"""Reads times as people write them: ``7d``, ``today``, ``2026-01-31``."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from routewright.engine.policy import parse_duration_ms

from .errors import QuestionError

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, *, now: datetime) -> datetime:
    """A time that is written as ``7d`` (so long before ``now``), ``today``, ``yesterday``, ``all`` or in ISO 8601.

    Days begin in the zone of ``now``, which is also that of a time without one, and a number of days ends at the same
    time of day; all other durations are as long as they say, also where clocks change. Raises ValueError.
    """
    wanted = "a time such as `7d`, `24h`, `today`, `2026-01-31` or `all`"
    zone = now.tzinfo or UTC
    if text == "all":
        return BEGINNING
    if text in ("today", "yesterday"):
        day = now.date() - timedelta(days=text == "yesterday")
        return datetime.combine(day, time.min, zone)
    if text[:1].isdigit() and text[-1:].isalpha() and "T" not in text:
        try:
            before = timedelta(milliseconds=parse_duration_ms(text))
            # Python subtracts from the time of day: an hour after clocks went forward, one hour before was now.
            then = now - before if text.endswith("d") else (now.astimezone(UTC) - before).astimezone(zone)
            return max(then, BEGINNING)
        except OverflowError:
            return BEGINNING
        except ValueError:
            raise ValueError(wanted) from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(wanted) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def now_in(zone: str) -> datetime:
    """The time now in a zone of the platform's database. Raises QuestionError for one that it does not have."""
    try:
        return datetime.now(ZoneInfo(zone))
    except (OSError, ValueError, KeyError):
        raise QuestionError(f"`{zone}` is not a time zone", help="such as UTC or Europe/Berlin") from None

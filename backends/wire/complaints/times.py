"""When a server wants to be asked again: in its headers, in the fields of its complaint, or in words.

The surest comes first: a header made for it, then a field, then words, and last the reset of a limit that is used up.
``Retry-After`` is RFC 9110, section 10.2.3; ``x-ratelimit-reset-*`` are OpenAI's, Groq's and Azure's; ``retryDelay``
is that of google.rpc.RetryInfo.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from .shapes import Complaint

_LONGEST_WAIT_MS: Final = 366 * 24 * 3_600_000
"""A year: no server asks for a longer pause in earnest."""

_UNITS_MS: Final[dict[str, float]] = {
    "ms": 1,
    "millisecond": 1,
    "milliseconds": 1,
    "s": 1_000,
    "sec": 1_000,
    "secs": 1_000,
    "second": 1_000,
    "seconds": 1_000,
    "m": 60_000,
    "min": 60_000,
    "mins": 60_000,
    "minute": 60_000,
    "minutes": 60_000,
    "h": 3_600_000,
    "hr": 3_600_000,
    "hrs": 3_600_000,
    "hour": 3_600_000,
    "hours": 3_600_000,
    "d": 86_400_000,
    "day": 86_400_000,
    "days": 86_400_000,
}
_UNIT: Final = "|".join(sorted(_UNITS_MS, key=len, reverse=True))
_PART: Final = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,12}})?|an?\b)\s*({_UNIT})(?![a-z])")
_CLOCK: Final = re.compile(r"(\d{1,4}):(\d\d):(\d\d)")
_DURATION: Final = re.compile(rf"{_CLOCK.pattern}|{_PART.pattern}(?:(?:,|\s|and){{0,6}}{_PART.pattern})*")

_IN_WORDS: Final = re.compile(
    r"\b(?:retry(?:ing)?|try(?: it)? again|wait(?:ing)?|resets?|available(?: again)?|come back|refresh(?:es)?|"
    r"replenished)\s{1,3}(?:in|after|for)?\s{0,3}(?:about |approximately |another |at least |~)?"
    rf"(?P<duration>{_DURATION.pattern})"
)
"""\"please try again in 9m38.016s\", \"retry after 45 seconds\", \"retry in 1 minute\", \"wait 20s\"."""

_STAMP_IN_WORDS: Final = re.compile(
    r"\b(?:reset\w*|available|again|until|retry)(?: (?:at|on|after|until))? "
    r"(?P<stamp>\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|utc| ?[+-]\d\d:?\d\d)?)"
)
"""\"your limit will reset at 2026-09-04 19:01:25\"."""

_CHINESE_STAMP: Final = re.compile(r"(?P<stamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ?重置")

FIELDS: Final[dict[str, str]] = {
    "retry_after_ms": "ms",
    "retryAfterMs": "ms",
    "retryDelay": "s",
    "retry_delay": "s",
    "retry_after_seconds": "s",
    "retry_after": "s",
    "retryAfter": "s",
    "resets_in_seconds": "s",
    "reset_in_seconds": "s",
    "quotaResetDelay": "s",
    "estimated_time": "s",
    "resets_at": "stamp",
    "reset_at": "stamp",
    "resetAt": "stamp",
    "resetsAt": "stamp",
    "reset_time": "stamp",
    "available_at": "stamp",
    "retry_at": "stamp",
    "quotaResetTimeStamp": "stamp",
}
"""The fields of complaints that hold a time, the surest first, and how a bare number in them is meant."""

_LIMITS: Final = (
    "",
    "-requests",
    "-tokens",
    "-requests-day",
    "-requests-minute",
    "-tokens-minute",
    "-tokens-day",
)
"""The kinds of limits whose resets stand in ``x-ratelimit-reset…`` headers."""


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """How long the server asks to wait: ``retry-after-ms``, else ``Retry-After`` in seconds or as a date.

    ``headers`` is looked up without regard to case, as HTTP clients do it. A date is compared with the
    server's own ``Date``, so that clocks need not agree. ``None`` when nothing usable is said; never negative.
    """
    for name, factor in (("retry-after-ms", 1.0), ("retry-after", 1_000.0)):
        wait_ms = _number(headers.get(name, ""))
        if wait_ms is not None:
            return _bounded(wait_ms * factor)
    until = _date(headers.get("retry-after", ""))
    return None if until is None else _bounded(1_000 * (until - _now(headers)))


def stated_wait_ms(
    headers: Mapping[str, str], complaint: Complaint | None, said: str, *, zone: str | None = None
) -> int | None:
    """How long the server says that it cannot be used, from now, in milliseconds; ``None`` when it does not say.

    ``said`` are the complaint's own words, in lower case.
    ``zone`` is that of stamps that name none, otherwise UTC.
    """
    wait_ms = retry_after_ms(headers)
    if complaint is None or wait_ms is not None:
        return wait_ms if wait_ms is not None else _reset_ms(headers, headers)
    now = _now(headers)
    place = UTC if zone is None else ZoneInfo(zone)
    ways: tuple[Callable[[], int | None], ...] = (
        lambda: retry_after_ms(complaint.headers),
        lambda: _in_fields_ms(complaint, now, place),
        lambda: _in_words_ms(said, now, place),
        lambda: _reset_ms(complaint.headers, headers),
        lambda: _reset_ms(headers, headers),
    )
    return next((found for way in ways if (found := way()) is not None), None)


def until_midnight_ms(zone: str, headers: Mapping[str, str]) -> int:
    """How long it is until midnight in ``zone``."""
    now = datetime.fromtimestamp(_now(headers), ZoneInfo(zone))
    midnight = datetime(now.year, now.month, now.day, tzinfo=now.tzinfo) + timedelta(days=1)
    return _bounded(1_000 * (midnight.timestamp() - now.timestamp()))


def duration_ms(text: str, unit: str = "s") -> float | None:
    """``9m38.016s``, ``1 minute``, ``01:23:45``, or a bare number of ``unit``, in milliseconds.

    >>> duration_ms("1h2m3s"), duration_ms("1 minute"), duration_ms("00:01:30"), duration_ms("2.5"), duration_ms("soon")
    (3723000.0, 60000.0, 90000.0, 2500.0, None)
    """
    text = text.strip().lower()
    number = _number(text)
    if number is not None:
        return number * _UNITS_MS[unit]
    if clock := _CLOCK.fullmatch(text):
        return 1_000.0 * (3_600 * int(clock[1]) + 60 * int(clock[2]) + int(clock[3]))
    if not _DURATION.fullmatch(text):
        return None
    return sum(
        (1.0 if count.startswith("a") else float(count)) * _UNITS_MS[name]
        for count, name in _PART.findall(text)
    )


def _in_fields_ms(complaint: Complaint, now: float, zone: tzinfo) -> int | None:
    said: dict[str, Any] = {}
    for name, value in complaint.fields:
        said.setdefault(name, value)
    for name, unit in FIELDS.items():
        if name not in said:
            continue
        if unit == "stamp":
            until = _stamp(str(said[name]), zone)
            wait_ms = None if until is None else 1_000 * (until - now)
        else:
            wait_ms = duration_ms(str(said[name]), unit)
        if wait_ms is not None:
            return _bounded(wait_ms)
    return None


def _in_words_ms(message: str, now: float, zone: tzinfo) -> int | None:
    found = _IN_WORDS.search(message)
    if found is not None and (wait_ms := duration_ms(found["duration"])) is not None:
        return _bounded(wait_ms)
    found = _STAMP_IN_WORDS.search(message) or _CHINESE_STAMP.search(message)
    until = None if found is None else _stamp(found["stamp"].upper(), zone)
    return None if until is None else _bounded(1_000 * (until - now))


def _reset_ms(headers: Mapping[str, str], own: Mapping[str, str]) -> int | None:
    """The longest reset of a limit of which nothing is left; of those that do not say what is left, too."""
    waits = []
    for kind in _LIMITS:
        left = headers.get(f"x-ratelimit-remaining{kind}")
        text = headers.get(f"x-ratelimit-reset{kind}", "")
        if not text or (left is not None and _number(left) != 0):
            continue
        number = _number(text)
        if number is not None and number > _STAMPS_FROM_S:
            until = _stamp(text, UTC)
            waits.append(1_000 * ((until or 0) - _now(own)))
        elif (wait_ms := duration_ms(text)) is not None:
            waits.append(wait_ms)
        elif (until := _stamp(text, UTC)) is not None:
            waits.append(1_000 * (until - _now(own)))
    return _bounded(max(waits)) if waits else None


_STAMPS_FROM_S: Final = 1_000_000_000
_MILLISECONDS_FROM: Final = 100_000_000_000


def _stamp(text: str, zone: tzinfo) -> float | None:
    """A moment in seconds since 1970: as a number of seconds or milliseconds, in ISO 8601, or as HTTP has it."""
    number = _number(text)
    if number is not None:
        number = number / 1_000 if number >= _MILLISECONDS_FROM else number
        return number if number >= _STAMPS_FROM_S else None
    try:
        found = datetime.fromisoformat(text.strip().removesuffix("UTC").strip())
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return _date(text)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _now(headers: Mapping[str, str]) -> float:
    """Now by the server's own clock, if it says what that shows."""
    said = _date(headers.get("date", ""))
    return time.time() if said is None else said


def _bounded(wait_ms: float) -> int:
    return round(max(0.0, min(wait_ms, _LONGEST_WAIT_MS)))

"""Turns the values of foreign files into ours, exactly or not at all.

Every reader takes what a file can hold (text, numbers, booleans, times, nested values) and returns None for what says
nothing: a missing value, or text without a visible character. It raises ValueError for what it cannot read, in words
that end the sentence "`column` is `value`, and …".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from routewright.engine.report import EPOCH, NANO

Read = Callable[[Any], Any]

MOST: Final = 2**63 - 1
"""The largest whole number that a column holds."""

UNITS_US: Final[Mapping[str, Decimal]] = {
    "s": Decimal(1_000_000),
    "ms": Decimal(1_000),
    "us": Decimal(1),
    "ns": Decimal("0.001"),
}
"""Units of time that a number may count, in microseconds."""

_MICROSECOND = timedelta(microseconds=1)
_LAST_US = 253_402_300_799_999_999  # the end of the year 9999
_NO_TIME = "a time was expected, such as `2026-01-31T12:00:00Z`"
_LONGEST_US = 10 * 366 * 86_400 * 1_000_000
_LARGEST_EXPONENT = 400
# The usual context rounds to 28 digits.
_EXACT = Context(prec=1_000, rounding=ROUND_HALF_EVEN, Emax=MAX_EMAX, Emin=MIN_EMIN)
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,4})?")
_NOT_FINITE = re.compile(r"[-+]?(nan|inf|infinity)")
_TRUE, _FALSE = frozenset({"true", "t", "yes", "1"}), frozenset({"false", "f", "no", "0"})


def text(value: Any) -> str | None:
    """Text as it is; a number or a boolean as JSON writes it, a time as ISO 8601."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if not value.strip():
            return None
        value.encode()  # raises a ValueError for a lone surrogate
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError("a text was expected")


def number(value: Any) -> Decimal | None:
    """A finite number, exactly as the file writes it."""
    if _says_nothing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError("a number was expected")
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ValueError("a number was expected")
    try:
        # The shortest text of a float is what whoever wrote it meant: 0.1, not 0.1000000000000000055511151231257827.
        found = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("a number was expected") from None
    if not found.is_finite() or (found and abs(found.adjusted()) > _LARGEST_EXPONENT):
        raise ValueError("a finite number was expected")
    return found


def whole(value: Any) -> int | None:
    """A whole number, not below 0: a count."""
    found = value if type(value) is int else number(value)
    if found is None:
        return None
    if found < 0 or found > MOST or found != int(found):
        raise ValueError(f"a whole number from 0 to {MOST:,} was expected")
    return int(found)


def truth(value: Any) -> bool | None:
    """A boolean, or a word for one: true, t, yes, 1, false, f, no, 0."""
    if _says_nothing(value):
        return None
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError("`true` or `false` was expected")


def _counted(value: Any, unit: str) -> int:
    """The time that is so many units after 1970."""
    found = number(value)
    assert found is not None
    microseconds = _EXACT.multiply(found, UNITS_US[unit])
    if abs(microseconds) > _LAST_US:
        raise ValueError("a time before the year 10000 was expected; is the unit right?")
    return int(microseconds.to_integral_value(context=_EXACT))


class Money:
    """Reads amounts of money in whole units as nano-units (10⁻⁹), rounded half to even, and counts what it rounded."""

    def __init__(self) -> None:
        self.rounded = 0

    def __call__(self, value: Any) -> int | None:
        found = number(value)
        if found is None:
            return None
        if found < 0 or found > MOST // NANO:
            raise ValueError(f"an amount from 0 to {MOST // NANO:,} was expected")
        exact = _EXACT.multiply(found, NANO)
        nano = exact.to_integral_value(context=_EXACT)
        self.rounded += nano != exact
        return int(nano)


def duration_us(unit: str) -> Read:
    """Reads durations that are counted in ``unit`` as whole microseconds."""

    def read(value: Any) -> int | None:
        found = number(value)
        if found is None:
            return None
        microseconds = _EXACT.multiply(found, UNITS_US[unit])
        if not 0 <= microseconds <= _LONGEST_US:
            raise ValueError("a duration from 0 to ten years was expected")
        return int(microseconds.to_integral_value(context=_EXACT))

    return read


def time_us(*, unit: str | None = None, zone: Any = None) -> Read:
    """Reads times as microseconds since 1970 (UTC): ISO 8601 text, times, and with a ``unit`` numbers since 1970.

    Text and times without a zone are those of ``zone`` (a ``tzinfo``); where none is given they cannot be read, as
    nothing says which instant they mean.
    """

    def read(value: Any) -> int | None:
        if _says_nothing(value):
            return None
        if unit is not None:
            return _counted(value, unit)
        if isinstance(value, str):
            return of_text(value)
        if not isinstance(value, datetime):
            raise ValueError(_NO_TIME)
        return of_time(value)

    @lru_cache(maxsize=16)  # a row says one time several times
    def of_text(written: str) -> int:
        try:
            return of_time(datetime.fromisoformat(written.strip()))
        except OverflowError:
            raise ValueError("a time from the year 1 to 9999 was expected") from None
        except ValueError as error:
            if "zone" in str(error):
                raise
            raise ValueError(_NO_TIME) from None

    def of_time(time: datetime) -> int:
        if time.tzinfo is None:
            if zone is None:
                raise ValueError("a time with its zone was expected, such as `2026-01-31T12:00:00Z`")
            time = time.replace(tzinfo=zone)
        return (time - EPOCH) // _MICROSECOND

    return read


def elapsed_us(start_us: int | None, then_us: int | None) -> int | None:
    """How long after the start something was, in microseconds."""
    if start_us is None or then_us is None:
        return None
    if then_us < start_us:
        raise ValueError("a time not before the start was expected")
    return then_us - start_us


def mapping(value: Any) -> dict[str, Any]:
    """An object, or the JSON text of one; without a value, an empty one."""
    if _says_nothing(value):
        return {}
    if isinstance(value, str):
        value = parsed(value)
    if not isinstance(value, dict):
        raise ValueError("an object was expected")
    return value


def listing(value: Any) -> list[Any]:
    """A list, or the JSON text of one; without a value, an empty one."""
    if _says_nothing(value):
        return []
    if isinstance(value, str):
        value = parsed(value)
    if not isinstance(value, list | tuple):
        raise ValueError("a list was expected")
    return list(value)


def parsed(value: str) -> Any:
    """The value of a JSON text, with exact numbers."""
    try:
        return json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise ValueError("JSON was expected") from None


def measured(value: Any) -> tuple[float | None, str | None]:
    """What was found out, as a number or a label: true and false are 1 and 0; neither where nothing was.

    Text that looks like a number is one, as nothing else tells them apart in CSV.
    """
    if _says_nothing(value):
        return None, None
    if isinstance(value, bool):
        return float(value), None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "false"):
            return float(word == "true"), None
        if _NOT_FINITE.fullmatch(word):
            raise ValueError("a finite number was expected")
        if not _NUMBER.fullmatch(value.strip()):
            return None, text(value)
    found = number(value)
    assert found is not None
    result = float(found)
    if result in (float("inf"), float("-inf")):
        raise ValueError("a finite number was expected")
    return result, None


def _says_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())

"""The values of conditions: UNKNOWN, and what is taken from outside as a value.

Inside the engine a value is a bool, an int, a finite float, a str or a tuple of such.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from ..report import suggest
from .limits import MAX_EXACT_INTEGER, MAX_FEATURE_STRING_LENGTH, MAX_LIST_LENGTH
from .syntax.render import render_value
from .types import BOOLEAN, INTEGER, NOTHING, NUMBER, SCALARS, STRING, Declaration, ListType, Type, article


class Unknown(Enum):
    """The type of UNKNOWN, which stays one object when it is copied."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        raise TypeError("UNKNOWN is neither true nor false; compare it with `is`")


UNKNOWN: Final = Unknown.UNKNOWN
"""The value of a condition that has none: neither true nor false."""


class ValueRefused(ValueError):
    """A value that does not fit its type; `str()` says why, `help` what may be done."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help


def check_value(value: object, declaration: Declaration | Type) -> object:
    """Return `value` as the engine keeps it, or raise ValueRefused.

    An int given for a number becomes a float, -0.0 becomes 0.0, a list becomes a tuple (the given list is
    neither kept nor changed).  NaN, infinities, integers beyond ±(2**53 - 1), strings with half a surrogate
    pair, unknown elements and values outside the declaration's enum are refused.  None and UNKNOWN are for
    the caller to handle: they are not values.
    """
    if isinstance(declaration, Declaration):
        checked = check_value(value, declaration.type)
        if declaration.enum is not None:
            # Arrays are checked against a set, since both may be long.
            members = checked if isinstance(checked, tuple) else (checked,)
            allowed = declaration.enum if len(members) == 1 else frozenset(declaration.enum)
            for member in members:
                if member not in allowed:
                    shown = render_value(member)[:60]
                    help = suggest(shown, map(render_value, declaration.enum), label="allowed")
                    raise ValueRefused(f"`{shown}` is not one of the allowed values", help)
        return checked
    return _check(value, declaration, [MAX_LIST_LENGTH, MAX_FEATURE_STRING_LENGTH])


def _check(value: object, type_: Type, room: list[int]) -> object:
    """`room` holds how many more list elements, and how many more characters in them, are allowed."""
    # bool before int: Python's True is an int, a condition's is not.
    if isinstance(value, bool):
        if type_ == BOOLEAN:
            return value
    elif isinstance(value, int):
        if type_ in {INTEGER, NUMBER}:
            if not -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER:
                raise ValueRefused(
                    "the integer is too large",
                    f"integers reach from -{MAX_EXACT_INTEGER} to {MAX_EXACT_INTEGER}",
                )
            return float(value) if type_ == NUMBER else int(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueRefused(
                f"`{value!r}` is not a finite number", "leave the feature out if it has no value"
            )
        if type_ == NUMBER:
            return float(value) + 0.0  # -0.0 + 0.0 is 0.0
        if type_ == INTEGER and value.is_integer():
            raise ValueRefused("expected an integer, got a number", f"write `{int(value)}`"[:60])
    elif isinstance(value, str):
        if type_ == STRING:
            return _check_string(str(value), room)
    elif isinstance(value, list | tuple) and isinstance(type_, ListType):
        room[0] -= len(value)
        if room[0] < 0:
            raise ValueRefused(f"the array has more than {MAX_LIST_LENGTH} elements")
        return tuple(_check_element(index, item, type_.element, room) for index, item in enumerate(value))
    elif value is None:
        raise ValueRefused("expected a value, got nothing")
    if type_ == NOTHING:
        raise ValueRefused("nothing is known about this name, so it takes no value")
    raise ValueRefused(f"expected {article(type_)}, got {_describe(value)}", _help(value, type_))


def _check_string(value: str, room: list[int]) -> str:
    if len(value) > MAX_FEATURE_STRING_LENGTH:
        raise ValueRefused(f"the string has more than {MAX_FEATURE_STRING_LENGTH} characters")
    room[1] -= len(value)
    if room[1] < 0:
        raise ValueRefused(f"the strings have more than {MAX_FEATURE_STRING_LENGTH} characters in all")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueRefused("the string holds half of a surrogate pair") from None
    return value


def _check_element(index: int, value: object, type_: Type, room: list[int]) -> object:
    try:
        return _check(value, type_, room)
    except ValueRefused as error:
        raise ValueRefused(f"element {index}: {error}", error.help) from None


def _describe(value: object) -> str:
    for python, type_ in SCALARS.items():
        if isinstance(value, python):
            return article(type_)
    if isinstance(value, list | tuple):
        return "an array"
    return f"a value of type {type(value).__name__}"


_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""What other formats, and YAML before 1.2, take as booleans."""


def _help(value: object, type_: Type) -> str | None:
    if isinstance(value, str):
        if type_ == BOOLEAN and value.lower() in {"true", "false"}:
            return f"write `{value.lower()}` without quotes"
        if type_ == BOOLEAN and value.lower() in _WORDS:
            return f"write `{_WORDS[value.lower()]}`"
        if type_ in {INTEGER, NUMBER} and value.strip().lstrip("+-").replace(".", "", 1).isdecimal():
            return "write the number without quotes"
    if isinstance(value, int) and not isinstance(value, bool) and type_ == BOOLEAN and value in {0, 1}:
        return f"write `{'true' if value else 'false'}`"
    if isinstance(type_, ListType) and isinstance(value, bool | int | float | str):
        return "an array of one is written `[…]`"
    return None

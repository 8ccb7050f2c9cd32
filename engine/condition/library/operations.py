"""The strict operations: plain values in, a plain value out, None where the result has no value.

None of them is ever given an unknown: whoever calls them has dealt with that.  The operands' types are those
that `checker` has proved.  Integers are 64 bits wide, doubles are finite; whatever leaves that range has no
value.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..limits import INT64_MAX, INT64_MIN, MAX_LIST_LENGTH, MAX_STRING_LENGTH
from ..patterns import compile_pattern


@dataclass(frozen=True, slots=True)
class Operation:
    """`apply` computes; `may_fail` is whether it can return None for operands that have values; `linear` is
    whether its time grows with the length of a string."""

    name: str
    apply: Callable[..., Any]
    may_fail: bool
    linear: bool = False


def _int64(value: int) -> int | None:
    return value if INT64_MIN <= value <= INT64_MAX else None


def _finite(value: float) -> float | None:
    # Adding 0.0 turns -0.0 into 0.0: there is one zero, or `max` would depend on the order of its arguments.
    return value + 0.0 if math.isfinite(value) else None


def _divide_integers(a: int, b: int) -> int | None:
    if b == 0:
        return None
    quotient = abs(a) // abs(b)
    return _int64(quotient if (a < 0) == (b < 0) else -quotient)


def _remainder(a: int, b: int) -> int | None:
    # The quotient of the smallest integer and -1 overflows, and CEL has the remainder overflow with it.
    if b == 0 or (a == INT64_MIN and b == -1):
        return None
    rest = abs(a) % abs(b)
    return rest if a >= 0 else -rest


def _divide_numbers(a: float, b: float) -> float | None:
    return None if b == 0 else _finite(a / b)


def _add_strings(a: str, b: str) -> str | None:
    return a + b if len(a) + len(b) <= MAX_STRING_LENGTH else None


def _add_lists(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return a + b if len(a) + len(b) <= MAX_LIST_LENGTH else None


def _index(items: tuple[Any, ...], index: int) -> Any:
    return items[index] if 0 <= index < len(items) else None


def widen(value: Any) -> Any:
    """An integer as the nearest double; in lists, each element."""
    if not isinstance(value, tuple):
        return float(value)
    nested = any(isinstance(element, tuple) for element in value[:1])
    return tuple(map(widen if nested else float, value))


def _integer_of_number(value: float) -> int | None:
    # Both ends excluded, as CEL's conformance tests want: the doubles there stand for a range of numbers.
    return int(value) if -(2.0**63) < value < 2.0**63 else None


_DECIMAL_INTEGER = re.compile(r"([+-]?)0*([0-9]{1,19})", re.ASCII)
_DECIMAL_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


def _integer_of_string(value: str) -> int | None:
    found = _DECIMAL_INTEGER.fullmatch(value)
    return None if found is None else _int64(int(found[1] + found[2]))


_BOOLEANS = {
    **dict.fromkeys(("1", "t", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "false", "False", "FALSE"), False),
}
"""CEL's own list (cel-spec, tests/simple/testdata/conversions.textproto, section ``bool``)."""


def _boolean_of_string(value: str) -> bool | None:
    # Looking up a long string would hash all of it.
    return _BOOLEANS.get(value) if len(value) <= len("false") else None


def _number_of_string(value: str) -> float | None:
    return _finite(float(value)) if _DECIMAL_NUMBER.fullmatch(value) else None


def _least(items: tuple[Any, ...]) -> Any:
    return min(items) if items else None


def _greatest(items: tuple[Any, ...]) -> Any:
    return max(items) if items else None


def _matches(value: str, pattern: str) -> bool:
    return compile_pattern(pattern)(value)


def _matches_bounded(value: str, pattern: str, longest: int) -> bool | None:
    return compile_pattern(pattern)(value) if len(value) <= longest else None


_ALL = [
    Operation("equal", operator.eq, False),
    Operation("not_equal", operator.ne, False),
    Operation("less", operator.lt, False),
    Operation("less_equal", operator.le, False),
    Operation("greater", operator.gt, False),
    Operation("greater_equal", operator.ge, False),
    Operation("in", lambda item, items: item in items, False),
    Operation("add_integer", lambda a, b: _int64(a + b), True),
    Operation("add_number", lambda a, b: _finite(a + b), True),
    Operation("add_string", _add_strings, True, linear=True),
    Operation("add_list", _add_lists, True, linear=True),
    Operation("subtract_integer", lambda a, b: _int64(a - b), True),
    Operation("subtract_number", lambda a, b: _finite(a - b), True),
    Operation("multiply_integer", lambda a, b: _int64(a * b), True),
    Operation("multiply_number", lambda a, b: _finite(a * b), True),
    Operation("divide_integer", _divide_integers, True),
    Operation("divide_number", _divide_numbers, True),
    Operation("remainder_integer", _remainder, True),
    Operation("negate_integer", lambda a: _int64(-a), True),
    Operation("negate_number", lambda a: 0.0 - a, False),
    Operation("index", _index, True),
    Operation("widen", widen, False),
    Operation("size", len, False),
    Operation("startsWith", str.startswith, False),
    Operation("endsWith", str.endswith, False),
    Operation("contains", lambda value, part: part in value, False, linear=True),
    Operation("matches", _matches, False, linear=True),
    Operation("matches_bounded", _matches_bounded, True, linear=True),
    # Bytes know no letters but those of ASCII, and UTF-8 keeps those apart from all others.
    Operation("lowerAscii", lambda value: value.encode().lower().decode(), False, linear=True),
    Operation("upperAscii", lambda value: value.encode().upper().decode(), False, linear=True),
    Operation("integer_of_number", _integer_of_number, True),
    Operation("integer_of_string", _integer_of_string, True, linear=True),
    Operation("boolean_of_string", _boolean_of_string, True),
    Operation("number_of_string", _number_of_string, True, linear=True),
    Operation("string_of_boolean", lambda value: "true" if value else "false", False),
    Operation("string_of_integer", str, False),
    Operation("string_of_number", repr, False),
    Operation("abs_integer", lambda a: _int64(abs(a)), True),
    Operation("abs_number", abs, False),
    Operation("min", lambda *values: min(values), False),
    Operation("max", lambda *values: max(values), False),
    Operation("min_list", _least, True),
    Operation("max_list", _greatest, True),
]

OPERATIONS = {operation.name: operation for operation in _ALL}
"""Every strict operation by the name that `typed.Apply` carries."""

COMPARISONS = frozenset(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "in"))
"""The operations that compare two values."""

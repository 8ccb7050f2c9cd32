"""What the operators and functions of the reference interpreter do, by the values they get.

UNKNOWN goes in and comes out.  Apart from conversions and string functions this is a second account of the
language, written without the first.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ..library import OPERATIONS
from ..limits import INT64_MAX, INT64_MIN, MAX_LIST_LENGTH, MAX_STRING_LENGTH
from ..values import UNKNOWN


def strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, unknown when an argument is, or when it returns None."""

    def strict(*args: Any) -> Any:
        if any(arg is UNKNOWN for arg in args):
            return UNKNOWN
        result = function(*args)
        return UNKNOWN if result is None else result

    return strict


def any_true(values: list[Any]) -> Any:
    if any(value is True for value in values):
        return True
    return UNKNOWN if any(value is UNKNOWN for value in values) else False


def all_true(values: list[Any]) -> Any:
    if any(value is False for value in values):
        return False
    return UNKNOWN if any(value is UNKNOWN for value in values) else True


def _boolean(text: str) -> bool | None:
    if text in {"1", "t", "true", "True", "TRUE"}:
        return True
    return False if text in {"0", "f", "false", "False", "FALSE"} else None


def _in_range(result: Any) -> Any:
    if isinstance(result, int):
        return result if INT64_MIN <= result <= INT64_MAX else None
    return result + 0.0 if math.isfinite(result) else None


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, str | tuple):
        longest = MAX_STRING_LENGTH if isinstance(a, str) else MAX_LIST_LENGTH
        return None if len(a) + len(b) > longest else a + b
    return _in_range(a + b)


def _divide(a: Any, b: Any) -> Any:
    if b == 0:
        return None
    return _in_range(math.trunc(Fraction(a, b)) if isinstance(a, int) else a / b)


def _remainder(a: int, b: int) -> Any:
    quotient = _divide(a, b)
    return None if quotient is None else a - quotient * b


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Not: strict(lambda a: a is False),
    ast.USub: strict(lambda a: _in_range(-a)),
    ast.Add: strict(_add),
    ast.Sub: strict(lambda a, b: _in_range(a - b)),
    ast.Mult: strict(lambda a, b: _in_range(a * b)),
    ast.Div: strict(_divide),
    ast.Mod: strict(_remainder),
    ast.Eq: strict(lambda a, b: a == b),
    ast.NotEq: strict(lambda a, b: a != b),
    ast.Lt: strict(lambda a, b: a < b),
    ast.LtE: strict(lambda a, b: a <= b),
    ast.Gt: strict(lambda a, b: a > b),
    ast.GtE: strict(lambda a, b: a >= b),
    ast.In: strict(lambda a, b: a in b),
}

_CALLED = (
    "widen size startsWith endsWith contains matches matches_bounded lowerAscii upperAscii min_list max_list "
    "integer_of_number integer_of_string number_of_string "
    "string_of_boolean string_of_integer string_of_number"
).split()

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: strict(OPERATIONS[name].apply) for name in _CALLED},
    "boolean_of_string": strict(_boolean),
    "abs_integer": strict(lambda a: _in_range(abs(a))),
    "abs_number": strict(abs),
    "min": strict(lambda *args: sorted(args)[0]),
    "max": strict(lambda *args: sorted(args)[-1]),
    "has": lambda value: value is not UNKNOWN,
    "bounded": strict(lambda items, limit: items if len(items) <= limit else None),
    "exists": strict(any_true),
    "all": strict(all_true),
}

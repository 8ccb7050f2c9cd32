"""The operators of conditions.

Integers are 64 bits wide and doubles are finite: what leaves that range has no value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ..limits import INT64_MAX, INT64_MIN, MAX_LIST_LENGTH, MAX_STRING_LENGTH
from ..types import ANY, ANY_LIST, BOOLEAN, INTEGER, NUMBER, STRING, Type
from .declaration import CALL, Function, Operand, Operation

# -- the account of the compiled function ------------------------------------------------------------------


def contained(item: Any, items: tuple[Any, ...]) -> bool:
    return item in items


def int64(value: int) -> int | None:
    return value if INT64_MIN <= value <= INT64_MAX else None


def finite(value: float) -> float | None:
    # Adding 0.0 turns -0.0 into 0.0: there is one zero, or `max` would depend on the order of its arguments.
    return value + 0.0 if math.isfinite(value) else None


def _divide_integers(a: int, b: int) -> int | None:
    if b == 0:
        return None
    quotient = abs(a) // abs(b)
    return int64(quotient if (a < 0) == (b < 0) else -quotient)


def _remainder(a: int, b: int) -> int | None:
    # The quotient of the smallest integer and -1 overflows, and CEL has the remainder overflow with it.
    if b == 0 or (a == INT64_MIN and b == -1):
        return None
    rest = abs(a) % abs(b)
    return rest if a >= 0 else -rest


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


# -- the account of the reference --------------------------------------------------------------------------


def in_range(result: Any) -> Any:
    """`result`, or None if there is none, or if a value of its type cannot be so large."""
    if result is None:
        return None
    if isinstance(result, int):
        return result if -(2**63) <= result < 2**63 else None
    return result + 0.0 if abs(result) <= 1.7976931348623157e308 else None


def _joined(a: Any, b: Any) -> Any:
    longest = MAX_STRING_LENGTH if isinstance(a, str) else MAX_LIST_LENGTH
    return None if len(a) + len(b) > longest else a.__add__(b)


def _quotient(a: Any, b: Any) -> Any:
    if b == 0:
        return None
    return math.trunc(Fraction(a, b)) if isinstance(a, int) else a / b


def _rest(a: int, b: int) -> Any:
    quotient = in_range(_quotient(a, b))
    return None if quotient is None else a - quotient * b


def _element(items: tuple[Any, ...], index: int) -> Any:
    return dict(enumerate(items)).get(index)


def _as_number(value: Any) -> Any:
    return tuple([_as_number(one) for one in value]) if isinstance(value, tuple) else value / 1


# -- the time that they take -------------------------------------------------------------------------------


def compared(a: Operand, b: Operand) -> int:
    """A comparison in place; it ends with the shorter side."""
    return 2 * min(a.elements, b.elements) + min(a.characters, b.characters) // 64


def _looked_up(item: Operand, items: Operand) -> int:
    if items.constant is not None:  # a constant list is a set
        return 0
    return items.elements + (item.characters + items.characters) // 64


def _sum(a: Operand, b: Operand) -> Operand:
    """The sizes of a string or list that is made of two, which are bounded."""
    elements, characters = a.elements + b.elements, a.characters + b.characters
    return Operand(min(MAX_LIST_LENGTH, elements), min(MAX_STRING_LENGTH, characters))


def every_element(items: Operand) -> int:
    return CALL + 5 * items.elements


# -- the account in SQL ------------------------------------------------------------------------------------


def in_64_bits(sql: str) -> str:
    """SQL for a HUGEINT as a BIGINT. Operands of 64 bits leave a HUGEINT no less room for their product."""
    return f"TRY_CAST(({sql}) AS BIGINT)"


def _divided(operator: str) -> str:
    """An integer division by zero ends a statement of DuckDB, and so does the one that overflows."""
    divisible = f"({{b}} <> 0) AND (({{a}} > ({INT64_MIN})) OR ({{b}} <> (-1)))"
    return f"(CASE WHEN {divisible} THEN {{a}} {operator} {{b}} END)"


def _at_most(limit: int, size: str) -> str:
    """SQL for both operands one after the other, where they are not too long together."""
    return f"(CASE WHEN ({size}({{a}}) + {size}({{b}})) <= {limit} THEN {{a}} || {{b}} END)"


def _comparison(
    name: str, python: Callable[..., Any], reference: Callable[..., Any], sql: str
) -> tuple[Operation]:
    types = (ANY, ANY)
    return (Operation(name, types, BOOLEAN, python, reference, f"({{a}} {sql} {{b}})", steps=compared),)


def _arithmetic(
    name: str, type_: Type, python: Callable[..., Any], reference: Callable[..., Any], sql: str
) -> Operation:
    return Operation(
        f"{name}_{type_}",
        (type_, type_),
        type_,
        python,
        lambda a, b: in_range(reference(a, b)),
        sql,
        True,
        overflows=type_ == NUMBER,
    )


# fmt: off
_ALL = (
    Function("==", _comparison("equal", operator.eq, lambda a, b: a == b, "="), "whether the two are equal"),
    Function("!=", _comparison("not_equal", operator.ne, lambda a, b: not a == b, "<>"), "whether the two differ"),
    Function("<", _comparison("less", operator.lt, lambda a, b: a < b, "<"), "whether the left is less"),
    Function("<=", _comparison("less_equal", operator.le, lambda a, b: not b < a, "<="),
             "whether the left is not greater"),
    Function(">", _comparison("greater", operator.gt, lambda a, b: b < a, ">"), "whether the left is greater"),
    Function(">=", _comparison("greater_equal", operator.ge, lambda a, b: not a < b, ">="),
             "whether the left is not less"),
    Function(
        "in",
        (Operation("in", (ANY, ANY_LIST), BOOLEAN, contained, lambda a, b: any(a == c for c in b),
                   "(CASE WHEN {a} IS NOT NULL THEN list_contains({b}, {a}) END)", steps=_looked_up),),
        "whether the list has the value",
    ),
    Function(
        "+", (
            _arithmetic("add", INTEGER, lambda a, b: int64(a + b), lambda a, b: a + b,
                        in_64_bits("CAST({a} AS HUGEINT) + {b}")),
            _arithmetic("add", NUMBER, lambda a, b: finite(a + b), lambda a, b: a + b, "({A} + {B})"),
            Operation("add_string", (STRING, STRING), STRING, _add_strings, _joined,
                      _at_most(MAX_STRING_LENGTH, "length"), True,
                      lambda a, b: CALL + _sum(a, b).characters // 8, lambda a, b: Operand(0, _sum(a, b).characters)),
            Operation("add_list", (ANY_LIST, ANY_LIST), None, _add_lists, _joined,
                      _at_most(MAX_LIST_LENGTH, "len"), True,
                      lambda a, b: CALL + _sum(a, b).elements,
                      lambda a, b: Operand(_sum(a, b).elements, a.characters + b.characters)),
        ),
        "the sum; of two strings or lists, one after the other", takes="two numbers, two strings or two lists",
    ),
    Function(
        "-", (
            _arithmetic("subtract", INTEGER, lambda a, b: int64(a - b), lambda a, b: a - b,
                        in_64_bits("CAST({a} AS HUGEINT) - {b}")),
            _arithmetic("subtract", NUMBER, lambda a, b: finite(a - b), lambda a, b: a - b, "({A} - {B})"),
        ),
        "the difference", takes="two numbers",
    ),
    Function(
        "*", (
            _arithmetic("multiply", INTEGER, lambda a, b: int64(a * b), lambda a, b: a * b,
                        in_64_bits("CAST({a} AS HUGEINT) * {b}")),
            _arithmetic("multiply", NUMBER, lambda a, b: finite(a * b), lambda a, b: a * b, "({A} * {B})"),
        ),
        "the product", takes="two numbers",
    ),
    Function(
        "/", (
            _arithmetic("divide", INTEGER, _divide_integers, _quotient, _divided("//")),
            _arithmetic("divide", NUMBER, lambda a, b: finite(a / b) if b else None, _quotient,
                        "(CASE WHEN {b} <> 0 THEN {A} / {b} END)"),
        ),
        "the quotient; of integers, without its fraction", takes="two numbers",
    ),
    Function(
        "%", (_arithmetic("remainder", INTEGER, _remainder, _rest, _divided("%")),),
        "the remainder, with the sign of the left operand", takes="two integers",
    ),
    Function(
        "-_", (
            Operation("negate_integer", (INTEGER,), INTEGER, lambda a: int64(-a), lambda a: in_range(0 - a),
                      in_64_bits("0 - CAST({a} AS HUGEINT)"), True),
            Operation("negate_number", (NUMBER,), NUMBER, lambda a: 0.0 - a, lambda a: in_range(-a), "(0e0 - {A})"),
        ),
        "the number with the opposite sign",
    ),
    Function(
        "_[_]",
        (Operation("index", (ANY_LIST, INTEGER), ANY, _index, _element,
                   "(CASE WHEN ({b} >= 0) AND ({b} < len({a})) THEN {a}[{b} + 1] END)",
                   True, size=lambda items, _: items.sizes),),
        "the element of the list, counted from 0; unknown if there is none",
    ),
)
# fmt: on

OPERATORS = {function.name: function for function in _ALL}
"""The operators by their symbol; unary minus is `-_`, taking an element `_[_]`. `&& || ! ?:` are nodes of their own."""

WIDEN = Operation(
    "widen",
    (INTEGER,),
    NUMBER,
    widen,
    _as_number,
    "CAST({a} AS {type})",
    steps=every_element,
    size=lambda items: items.sizes,
)
"""What stands around an integer where a number is wanted; no text of a condition says it."""

"""Writes parsed conditions in the languages of other engines: Python, CEL, ZEN, Cedar.

Only what the measured policies say: names, literals, lists of literals, relations, ``! && ||``. Anything else
raises ValueError, so that nothing is measured that means something different.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from routewright.engine.condition.syntax.expr import Binary, Expr, ListDisplay, Literal, Logical, Name, Unary

__all__ = ["CEL", "PYTHON", "ZEN", "Dialect", "cedar_text", "text_in"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a language spells the operators and the two booleans."""

    both: str
    either: str
    negated: str
    true: str
    false: str


PYTHON = Dialect("and", "or", "not ", "True", "False")
CEL = Dialect("&&", "||", "!", "true", "false")
ZEN = Dialect("and", "or", "not ", "true", "false")
_CEDAR_METHODS = {
    "<": "lessThan",
    "<=": "lessThanOrEqual",
    ">": "greaterThan",
    ">=": "greaterThanOrEqual",
}


def text_in(dialect: Dialect, expr: Expr) -> str:
    """``expr`` in ``dialect``, with parentheses around every part.

    >>> from routewright.engine.condition import parse_expr
    >>> text_in(PYTHON, parse_expr("!a || b == 'x'"))
    '((not a) or (b == "x"))'
    """
    match expr:
        case Literal(bool(value)):
            return dialect.true if value else dialect.false
        case Literal(value):
            return json.dumps(value)
        case Name(name):
            return name
        case ListDisplay(items):
            return f"[{', '.join(text_in(dialect, item) for item in items)}]"
        case Unary("!", operand):
            return f"({dialect.negated}{text_in(dialect, operand)})"
        case Logical(op, parts):
            word = dialect.both if op == "&&" else dialect.either
            return f"({f' {word} '.join(text_in(dialect, part) for part in parts)})"
        case Binary("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" as op, left, right):
            return f"({text_in(dialect, left)} {op} {text_in(dialect, right)})"
        case _:
            raise ValueError(f"no translation for {type(expr).__name__}")


def cedar_text(expr: Expr, numbers: Collection[str]) -> str:
    """``expr`` as a Cedar condition. ``numbers`` are the features that are not whole: decimals in Cedar.

    >>> from routewright.engine.condition import parse_expr
    >>> cedar_text(parse_expr("share >= 0.7 && kind in ['a', 'b']"), {"share"})
    '(context.share.greaterThanOrEqual(decimal("0.7000")) && ["a", "b"].contains(context.kind))'
    """
    match expr:
        case Name(name):
            return f"context.{name}"
        case Unary("!", operand):
            return f"(!{cedar_text(operand, numbers)})"
        case Logical(op, parts):
            return f"({f' {op} '.join(cedar_text(part, numbers) for part in parts)})"
        case Binary("in", left, right):
            return f"{text_in(CEL, right)}.contains({cedar_text(left, numbers)})"
        case Binary(op, Name(name), Literal(value)) if name in numbers and op in _CEDAR_METHODS:
            return f'context.{name}.{_CEDAR_METHODS[op]}(decimal("{value:.4f}"))'
        case Binary("==" | "!=" | "<" | "<=" | ">" | ">=" as op, left, right):
            return f"({cedar_text(left, numbers)} {op} {cedar_text(right, numbers)})"
        case Literal():
            return text_in(CEL, expr)
        case _:
            raise ValueError(f"no translation for {type(expr).__name__}")

"""Messages for operands whose types do not go together."""

from __future__ import annotations

from collections.abc import Iterable

from ...report import suggest
from ..syntax.expr import Binary, Expr, Literal, Name
from ..syntax.lexer import shorten
from ..syntax.render import render_expr, render_value
from ..types import BOOLEAN, INTEGER, NUMBER, STRING, ListType, Type, article


def quote(expr: Expr) -> str:
    """The expression's text in backticks, shortened."""
    return f"`{shorten(render_expr(expr))}`"


def truth_help(expr: Expr, type_: Type) -> str:
    """How to make a condition of a value that is none."""
    text = quote(expr)[1:-1] if isinstance(expr, Name) else "x"
    if isinstance(type_, ListType):
        return f"ask for its size: `size({text}) > 0`"
    if type_ == STRING:
        return f"compare it: `{text} != ''`; a boolean is written `true` or `false`, without quotes"
    return f"compare it: `{text} > 0`, or `has({text})` for whether it has a value"


def members(value: object, enum: Iterable[object]) -> str:
    """The members of `enum`, with the one that `value` may have meant."""
    return suggest(render_value(value), map(render_value, enum), label="allowed")


def explain_mismatch(expr: Binary, left: Type, right: Type) -> tuple[str, str, Expr, str | None]:
    """Code, message, place and help for two operands without a common type."""
    verb = (
        "be compared"
        if expr.op in {"==", "!=", "<", "<=", ">", ">="}
        else f"stand on either side of `{expr.op}`"
    )
    both = f"{quote(expr.left)} is {article(left)} and {quote(expr.right)} is {article(right)}"
    message = f"{both}: they cannot {verb}"
    return "type-mismatch", message, expr, _mismatch_help(expr, left, right)


def _mismatch_help(expr: Binary, left: Type, right: Type) -> str | None:
    sides = ((expr.left, left, expr.right, right), (expr.right, right, expr.left, left))
    for one, one_type, other, other_type in sides:
        if one_type == BOOLEAN and isinstance(other, Literal) and expr.op in {"==", "!="}:
            if str(other.value).lower() in {"true", "false", "0", "1"}:
                holds = (str(other.value).lower() in {"true", "1"}) == (expr.op == "==")
                return f"write `{quote(one)[1:-1]}`" if holds else f"write `!{quote(one)[1:-1]}`"
        if one_type in {INTEGER, NUMBER} and other_type == STRING:
            if isinstance(other, Literal):
                return "write the number without quotes"
            return "convert with `double(…)` or `string(…)`"
        if isinstance(one_type, ListType) and not isinstance(other_type, ListType):
            return f"write `{quote(other)[1:-1]} in {quote(one)[1:-1]}`"
        if one_type == STRING and isinstance(one, Name) and isinstance(other, Name):
            return None
    return None

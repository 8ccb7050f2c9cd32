"""Messages for operands whose types do not go together, and for undeclared names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ...report import suggest
from ..library import MEANT, SOURCES
from ..library.functions import FUNCTIONS
from ..syntax.expr import Binary, Expr, Literal, Name
from ..syntax.lexer import shorten
from ..syntax.render import render_expr, render_value
from ..types import BOOLEAN, INTEGER, NUMBER, STRING, Declaration, ListType, Type, article


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


def explain_unknown_name(
    expr: Name, scope: Mapping[str, Declaration], variables: Collection[str]
) -> tuple[str, str, Name, str | None]:
    """Code, message, place and help for a name that neither `scope` nor `variables` has."""
    name = expr.name
    base, dot, attribute = name.rpartition(".")
    if dot and (base in scope or base in variables):
        method = MEANT.get(attribute, attribute)
        help = "methods are called with parentheses"
        if method in FUNCTIONS and FUNCTIONS[method].method:
            several = len(FUNCTIONS[method].operations[0].parameters) > 1
            help = f"write `{shorten(base)}.{method}({'…' if several else ''})`"
        return "attribute-access", f"`{shorten(base)}` has no attribute `{shorten(attribute)}`", expr, help
    if name in FUNCTIONS:
        return "unknown-name", f"`{name}` is a function", expr, f"write `{name}(…)`"
    if not dot and name.lower() in {"yes", "no", "on", "off"}:
        return "unknown-name", f"unknown name `{name}`", expr, "write `true` or `false`"
    what = "feature" if not dot else "name"
    help = _declare(name, scope) or _text_of(name, scope) or _suggest(name, [*scope, *variables])
    return "unknown-name", f"unknown {what} `{shorten(name)}`", expr, help


def _suggest(name: str, known: Collection[str]) -> str:
    """Help from the known names; of a name such as `model.tags` from those that begin with `model.` too."""
    base, dot, attribute = name.rpartition(".")
    prefix = base + dot
    facts = [other.removeprefix(prefix) for other in known if dot and other.startswith(prefix)]
    return suggest(attribute, facts, prefix=prefix) if facts else suggest(name, known)


def _text_of(name: str, scope: Mapping[str, Declaration]) -> str | None:
    """What to do with a text that stands without quotes, as it does in YAML: a value of a declared feature or fact."""
    of = next((known for known, declaration in scope.items() if name in (declaration.enum or ())), None)
    return None if of is None else f"text stands in quotes: `'{name}'` is a value of `{of}`"


def _declare(name: str, scope: Mapping[str, Declaration]) -> str | None:
    """Help for a name that conditions do not see: of a task they see only its declared features."""
    first, dot, rest = name.partition(".")
    of, _, key = (rest if first == "request" else name).partition(".")
    if of in ("headers", "metadata"):
        source = f"request.metadata.{shorten(key) or 'NAME'}"
        return f"conditions see declared features: declare one with `from: {source}`"
    if first in ("request", "time") and dot:
        known = f"`from: {name}`" if name in SOURCES else "a value that tasks give"
        return f"conditions see declared features: declare one with {known}"
    if first in ("features", "task") and rest:
        return f"features are written by name: `{shorten(rest.rpartition('.')[2])}`"
    if name == "operation":
        return "models that do not offer the operation are skipped anyway; to tell tasks apart, declare a feature"
    if first == "model" and not any(known.startswith("model.") for known in scope):
        return "only constraints and assertions see `model.…`; rules see the features and `state.…`"
    if name == "model":
        return "write `model.id`, `model.location` or another fact of the candidate"
    return None

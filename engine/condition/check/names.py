"""Messages for undeclared names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...report import suggest
from ..library import MEANT
from ..library.functions import FUNCTIONS
from ..syntax.expr import Name
from ..syntax.lexer import shorten
from ..types import Declaration


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
    help = _declare(name, scope) or _text_of(name, scope) or suggest(name, [*scope, *variables])
    return "unknown-name", f"unknown {what} `{shorten(name)}`", expr, help


def _text_of(name: str, scope: Mapping[str, Declaration]) -> str | None:
    """What to do with a text that stands without quotes, as it does in YAML: a value of a declared feature or fact."""
    of = next((known for known, declaration in scope.items() if name in (declaration.enum or ())), None)
    return None if of is None else f"text stands in quotes: `'{name}'` is a value of `{of}`"


def _declare(name: str, scope: Mapping[str, Declaration]) -> str | None:
    """Help for a name that conditions do not see: of a task they see only its declared features."""
    first, dot, rest = name.partition(".")
    if first in ("request", "time") and dot:
        return f"conditions see declared features: declare one with `from: {shorten(name)}`"
    if first in ("headers", "metadata"):
        return f"conditions see declared features: declare one with `from: request.metadata.{shorten(rest) or 'NAME'}`"
    if first in ("features", "task") and rest:
        return f"features are written by name: `{shorten(rest.rpartition('.')[2])}`"
    if name == "operation":
        return "models that do not offer the operation are skipped anyway; to tell tasks apart, declare a feature"
    if first == "model" and not any(known.startswith("model.") for known in scope):
        return "only constraints and assertions see `model.…`; rules see the features and `state.…`"
    if name == "model":
        return "write `model.id`, `model.location` or another fact of the candidate"
    return None

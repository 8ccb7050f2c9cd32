"""Evaluates a single condition in one call."""

from __future__ import annotations

from collections.abc import Mapping

from ..report import ConditionError, FeatureError, Problem
from .bind import bind, infer_declarations
from .check.checker import check_expr
from .syntax.expr import Call, Expr, Name, walk
from .syntax.structured import parse_condition, with_source_lines
from .targets.reference import evaluate_reference
from .types import Declaration


def evaluate(
    condition: object, features: Mapping[str, object], schema: Mapping[str, Declaration] | None = None
) -> object:
    """Return the value of `condition` for `features`, or UNKNOWN where it has none.

    `condition` is a text, a bool, or `any`, `all` and `none` groups; a result of any type is fine.  Without a
    `schema`, types are those of the values that the condition uses: a name with the value None is unknown,
    and so is an absent one that the condition asks `has(…)` about; any other absent name is an error.
    `features` is not changed.  Raises ConditionError for the condition and FeatureError for a
    feature, nothing else.

    >>> evaluate("context_length > 100000 || urgent", {"context_length": 2000, "urgent": True})
    True
    >>> evaluate("1 / n", {"n": 0})
    UNKNOWN
    """
    if not isinstance(features, Mapping):
        raise FeatureError("the features are not values by name", feature="")
    try:
        expr = parse_condition(condition)
        declared = declarations_for(expr, features) if schema is None else schema
        checked = check_expr(expr, declared, expected=None)
        bound = bind(features, {name: declared[name] for name in checked.names})
        try:
            return evaluate_reference(checked, bound)
        except RecursionError:
            message = "the condition is nested too deeply to be evaluated here"
            raise ConditionError([Problem("too-deep", message, None, expr.span)]) from None
    except ConditionError as error:
        raise ConditionError(with_source_lines(error.problems, condition)) from None


def declarations_for(expr: Expr, features: Mapping[str, object]) -> dict[str, Declaration]:
    """Return declarations, inferred from `features`, for the names that `expr` uses."""
    used: dict[str, object] = {}
    for node, _ in walk(expr):
        if isinstance(node, Name) and node.name in features:
            used[node.name] = features[node.name]
        elif isinstance(node, Call) and node.function == "has":
            used.update(
                (arg.name, None) for arg in node.args if isinstance(arg, Name) and arg.name not in features
            )
    return infer_declarations(used)

"""Evaluates one expression with features, and shows the value of every part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from routewright.engine.condition import (
    UNKNOWN,
    Declaration,
    Trace,
    check_expr,
    infer_declarations,
    parse_expr,
    render_value,
    trace,
    with_source_lines,
)
from routewright.engine.decision import State, Task, binder_of
from routewright.engine.report import ConditionError
from routewright.loading import load_policy
from routewright.tasks import features_from_flags

from .writer import writer


def show_value(
    expression: str, flags: list[str], policy: str | None, root: Path | None, format: Literal["text", "json"]
) -> None:
    """Print the value of an expression, and of its parts. Raises ConditionError and FeatureError."""
    scope: Mapping[str, Declaration]
    if policy is None:
        features = features_from_flags(flags)
        scope = infer_declarations(features)
    else:
        features, scope = _declared(policy, flags, root)
    try:
        checked = check_expr(parse_expr(expression), scope, expected=None)
    except ConditionError as error:
        raise ConditionError(with_source_lines(error.problems, expression)) from None
    _print(trace(checked, features), str(checked.type), format)


def _print(result: Trace, type: str, format: Literal["text", "json"]) -> None:
    def known(value: object) -> object:
        return None if value is UNKNOWN else value

    def shown(value: object) -> str:
        return "unknown" if value is UNKNOWN else render_value(value)

    if format == "json":
        parts = [
            {
                "text": part.text,
                "value": known(part.value),
                "depth": part.depth,
                **({} if part.reason is None else {"reason": part.reason}),
            }
            for part in result.parts
        ]
        whole = {
            "value": known(result.value),
            "known": result.value is not UNKNOWN,
            "type": type,
            "parts": parts,
        }
        writer.json_value(whole)
        return
    writer.text(f"{shown(result.value)}  ({type})")
    for part in result.parts:
        reason = "" if part.reason is None else f" ({part.reason})"
        writer.text(f"{'  ' * (part.depth + 1)}{part.text} = {shown(part.value)}{reason}")


def _declared(
    path: str, flags: list[str], root: Path | None
) -> tuple[dict[str, object], dict[str, Declaration]]:
    policy = load_policy(path, root=root)
    task = Task(features=features_from_flags(flags, policy))
    values = binder_of(policy).bind(task, State(0), strict=True).values
    names = [feature.name for feature in policy.features]
    features = {n: UNKNOWN if v is None else v for n, v in zip(names, values, strict=True)}
    return features, {name: policy.scope[name] for name in names}

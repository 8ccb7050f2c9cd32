"""``routewright eval``: one expression with features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import Features, Root, TextFormat
from .writer import writer

if TYPE_CHECKING:
    from routewright.engine.condition import Declaration, Trace


def eval_(
    expression: Annotated[str, typer.Argument(metavar="EXPRESSION", help="The expression, in quotes.")],
    feature: Features = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="POLICY", help="Take the features' types and defaults from it."),
    ] = None,
    root: Root = None,
    format: TextFormat = "text",
) -> None:
    """Evaluate one expression.

    Shows its value, its type, and the value of every part. Without a policy a feature's type is that of
    its value: true, 3, 0.5, text, [1, 2]; `null` is unknown.

    \b
    Example:
      routewright eval "requires_moe || context_length > 100000" -f requires_moe=false -f context_length=150000
    """
    from routewright.engine.condition import (
        check_expr,
        infer_declarations,
        parse_expr,
        trace,
        with_source_lines,
    )
    from routewright.engine.report import ConditionError
    from routewright.tasks import features_from_flags

    scope: Mapping[str, Declaration]
    if policy is None:
        features = features_from_flags(feature or [])
        scope = infer_declarations(features)
    else:
        features, scope = _declared(policy, feature or [], root)
    try:
        checked = check_expr(parse_expr(expression), scope, expected=None)
    except ConditionError as error:
        raise ConditionError(with_source_lines(error.problems, expression)) from None
    _print(trace(checked, features), str(checked.type), format)


def _print(result: Trace, type: str, format: Literal["text", "json"]) -> None:
    import json

    from routewright.engine.condition import UNKNOWN, render_value

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
        writer.json(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
        return
    writer.text(f"{shown(result.value)}  ({type})")
    for part in result.parts:
        reason = "" if part.reason is None else f" ({part.reason})"
        writer.text(f"{'  ' * (part.depth + 1)}{part.text} = {shown(part.value)}{reason}")


def _declared(
    path: str, flags: list[str], root: Path | None
) -> tuple[dict[str, object], dict[str, Declaration]]:
    from routewright.engine.condition import UNKNOWN
    from routewright.engine.decision import State, Task, binder_of
    from routewright.loading import load_policy
    from routewright.tasks import features_from_flags

    policy = load_policy(path, root=root)
    task = Task(features=features_from_flags(flags, policy))
    values = binder_of(policy).bind(task, State(0), strict=True).values
    names = [feature.name for feature in policy.features]
    features = {n: UNKNOWN if v is None else v for n, v in zip(names, values, strict=True)}
    return features, {name: policy.scope[name] for name in names}
